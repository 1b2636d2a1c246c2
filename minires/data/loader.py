"""Make batches of a data set. Order and augmentation depend only on (seed, epoch, sample index)."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from minires import random
from minires.data.arguments import flag
from minires.data.collate import arrays_of, mapped, with_arrays
from minires.data.prefetch import prefetched
from minires.data.samples import Collate, is_image_set, samples
from minires.data.transfer import sent_ahead
from minires.data.transforms import Augmentation, Normalization, Normalize
from minires.device import canonical
from minires.errors import DtypeError, ShapeError
from minires.options import integer

_Images = npt.NDArray[Any]


class DataLoader:
    """Iterate over a data set batch by batch: for a `Dataset` pairs of Tensors, images (N, C, H, W) and labels (N,).

    The order of a pass depends only on (seed, epoch). The augmentation of an image depends only on (seed, epoch, its
    index in the data set). ``prefetch``, ``batch_size`` and resuming a run change neither.

        DataLoader((images, labels), 32)                    arrays of equal length: batches are tuples of Tensors
        DataLoader(mine, 32)                                mine[i] for i from 0 to len(mine) - 1 is a sample
        DataLoader(mine, 32, collate=lambda samples: …)     the function makes a batch of a list of samples

    Your own data set needs ``__len__`` and ``__getitem__``, as in PyTorch. The prefetching thread reads its samples,
    and `default_collate` makes batches of them. All arrays of numbers in a batch become Tensors.

    ``epoch`` is the number of the next pass. It increases when a pass ends, but not when a pass is stopped early. Set
    it to resume.

    Parameters
    ----------
    dataset : a `Dataset`, a tuple of arrays or Tensors, one array, or any object with ``__len__`` and
        ``__getitem__``. A list is a list of samples, except for a list of arrays of equal length and different shapes
    batch_size : samples in a batch; the last one may be smaller
    shuffle : a new order each epoch
    drop_last : leave out a last batch that is smaller
    augment : random changes of the first array of a batch, applied in order, as in
        ``[RandomCrop(4), HorizontalFlip()]``
    normalize : of the first array of a batch: True for the mean and std of a `Dataset`, False for units of 0 to 1,
        or a normalisation. None normalises a `Dataset` without ``collate``, and nothing else
    seed : None for the seed of the default generator (``minires.manual_seed``) at the beginning of each pass
    dtype : float32 or float64, of all arrays of floats. None makes normalised images float32 and keeps the others
    prefetch : the number of batches that a thread prepares ahead; 0 for no thread
    indices : the indices of the samples to use; None for all samples
    device : the device of the tensors; a batch is copied to a GPU while the GPU computes with the previous one
    collate : a function of a list of samples that returns a batch; None for `default_collate`

    Raises
    ------
    ShapeError, DtypeError, DataError, TypeError, DeviceError : if a parameter is not as above, if the data set is
        empty, or if ``drop_last`` would leave out everything.
    DataError : in a pass, if a sample cannot be read (``__cause__`` is the reason) or does not fit the others; the
        text names its index.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        augment: Sequence[Augmentation] = (),
        normalize: bool | Normalization | None = None,
        seed: int | None = None,
        dtype: npt.DTypeLike | None = None,
        prefetch: int = 2,
        indices: npt.ArrayLike | None = None,
        device: str = "cpu",
        collate: Collate | None = None,
    ) -> None:
        self.dataset = dataset
        self._samples = samples(dataset, collate)
        self.device = canonical(device)
        self.batch_size = integer(batch_size, "batch_size", 1)
        self.prefetch = integer(prefetch, "prefetch", 0)
        self.shuffle, self.drop_last = flag(shuffle, "shuffle"), flag(drop_last, "drop_last")
        self.augment = _augmentations(augment)
        self.dtype = None if dtype is None else _float_dtype(dtype)
        self.normalize = _normalization(normalize, dataset, collate)
        if seed is not None:
            random.draws("data.shuffle", seed=seed)  # a bad seed is an error here, not in the first pass
        self.seed = seed
        self.indices = _checked_indices(indices, len(self._samples))
        if self.drop_last and self.batch_size > len(self.indices):
            raise ShapeError(
                f"batch_size {self.batch_size} is more than the {len(self.indices)} samples, so that drop_last leaves "
                "out everything; choose a smaller batch_size, or drop_last=False for one smaller batch"
            )
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The number of the next pass, from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = integer(epoch, "epoch", 0)

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        full, rest = divmod(len(self.indices), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        epoch = self.epoch
        with closing(self.tensors(epoch)) as batches:
            yield from batches
        self.epoch = epoch + 1

    def tensors(self, epoch: int, start: int = 0) -> Generator[Any, None, None]:
        """Iterate over the batches of one pass as `arrays` does, but as tensors on ``self.device``.

        Raises
        ------
        DeviceError : if the device is not available.
        """
        from minires.autograd.tensor import Tensor
        from minires.functional.creation import tensor

        arrays = self.arrays(epoch, start)
        if self.device == "cpu":
            with closing(arrays):
                for batch in arrays:
                    yield mapped(batch, tensor)
            return
        structures: deque[Any] = deque()
        with closing(sent_ahead(_flat(arrays, structures), self.device)) as batches:
            for there in batches:
                yield with_arrays(structures.popleft(), list(map(Tensor, there)))

    def arrays(self, epoch: int, start: int = 0) -> Generator[Any, None, None]:
        """Iterate over the batches of one pass as NumPy arrays, without changing ``self.epoch``.

        Parameters
        ----------
        epoch : the number of the pass
        start : the first batch, for resuming a pass

        Returns
        -------
        An iterator over batches; for a `Dataset` pairs: float images (N, C, H, W), C-contiguous, and int64 labels (N,).
        It raises the errors of the prefetching thread. The thread ends with the iterator.

        Raises
        ------
        ShapeError : if ``epoch`` or ``start`` is negative or not an integer.

        Identity that tests it: the same batches for any ``prefetch``.
        """
        epoch, start = integer(epoch, "epoch", 0), integer(start, "start", 0)
        batches = self._prepare(epoch, start)
        return prefetched(batches, self.prefetch) if self.prefetch else batches

    def _prepare(self, epoch: int, start: int) -> Generator[Any, None, None]:
        """Draw all random numbers of a pass, and return an iterator that draws none."""
        order = self.indices
        if self.shuffle:
            order = order[random.draws("data.shuffle", epoch, seed=self.seed).permutation(len(order))]
        tables = [
            augmentation.draw(random.draws("data.augment", i, epoch, seed=self.seed), len(self._samples))
            for i, augmentation in enumerate(self.augment)
        ]
        starts = range(start * self.batch_size, len(self) * self.batch_size, self.batch_size)
        return (self._batch(order[first : first + self.batch_size], tables) for first in starts)

    def _batch(self, indices: npt.NDArray[np.intp], tables: list[npt.NDArray[Any]]) -> Any:
        batch = self._samples.take(indices)
        if self.augment or self.normalize is not None:
            batch = self._with_changed_images(batch, indices, tables)
        if self.dtype is not None:
            batch = mapped(batch, self._as_dtype)
        return batch

    def _with_changed_images(self, batch: Any, indices: npt.NDArray[np.intp], tables: list[npt.NDArray[Any]]) -> Any:
        """Augment and normalise the first array of a batch."""
        images = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(images, np.ndarray) or images.ndim != 4:
            found = f"shape {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise ShapeError(f"augment and normalize need batches that begin with images (N, C, H, W), got {found}")
        for augmentation, table in zip(self.augment, tables, strict=True):
            images = augmentation.apply(images, table[indices])
        if self.normalize is not None:
            images = self.normalize(images, np.float32 if self.dtype is None else self.dtype)
        images = np.ascontiguousarray(images)
        return (images, *batch[1:]) if isinstance(batch, tuple | list) else images

    def _as_dtype(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array

    def __repr__(self) -> str:
        return f"DataLoader({self._samples!r}, {len(self)} batches of {self.batch_size})"


def _flat(batches: Generator[Any, None, None], structures: deque[Any]) -> Generator[tuple[_Images, ...], None, None]:
    """Yield the arrays of each batch as a tuple, and append the batch to ``structures``."""
    with closing(batches):
        for batch in batches:
            structures.append(batch)
            yield arrays_of(batch)


def _augmentations(augment: Any) -> tuple[Augmentation, ...]:
    """Return the augmentations as a tuple; accept a single one without a list."""
    single = isinstance(augment, Augmentation | type) or not hasattr(augment, "__iter__")
    augmentations = (augment,) if single else tuple(augment)
    for augmentation in augmentations:
        if isinstance(augmentation, type):
            raise TypeError(f"augment needs objects, got the class {augmentation.__name__}; did you mean to call it?")
        if not isinstance(augmentation, Augmentation):
            raise TypeError(f"{augmentation!r} is no augmentation: it needs the methods draw and apply")
    return augmentations


def _float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise DtypeError(f"dtype must be float32 or float64, got {dtype!r}") from error
    if found not in (np.float32, np.float64):
        raise DtypeError(f"dtype must be float32 or float64, got {found}")
    return found


def _normalization(
    normalize: bool | Normalization | None, dataset: Any, collate: Collate | None
) -> Normalization | None:
    if normalize is None and (collate is not None or not is_image_set(dataset)):
        return None
    if normalize is None or normalize is True:
        if not is_image_set(dataset):
            raise TypeError(
                f"normalize=True takes the mean and std of a Dataset, which {type(dataset).__name__} has not: give "
                "Normalize(mean, std), or False for units of 0 to 1"
            )
        return Normalize(dataset.mean, dataset.std)
    if normalize is False:
        return _in_units
    if isinstance(normalize, type) or not callable(normalize):
        raise TypeError(f"normalize must be True, False or a function of (images, dtype), got {normalize!r}")
    return normalize


def _in_units(images: _Images, dtype: npt.DTypeLike = np.float32) -> _Images:
    """Return images in units of 0 to 1."""
    channels = images.shape[1]
    return Normalize([0.0] * channels, [1.0] * channels)(images, dtype)


def _checked_indices(indices: npt.ArrayLike | None, count: int) -> npt.NDArray[np.intp]:
    if indices is None:
        return np.arange(count)
    array = np.asarray(indices)
    if not array.size:
        array = array.astype(np.intp)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"indices must be integers (n,), got shape {array.shape} of {array.dtype}")
    wrong = array[(array < 0) | (array >= count)]
    if wrong.size:
        raise ShapeError(f"index {wrong[0]} is out of range: the data set has {count} samples, from 0 to {count - 1}")
    return array.astype(np.intp)
