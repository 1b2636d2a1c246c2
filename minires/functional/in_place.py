"""Writing in place: ``x += y``, ``x[i] = y``, ``x.add_(y)`` and their like.

They write into leaves and count the write (`Tensor.writable`), so that a backward pass which needs the old values
raises. Nothing of it is recorded. So a leaf that requires a gradient is written to inside `no_grad` alone, and a value
that has a history is not written anywhere: ``x += y`` makes a new tensor then, as it does for a computed ``x``, and the
others, which have no result to give, raise.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from minires import kernels
from minires.autograd.op import no_grad, recording
from minires.autograd.tensor import Tensor
from minires.device import on_device_of, same_device
from minires.errors import GraphError, ShapeError
from minires.functional import arithmetic
from minires.functional.matmul import matmul
from minires.functional.shape import index_of_its_own
from minires.options import number
from minires.write_guard import writable_into

_OPERATIONS: dict[str, tuple[str, Callable[[Any, Any], Tensor]]] = {
    "add": ("+", arithmetic.add),
    "subtract": ("-", arithmetic.subtract),
    "multiply": ("*", arithmetic.multiply),
    "divide": ("/", arithmetic.divide),
    "power": ("**", arithmetic.power),
    "matmul": ("@", matmul),
}


def updated(x: Tensor, name: str, other: Any) -> Tensor:
    """``x += other`` and its like: x itself, overwritten, or a new tensor where the result has a history.

    Parameters
    ----------
    x : a leaf is overwritten; where x was computed, or ``other`` is recorded, the result is a new tensor
    name : of the operation, "add" for ``+=``
    other : a tensor or a number, as the operation takes it

    Raises
    ------
    GraphError : if x is a leaf that requires a gradient and operations are recorded.
    ShapeError : if x is to be overwritten and the result has another shape.
    DtypeError, DeviceError : as the operation does; the result has the dtype of x.
    """
    _refuse_recorded(x)
    if x.is_leaf and not _has_history(other):
        return update(x, name, other)
    return _OPERATIONS[name][1](x, other)


def update(x: Tensor, name: str, other: Any, alpha: float = 1) -> Tensor:
    """``x.add_(other)`` and its like: overwrite x with the result of an operation and give it back.

    Parameters
    ----------
    x : a leaf
    name : of the operation, "add" for ``add_``
    other : a tensor or a number, as the operation takes it
    alpha : what ``other`` is multiplied by first

    Raises
    ------
    as `updated`; and GraphError if x was computed or ``other`` has a history.
    """
    _check(x, other)
    sign, operation = _OPERATIONS[name]
    factor = number(alpha, "alpha")
    with no_grad():
        if factor != 1:
            other = (other if isinstance(other, Tensor) else number(other, "what alpha multiplies")) * factor
        result = operation(x, other)
    if result.shape != x.shape:
        instead = f"a change in place keeps it: make a new tensor, x = x {sign} y"
        raise ShapeError(f"x {sign}= y gives shape {result.shape} for x of shape {x.shape}; {instead}")
    return x.assign_(result)


def add_in_place(x: Tensor, y: Tensor) -> None:
    """Add y, of the same shape, dtype and device, to x in the memory of x. The engine adds gradients with this."""
    with x.writable() as array:
        kernels.choose(array).add_(array, y._array)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: overwrite a part of x. Of several values for one element the last is kept.

    Parameters
    ----------
    x : a leaf
    index : whatever can be read by, as in ``x[index]``
    value : a number, tensor, array or nested list that broadcasts to the shape of ``x[index]``

    Raises
    ------
    GraphError : if x was computed, or requires a gradient while operations are recorded, or the value has a history.
    IndexingError : if the index is out of range or does not fit the shape of x.
    ShapeError : if the value does not broadcast to that part.
    DtypeError : if the value cannot be cast to the dtype of x within its kind.
    DeviceError : if the value is a tensor on another device.
    """
    if isinstance(value, Tensor):
        same_device(x.array, value.array)
    _write(x, index, value)


def copy_(x: Tensor, source: Any) -> Tensor:
    """Overwrite x with ``source``, broadcast to its shape, from any device; otherwise as `setitem`."""
    _write(x, ..., source)
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    """Set every element of x to a number, or to that of a tensor without axes; otherwise as `setitem`.

    Raises
    ------
    ShapeError : if the value has axes.
    """
    if np.ndim(value):
        raise ShapeError(f"fill_ takes one number, not values of shape {np.shape(value)}: use copy_")
    _write(x, ..., value)
    return x


def _write(x: Tensor, index: Any, value: Any) -> None:
    _check(x, value)
    if isinstance(value, numbers.Number | np.bool_):
        value = arithmetic.lift(value, x)
    source = writable_into(x.array, value.array if isinstance(value, Tensor) else value)
    place = index_of_its_own(index, x)
    with on_device_of(x.array):
        shape = kernels.choose(x.array).getitem(x.array, place).shape
        if not _broadcasts(source.shape, shape):
            raise ShapeError(f"values of shape {source.shape} do not broadcast to {shape}, the part to be overwritten")
        with x.writable() as array:
            array[place] = source


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether values of a shape can be written where another is; as in NumPy, axes of length one may be in front."""
    added = len(shape) - len(to)
    fits = all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))
    return fits and all(n == 1 for n in shape[: max(added, 0)])


def _has_history(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and recording()


def _refuse_recorded(x: Tensor) -> None:
    if x.is_leaf and _has_history(x):
        raise GraphError(
            "this leaf requires a gradient, and a change in place is not recorded: "
            "change it inside `with mr.no_grad():`, or make a new tensor, y = x + 1"
        )


def _check(x: Tensor, value: Any) -> None:
    x.must_be_writable()
    _refuse_recorded(x)
    if _has_history(value):
        raise GraphError(
            "the history of what is written would be lost: write y.detach(), or make a new tensor, "
            "x = x + y, mr.where(mask, y, x) or mr.concatenate([x, y])"
        )
