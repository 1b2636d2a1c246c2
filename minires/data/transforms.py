"""Augment and normalise a batch of images before it enters the network.

An augmentation has two parts, which separate the random numbers from the change itself:

- ``draw(rng, count)`` draws one row of numbers for each of ``count`` images;
- ``apply(images, rows)`` is a pure function of the images and their rows.

``augmentation(images, rng)`` does both. The DataLoader draws the rows of the whole data set once an epoch, and each
image uses the row of its index, in whatever batch it is. Any object with these two methods is an augmentation.

A normalisation converts a batch, uint8 or floats in units of 0 to 1, to floats of the requested dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from minires.data.arguments import channel_values
from minires.data.dataset import Dataset
from minires.errors import DataError, DtypeError, ShapeError
from minires.options import integer

Images = npt.NDArray[Any]
Rows = npt.NDArray[Any]


@runtime_checkable
class Augmentation(Protocol):
    """A random change of images, with separate methods to draw and to apply it."""

    def draw(self, rng: np.random.Generator, count: int) -> Rows:
        """Return one row of random numbers for each of ``count`` images: an array (count, …)."""

    def apply(self, images: Images, rows: Rows) -> Images:
        """Return images (N, C, H, W) changed by their rows (N, …): a new array of the same shape and dtype."""


class Normalization(Protocol):
    """A function from images (N, C, H, W), uint8 or floats in units of 0 to 1, to floats of ``dtype``."""

    def __call__(self, images: Images, dtype: npt.DTypeLike = np.float32) -> Images:
        """Return the normalised images, a new array."""


class _RandomChange(Augmentation):
    """The base of augmentations that can be called."""

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        """Return the images, each changed by a row drawn from ``rng``."""
        return self.apply(images, self.draw(rng, len(images)))


class RandomCrop(_RandomChange):
    """Pad each side with black, then cut out a window of the image's size at a random offset.

        out[n, c, i, j] = padded[n, c, i + dy_n, j + dx_n],   dy, dx uniform in 0 … 2·padding

    Parameters
    ----------
    padding : pixels on each side

    Raises
    ------
    ShapeError : if ``padding`` is negative or not an integer.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2 (padding 4 for CIFAR-10).
    """

    def __init__(self, padding: int = 4) -> None:
        self.padding = integer(padding, "padding", 0)

    def draw(self, rng: np.random.Generator, count: int) -> Rows:
        """Return (dy, dx) for each image, int64 (count, 2)."""
        return rng.integers(0, 2 * self.padding + 1, size=(count, 2))

    def apply(self, images: Images, rows: Rows) -> Images:
        """Return the images, cut out at their offsets (dy, dx)."""
        N, C, H, W = _image_shape(images)
        pad = self.padding
        padded = np.zeros((N, C, H + 2 * pad, W + 2 * pad), images.dtype)
        padded[:, :, pad : pad + H, pad : pad + W] = images
        windows = sliding_window_view(padded, (H, W), axis=(2, 3))
        return np.ascontiguousarray(windows[np.arange(N), :, rows[:, 0], rows[:, 1]])

    def __repr__(self) -> str:
        return f"RandomCrop(padding={self.padding})"


class HorizontalFlip(_RandomChange):
    """Swap left and right of an image with the given probability.

    Parameters
    ----------
    probability : from 0 to 1

    Raises
    ------
    ShapeError : if ``probability`` is out of this range.
    """

    def __init__(self, probability: float = 0.5) -> None:
        if not isinstance(probability, int | float | np.number) or not 0 <= probability <= 1:
            raise ShapeError(f"probability must be a number from 0 to 1, got {probability!r}")
        self.probability = float(probability)

    def draw(self, rng: np.random.Generator, count: int) -> Rows:
        """Return for each image whether it is mirrored, bool (count,)."""
        return rng.random(count) < self.probability

    def apply(self, images: Images, rows: Rows) -> Images:
        """Return the images, mirrored where their row is True."""
        _image_shape(images)
        return np.where(rows[:, None, None, None], images[..., ::-1], images)

    def __repr__(self) -> str:
        return f"HorizontalFlip(probability={self.probability})"


class Normalize:
    """Shift and scale each channel: y = (x − mean) / std, with x in units of 0 to 1 (uint8 divided by 255).

    Parameters
    ----------
    mean, std : one number for each channel; std positive

    Raises
    ------
    DataError : if a number is not finite, a std is not positive, or mean and std have different lengths.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = channel_values(mean, "mean"), channel_values(std, "std")
        if len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise DataError(
                f"a mean and a positive std for each channel are needed, got {mean!r} and {std!r}"
                + (" (the std is 0 where all pixels are alike)" if 0 in self.std else "")
            )

    def __call__(self, images: Images, dtype: npt.DTypeLike = np.float32) -> Images:
        """Return the normalised images (N, C, H, W), a new array of ``dtype``."""
        if _image_shape(images)[1] != len(self.mean):
            raise ShapeError(f"expected images (N, {len(self.mean)}, H, W), got shape {images.shape}")
        scale = 1 / (_unit(images, dtype) * np.array(self.std))
        shift = -np.array(self.mean) / np.array(self.std)
        y: Images = np.multiply(images, scale.astype(dtype)[:, None, None], dtype=dtype)
        y += shift.astype(dtype)[:, None, None]
        return y

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class PixelMean:
    """Subtract the mean image of a data set: y = x − mean, with x in units of 0 to 1 (uint8 divided by 255).

    Parameters
    ----------
    mean : floats (C, H, W)

    Source: He et al. 2015, arXiv:1512.03385, section 4.2.
    """

    def __init__(self, mean: npt.ArrayLike) -> None:
        try:
            self.mean = np.array(mean, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"mean must be an array of floats (C, H, W), got {mean!r}") from error
        if self.mean.ndim != 3:
            raise ShapeError(f"a mean image has shape (C, H, W), got {self.mean.shape}")

    @classmethod
    def of(cls, dataset: Dataset) -> PixelMean:
        """Return the normalisation by the mean of a data set; use that of the training images for both splits."""
        if not isinstance(dataset, Dataset):
            raise TypeError(f"PixelMean.of takes a Dataset, got {type(dataset).__name__}; of an array: PixelMean(mean)")
        return cls(dataset.images.mean(axis=0, dtype=np.float64) / 255)

    def __call__(self, images: Images, dtype: npt.DTypeLike = np.float32) -> Images:
        """Return the centred images (N, C, H, W), a new array of ``dtype``."""
        if _image_shape(images)[1:] != self.mean.shape:
            raise ShapeError(f"expected images (N, {', '.join(map(str, self.mean.shape))}), got {images.shape}")
        scale = np.array(1 / _unit(images, dtype), dtype)
        y: Images = np.multiply(images, scale, dtype=dtype)
        y -= self.mean.astype(dtype)
        return y


def _unit(images: Images, dtype: npt.DTypeLike) -> float:
    """Return the value of white, 255 for bytes and 1 for floats; raise DtypeError for other dtypes."""
    if np.dtype(dtype).kind != "f":
        raise DtypeError(f"images are normalised to floats, got dtype {np.dtype(dtype)}")
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise DtypeError(f"expected images of uint8, or of floats in units of 0 to 1, got {images.dtype}")
    return 255.0 if images.dtype == np.uint8 else 1.0


def _image_shape(images: Images) -> tuple[int, ...]:
    """Return (N, C, H, W); raise ShapeError if ``images`` has no such shape."""
    if getattr(images, "ndim", None) != 4:
        found = f"shape {images.shape}" if hasattr(images, "shape") else type(images).__name__
        raise ShapeError(f"expected an array of images (N, C, H, W), got {found}; for one image write image[None]")
    return images.shape
