"""Wrap the input of a DataLoader: a Dataset of images, arrays of equal length, or single samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from minires.data.collate import as_array, default_collate, is_array
from minires.data.dataset import Dataset
from minires.errors import DataError, DtypeError, ShapeError

Indices = npt.NDArray[np.intp]
Collate = Callable[[list[Any]], Any]
_EXPECTED = (
    "a Dataset, a tuple of arrays such as (images, labels), or an object with __len__ and __getitem__ that returns "
    "samples"
)


class Samples(Protocol):
    """Samples that can be taken in batches."""

    def __len__(self) -> int: ...

    def take(self, indices: Indices) -> Any:
        """Return the batch of the samples with these indices, as NumPy arrays."""


class _Images:
    """The images and labels of a Dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, indices: Indices) -> Any:
        return self.dataset.images[indices], self.dataset.labels[indices]

    def __repr__(self) -> str:
        return repr(self.dataset)


class _Arrays:
    """Arrays of equal length; a batch is the tuple of their rows."""

    def __init__(self, arrays: tuple[Any, ...]) -> None:
        if not arrays:
            raise DataError(f"an empty tuple holds no arrays; give {_EXPECTED}")
        self.arrays = [_column(array, i) for i, array in enumerate(arrays)]
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            shapes = ", ".join(str(array.shape) for array in self.arrays)
            raise ShapeError(
                f"the arrays have {' and '.join(map(str, lengths))} rows, one for each sample, which must be as many; "
                f"their shapes are {shapes}"
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Any:
        return tuple(array[index] for array in self.arrays)

    def take(self, indices: Indices) -> Any:
        return tuple(np.ascontiguousarray(array[indices]) for array in self.arrays)

    def __repr__(self) -> str:
        return f"({', '.join(f'{array.dtype} array {array.shape}' for array in self.arrays)})"


class _Array(_Arrays):
    """One array; a batch is an array of its rows."""

    def __init__(self, array: Any) -> None:
        super().__init__((array,))

    def __getitem__(self, index: int) -> Any:
        return self.arrays[0][index]

    def take(self, indices: Indices) -> Any:
        return super().take(indices)[0]


class _Items:
    """Samples that are read one by one, and a function that makes a batch of them."""

    def __init__(self, dataset: Any, collate: Collate | None) -> None:
        self.dataset, self.collate = dataset, collate

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, indices: Indices) -> Any:
        wanted: list[int] = indices.tolist()
        items = [self._item(index) for index in wanted]
        return default_collate(items, wanted) if self.collate is None else self.collate(items)

    def _item(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:  # the user's code can raise anything
            raise DataError(
                f"sample {index} of {type(self.dataset).__name__} cannot be had: {type(error).__name__}: {error}"
            ) from error

    def __repr__(self) -> str:
        return f"{type(self.dataset).__name__} of {len(self)}"


def samples(dataset: Any, collate: Collate | None = None) -> Samples:
    """Return the data set in a form from which batches can be taken.

    Parameters
    ----------
    dataset : a `Dataset`, a tuple of arrays, an array, or an object with ``__len__`` and ``__getitem__``
    collate : makes a batch of a list of samples; None for `default_collate`

    A list is a list of samples, as in PyTorch, with one exception: a list of arrays of equal length with different
    shapes, such as ``[images, labels]``, is taken as a tuple.

    Raises
    ------
    TypeError, ShapeError, DtypeError, DataError : if ``dataset`` is not as above or empty, or if lengths differ.
    """
    if collate is not None and not callable(collate):
        raise TypeError(f"collate must be a function of a list of samples, got {collate!r}")
    found: Samples
    if is_image_set(dataset):
        found = _Images(dataset)
    elif isinstance(dataset, tuple) or (collate is None and _is_list_of_columns(dataset)):
        found = _Arrays(tuple(dataset))
    elif is_array(dataset):
        found = _Array(dataset)
    else:
        _check_items(dataset)
        found = _Items(dataset, collate)
    if not len(found):
        raise DataError(f"the data set is empty, so there is nothing to make batches of: {found!r}")
    if collate is None or isinstance(found, _Items):
        return found
    return _Items(dataset if isinstance(found, _Images) else found, collate)


def is_image_set(dataset: Any) -> bool:
    """Return whether this is a Dataset whose arrays are the samples; a subclass may override ``__getitem__``."""
    return isinstance(dataset, Dataset) and type(dataset).__getitem__ is Dataset.__getitem__


def _column(array: Any, position: int) -> npt.NDArray[Any]:
    try:
        column = as_array(array)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"element {position} of the tuple, of type {type(array).__name__}, is no array ({error}); a tuple is taken "
            "as arrays of equal length; give samples as a list"
        ) from error
    if not column.ndim:
        raise ShapeError(f"element {position} of the tuple is a single number, {array!r}; expected an array (N, …)")
    if column.dtype.kind not in "biufc":
        raise DtypeError(
            f"element {position} of the tuple has dtype {column.dtype}; expected numbers: give classes as integers"
        )
    return column


def _is_list_of_columns(dataset: Any) -> bool:
    if not isinstance(dataset, list) or len(dataset) < 2 or not all(map(is_array, dataset)):
        return False
    shapes = {tuple(array.shape) for array in dataset}
    return len(shapes) > 1 and () not in shapes and len({shape[0] for shape in shapes}) == 1


def _check_items(dataset: Any) -> None:
    if isinstance(dataset, str | bytes | os.PathLike):
        raise TypeError(f"a DataLoader takes {_EXPECTED}, got the path {dataset!r}; did you mean ImageFolder of it?")
    if isinstance(dataset, Mapping):
        raise TypeError(f"a DataLoader takes {_EXPECTED}, got a {type(dataset).__name__}; give its arrays as a tuple")
    if isinstance(dataset, type):
        raise TypeError(f"a DataLoader takes {_EXPECTED}, got the class {dataset.__name__}; call it first")
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(f"a DataLoader takes {_EXPECTED}, got {dataset!r}")
