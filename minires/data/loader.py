"""Batches of a data set: order, augmentation and normalisation as functions of (seed, epoch, sample index)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minires import random
from minires.data.dataset import Dataset
from minires.data.prefetch import prefetched
from minires.data.transfer import sent_ahead
from minires.data.transforms import Augmentation, Normalization, Normalize
from minires.device import canonical
from minires.errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from minires.autograd.tensor import Tensor

_Batch = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]


class DataLoader:
    """Iterate over a data set batch by batch, as pairs of Tensors: images (N, C, H, W) and int64 labels (N,).

    The order of a pass depends on (seed, epoch), and what happens to an image on (seed, epoch, its index in the
    data set) alone: neither ``prefetch`` nor ``batch_size``, nor where a run was resumed, changes it.

    ``epoch`` is the number of the next pass. It counts up when a pass ends, not when it is broken off; set it
    to resume.

    Parameters
    ----------
    dataset : the images and labels
    batch_size : images in a batch; the last one may be smaller
    shuffle : a new order each epoch
    drop_last : leave out a last batch that is smaller
    augment : the random changes, one after the other, as ``[RandomCrop(4), HorizontalFlip()]``
    normalize : True for the data set's mean and std, False for units of 0 to 1, or a normalisation
    seed : the default generator's (``minires.manual_seed``) at the beginning of each pass where None
    dtype : of the images, float32 or float64
    prefetch : batches prepared ahead in a thread; 0 prepares each one when it is asked for
    indices : the images to take, by index in the data set; all of them where None
    device : where the tensors are; a GPU is sent each batch while it computes with the one before

    Raises
    ------
    ShapeError, DtypeError, TypeError, DeviceError : if a parameter is not as above.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        augment: Sequence[Augmentation] = (),
        normalize: bool | Normalization = True,
        seed: int | None = None,
        dtype: npt.DTypeLike = np.float32,
        prefetch: int = 2,
        indices: npt.ArrayLike | None = None,
        device: str = "cpu",
    ) -> None:
        self.dataset = dataset
        self.device = canonical(device)
        self.batch_size = _at_least(1, batch_size, "batch_size")
        self.prefetch = _at_least(0, prefetch, "prefetch")
        self.shuffle, self.drop_last = shuffle, drop_last
        self.augment = tuple(augment)
        for augmentation in self.augment:
            if not isinstance(augmentation, Augmentation):
                raise TypeError(f"{augmentation!r} is no augmentation: it needs the methods draw and apply")
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise DtypeError(f"images are float32 or float64, got dtype {self.dtype}")
        self.normalize = _normalization(normalize, dataset)
        if seed is not None:
            random.draws("data.shuffle", seed=seed)  # a bad seed is an error here, not in the first pass
        self.seed = seed
        self.indices = _checked_indices(indices, len(dataset))
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The number of the next pass, from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = _at_least(0, epoch, "epoch")

    def __len__(self) -> int:
        """The batches of a pass."""
        full, rest = divmod(len(self.indices), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch
        with closing(self.tensors(epoch)) as batches:
            yield from batches
        self.epoch = epoch + 1

    def tensors(self, epoch: int, start: int = 0) -> Generator[tuple[Tensor, Tensor], None, None]:
        """The batches of one pass as tensors on ``self.device``; otherwise as `arrays`.

        Raises
        ------
        DeviceError : if the device is not available.
        """
        from minires.autograd.tensor import Tensor
        from minires.functional.creation import tensor

        arrays, on_cpu = self.arrays(epoch, start), self.device == "cpu"
        with closing(arrays if on_cpu else sent_ahead(arrays, self.device)) as batches:
            for images, labels in batches:
                yield (tensor(images), tensor(labels)) if on_cpu else (Tensor(images), Tensor(labels))

    def arrays(self, epoch: int, start: int = 0) -> Generator[_Batch, None, None]:
        """The batches of one pass as NumPy arrays; leaves ``self.epoch`` alone.

        Parameters
        ----------
        epoch : which pass
        start : the batch to begin with, for a pass that was broken off

        Returns
        -------
        An iterator over pairs: images (N, C, H, W) of ``self.dtype``, C-contiguous, and int64 labels (N,).
        What goes wrong in the prefetching thread is raised here, and the thread ends with the iterator.

        Raises
        ------
        ShapeError : if ``epoch`` or ``start`` is negative or no integer.

        Identity that tests it: the same batches for any ``prefetch``.
        """
        epoch, start = _at_least(0, epoch, "epoch"), _at_least(0, start, "start")
        batches = self._prepare(epoch, start)
        return prefetched(batches, self.prefetch) if self.prefetch else batches

    def _prepare(self, epoch: int, start: int) -> Generator[_Batch, None, None]:
        """Everything random about a pass is drawn here; what is left for the iterator is pure."""
        order = self.indices
        if self.shuffle:
            order = order[random.draws("data.shuffle", epoch, seed=self.seed).permutation(len(order))]
        tables = [
            augmentation.draw(random.draws("data.augment", place, epoch, seed=self.seed), len(self.dataset))
            for place, augmentation in enumerate(self.augment)
        ]
        starts = range(start * self.batch_size, len(self) * self.batch_size, self.batch_size)
        return (self._batch(order[first : first + self.batch_size], tables) for first in starts)

    def _batch(self, indices: npt.NDArray[np.intp], tables: list[npt.NDArray[Any]]) -> _Batch:
        images: npt.NDArray[Any] = self.dataset.images[indices]
        for augmentation, table in zip(self.augment, tables, strict=True):
            images = augmentation.apply(images, table[indices])
        return np.ascontiguousarray(self.normalize(images, self.dtype)), self.dataset.labels[indices]

    def __repr__(self) -> str:
        return f"DataLoader({self.dataset!r}, {len(self)} batches of {self.batch_size})"


def _at_least(least: int, value: Any, name: str) -> int:
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < least:
        raise ShapeError(f"{name} must be an integer and at least {least}, got {value!r}")
    return int(value)


def _normalization(normalize: bool | Normalization, dataset: Dataset) -> Normalization:
    if normalize is True:
        return Normalize(dataset.mean, dataset.std)
    if normalize is False:
        return Normalize([0.0] * len(dataset.mean), [1.0] * len(dataset.mean))
    if not callable(normalize):
        raise TypeError(f"normalize must be True, False or a function of (images, dtype), got {normalize!r}")
    return normalize


def _checked_indices(indices: npt.ArrayLike | None, count: int) -> npt.NDArray[np.intp]:
    if indices is None:
        return np.arange(count)
    array = np.asarray(indices)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"indices must be integers (n,), got shape {array.shape} of {array.dtype}")
    wrong = array[(array < 0) | (array >= count)]
    if wrong.size:
        raise ShapeError(f"index {wrong[0]} is out of range: the data set has {count} images, from 0 on")
    return array.astype(np.intp)
