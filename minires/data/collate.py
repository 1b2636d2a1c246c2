"""Make a batch of samples, and visit the arrays of a batch of any structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.device import asnumpy
from minires.errors import DataError

_NUMBERS = (bool, int, float, np.number, np.bool_)
_HINT = (
    "return samples that are alike, or give the DataLoader a collate function (arrays of equal length are given as a "
    "tuple, (images, labels))"
)


def default_collate(samples: Sequence[Any], indices: Sequence[int] | None = None) -> Any:
    """Return the samples as one batch, as PyTorch's function of this name does.

    Arrays and Tensors (…) are stacked into an array (N, …), numbers become an array (N,), and strings a list. Tuples,
    lists and dictionaries are collated element by element.

    Parameters
    ----------
    samples : at least one sample; all have the same structure
    indices : their indices in the data set, for messages; None for 0, 1, …

    Raises
    ------
    DataError : if samples differ in structure or shape; the text says which.
    TypeError : for a sample of another type.
    """
    return _collated(list(samples), list(range(len(samples)) if indices is None else indices), "")


def mapped(batch: Any, change: Callable[[npt.NDArray[Any]], Any]) -> Any:
    """Return a batch with ``change`` applied to every array of numbers in it.

    Tensors become arrays first. The structure and everything that is not an array of numbers stay unchanged.
    """
    if _is_tensor(batch):
        batch = batch.numpy()
    if isinstance(batch, np.ndarray):
        return change(batch) if batch.dtype.kind in "biufc" else batch
    if isinstance(batch, Mapping):
        return {key: mapped(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return _like(batch, [mapped(value, change) for value in batch])
    return batch


def arrays_of(batch: Any) -> tuple[npt.NDArray[Any], ...]:
    """Return the arrays of numbers in a batch, in the order in which `mapped` visits them."""
    found: list[npt.NDArray[Any]] = []

    def keep(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found.append(array)
        return array

    mapped(batch, keep)
    return tuple(found)


def with_arrays(batch: Any, arrays: Sequence[Any]) -> Any:
    """Return a batch with ``arrays`` instead of those that `arrays_of` returns."""
    rest = iter(arrays)
    return mapped(batch, lambda _: next(rest))


def is_array(value: Any) -> bool:
    """Return whether ``value`` is an array or a Tensor, of this or another library."""
    return _is_tensor(value) or (hasattr(type(value), "__array__") and not isinstance(value, np.generic))


def as_array(value: Any) -> npt.NDArray[Any]:
    """Return an array, a Tensor or nested lists as a NumPy array."""
    return value.numpy() if _is_tensor(value) else asnumpy(value)


def _collated(samples: list[Any], indices: list[int], place: str) -> Any:
    kinds = [_kind(sample) for sample in samples]
    for sample, kind, index in zip(samples, kinds, indices, strict=True):
        if not kind:
            raise TypeError(
                f"sample {index}{place} is of type {type(sample).__name__}, of which no batch can be made: return "
                "arrays, numbers, strings, or tuples, lists or dictionaries of them, or give the DataLoader a collate "
                "function"
            )
        if kind != kinds[0]:
            raise DataError(f"sample {index}{place} is {kind}, but sample {indices[0]}{place} is {kinds[0]}; {_HINT}")
    if kinds[0] == "an array":
        return _stacked([as_array(sample) for sample in samples], indices, place)
    if kinds[0] == "a number":
        return _in_numbers(np.asarray(samples), samples, indices, place)
    if kinds[0] == "a string":
        return samples
    if kinds[0] == "a dictionary":
        _check_equal([sorted(map(str, sample)) for sample in samples], "keys", indices, place)
        return {key: _collated([s[key] for s in samples], indices, f"{place}[{key!r}]") for key in samples[0]}
    _check_equal([len(sample) for sample in samples], "length", indices, place)
    columns = [list(column) for column in zip(*samples, strict=True)]
    return _like(samples[0], [_collated(column, indices, f"{place}[{i}]") for i, column in enumerate(columns)])


def _kind(sample: Any) -> str:
    if isinstance(sample, _NUMBERS):
        return "a number"
    if is_array(sample):
        return "an array"
    if isinstance(sample, str | bytes):
        return "a string"
    if isinstance(sample, Mapping):
        return "a dictionary"
    return {True: "a tuple", False: "a list"}[isinstance(sample, tuple)] if isinstance(sample, tuple | list) else ""


def _stacked(arrays: list[npt.NDArray[Any]], indices: list[int], place: str) -> npt.NDArray[Any]:
    _check_equal([array.shape for array in arrays], "shape", indices, place)
    return _in_numbers(np.stack(arrays), arrays, indices, place)


def _in_numbers(batch: npt.NDArray[Any], samples: Sequence[Any], indices: list[int], place: str) -> npt.NDArray[Any]:
    """Return the batch; raise DataError if an integer of a sample fits no NumPy dtype."""
    if batch.dtype.kind == "O":
        index, found = next((i, s) for i, s in zip(indices, samples, strict=True) if np.asarray(s).dtype.kind == "O")
        raise DataError(f"sample {index}{place} is {found!r:.80}, which no dtype of NumPy holds; convert it to a float")
    return batch


def _check_equal(values: list[Any], name: str, indices: list[int], place: str) -> None:
    for value, index in zip(values, indices, strict=True):
        if value != values[0]:
            raise DataError(
                f"sample {index}{place} has {name} {value}, but sample {indices[0]}{place} has {values[0]}; {_HINT}"
            )


def _like(example: Any, values: list[Any]) -> Any:
    """Return ``values`` as a list, tuple or named tuple, like ``example``."""
    if hasattr(example, "_fields"):
        return type(example)(*values)
    return tuple(values) if isinstance(example, tuple) else values


def _is_tensor(value: Any) -> bool:
    from minires.autograd.tensor import Tensor

    return isinstance(value, Tensor)
