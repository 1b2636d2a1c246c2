"""Write in place: ``x += y``, ``x[i] = y``, ``x.add_(y)`` and similar.

Each write goes into a leaf and is counted (`Tensor.writable`), so a backward pass that needs the old values raises.
Writes are not recorded in the graph. Therefore a leaf that requires a gradient can only be written inside `no_grad`,
and a value with a history cannot be written at all. Where y has a history or x was computed, ``x += y`` makes a new
tensor. The other functions cannot return a new tensor, so they raise.
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
from minires.functional.shape import independent_index
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
    """Return the result of ``x += other`` and similar: x, overwritten, or a new tensor if the result has a history.

    Parameters
    ----------
    x : a leaf is overwritten; if x was computed, or ``other`` has a history, the result is a new tensor
    name : the name of the operation, "add" for ``+=``
    other : a tensor or a number

    Raises
    ------
    GraphError : if x is a leaf that requires a gradient, outside `no_grad`.
    ShapeError : if x is overwritten and the result has another shape.
    DtypeError, DeviceError : as the operation does; the result has the dtype of x.
    """
    _refuse_recorded(x)
    if x.is_leaf and not _has_history(other):
        return update(x, name, other)
    return _OPERATIONS[name][1](x, other)


def update(x: Tensor, name: str, other: Any, alpha: float = 1) -> Tensor:
    """Overwrite x with the result of an operation, as ``x.add_(other)`` does, and return x.

    Parameters
    ----------
    x : a leaf
    name : the name of the operation, "add" for ``add_``
    other : a tensor or a number
    alpha : a factor that multiplies ``other`` first

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
    """Overwrite a part of x: ``x[index] = value``. If an element gets several values, it keeps the last.

    Parameters
    ----------
    x : a leaf
    index : any index that ``x[index]`` accepts
    value : a number, tensor, array or nested list that broadcasts to the shape of ``x[index]``

    Raises
    ------
    GraphError : if x was computed, or requires a gradient outside `no_grad`, or the value has a history.
    IndexingError : if the index is out of range or does not fit the shape of x.
    ShapeError : if the value does not broadcast to that part.
    DtypeError : if the value cannot be cast to the dtype of x within its kind.
    DeviceError : if the value is a tensor on another device.
    """
    if isinstance(value, Tensor):
        same_device(x.array, value.array)
    _write(x, index, value)


def copy_(x: Tensor, source: Any) -> Tensor:
    """Overwrite x with ``source``, broadcast to its shape, from any device; see `setitem` for errors."""
    _write(x, ..., source)
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    """Set every element of x to a number or a scalar tensor; see `setitem` for errors.

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
    index = independent_index(index, x)
    with on_device_of(x.array):
        shape = kernels.choose(x.array).getitem(x.array, index).shape
        if not _broadcasts(source.shape, shape):
            raise ShapeError(f"values of shape {source.shape} do not broadcast to {shape}, the part to be overwritten")
        with x.writable() as array:
            array[index] = source


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Return whether one shape broadcasts to another; as in NumPy, it may have more axes, of length 1, in front."""
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
