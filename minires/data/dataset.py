"""The base class of the data sets here: labelled images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.data.arguments import channel_values, class_names
from minires.errors import DataError, DtypeError, ShapeError


class Dataset:
    """Images with their labels.

    Parameters
    ----------
    images : uint8 (N, C, H, W)
    labels : integers (N,), each from 0 to len(classes) − 1
    classes : the names of the classes
    mean, std : one number for each channel, of pixels in units of 0 to 1; None to compute it from ``images``

    The arrays ``images`` and ``labels`` (int64) are read-only. ``len(dataset)`` is N. ``dataset[i]`` is a pair: an
    image, uint8 (C, H, W), and its label, an int.

    Raises
    ------
    ShapeError, DtypeError : if the arrays are not as above.
    DataError : if a label is out of range.
    """

    def __init__(
        self,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        names = class_names(classes)
        try:
            pixels, numbers = np.asarray(images), np.asarray(labels)
        except ValueError as error:  # nested lists of different lengths
            raise ShapeError(f"images and labels must be arrays, images of one shape: {error}") from error
        if pixels.ndim != 4 or numbers.shape != pixels.shape[:1] or not pixels.size:
            raise ShapeError(
                f"a data set needs images (N, C, H, W) and labels (N,), at least one; got images of shape "
                f"{pixels.shape} and labels of shape {numbers.shape}"
                + ("; grey images need an axis of one channel, images[:, None]" if pixels.ndim == 3 else "")
            )
        if pixels.dtype != np.uint8 or numbers.dtype.kind not in "iu":
            raise DtypeError(
                f"a data set needs uint8 images and integer labels, got {pixels.dtype} and {numbers.dtype}; give "
                "other arrays to a DataLoader as a tuple, DataLoader((images, labels), batch_size)"
            )
        wrong = np.flatnonzero((numbers < 0) | (numbers >= len(names)))
        if wrong.size:
            raise DataError(
                f"label {int(numbers[wrong[0]])} of image {wrong[0]} is out of range: with {len(names)} "
                f"classes, labels go from 0 to {len(names) - 1}"
            )
        self.images: npt.NDArray[np.uint8] = _read_only(pixels)
        self.labels: npt.NDArray[np.int64] = _read_only(numbers.astype(np.int64))
        self.classes = names
        if mean is None or std is None:
            own_mean, own_std = channel_statistics(pixels)
            mean, std = own_mean if mean is None else mean, own_std if std is None else std
        self.mean, self.std = channel_values(mean, "mean"), channel_values(std, "std")
        if not len(self.mean) == len(self.std) == pixels.shape[1]:
            raise ShapeError(
                f"images of shape {pixels.shape} have {pixels.shape[1]} channels, "
                f"but mean has {len(self.mean)} numbers and std {len(self.std)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        return self.images[index], int(self.labels[index])

    def __repr__(self) -> str:
        size = "×".join(map(str, self.images.shape[1:]))
        return f"{type(self).__name__}({len(self)} images of {size}, {len(self.classes)} classes)"


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation of each channel of uint8 (N, C, H, W), in units of 0 to 1.

    If c_v of a channel's M pixels have the value v, then mean = Σ v·c_v / 255M and var = Σ (v/255 − mean)²·c_v / M.
    One histogram for each channel avoids a copy of the images in floats.
    """
    values = np.arange(256) / 255
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].reshape(-1), minlength=256)
        shares = counts / counts.sum()
        mean.append(float(values @ shares))
        std.append(float(np.sqrt((values - mean[-1]) ** 2 @ shares)))
    return mean, std


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
