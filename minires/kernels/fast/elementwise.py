"""The rectifier, addition and the optimizers' steps for long arrays, cut into pieces for the threads.

Element-wise functions do not care which element is which, so an array whose elements fill a stretch of memory,
in whatever order of axes, is taken as that stretch. Operands in different memory orders are first brought to
that of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.device import Array
from minires.kernels import reference
from minires.kernels.checks import check_gradient
from minires.kernels.fast.layout import blocks
from minires.kernels.reference.arithmetic import Operand
from minires.memory import new_array
from minires.threads import parallel, scratch

_BLOCK = 1 << 18  # numbers in a job
_LONG = 1 << 15  # numbers from which cutting is worth its while


def relu(x: Array) -> Array:
    """max(x, 0), element by element: `minires.kernels.reference.relu`.

    Parameters
    ----------
    x : float array of any shape

    Returns
    -------
    y : shape, dtype and memory order of x; NaN stays NaN

    Identity that tests it: equal to the reference, exactly.
    """
    zero = x.dtype.type(0)
    return _elementwise(lambda a, out: np.maximum(a, zero, out=out), x)


def relu_grad(gy: Array, y: Array) -> Array:
    """0 where y ≤ 0, else gy: `minires.kernels.reference.relu_grad`.

    Parameters
    ----------
    gy, y : float arrays of one shape

    Returns
    -------
    gx : shape and dtype of gy, memory order of y

    Raises
    ------
    ShapeError : if the shapes differ.

    Identity that tests it: equal to the reference, exactly.
    """
    check_gradient(gy, y, "output")
    return _elementwise(lambda b, a, out: rectifier_mask(a, b, out), y, gy)


def rectifier_mask(gy: Array, y: Array, out: Array) -> None:
    """out = 0 where y ≤ 0, else gy, for arrays of one shape, all in one memory order."""
    mask = scratch("rectifier mask", y.shape, np.bool_)
    np.less_equal(y, y.dtype.type(0), out=mask)
    np.logical_not(mask, out=mask)
    where(mask, gy, out)


def where(mask: Array, values: Array, out: Array | None = None) -> Array:
    """The values where the mask is, else 0, for arrays of one shape; in scratch if there is no ``out``.

    The mask multiplies the values' bits as an integer, 1 or 0: several times as fast as `np.where`, and no infinity
    or NaN beside the mask gets through. NumPy widens the mask piece by piece, in its own small buffer.
    """
    integer = np.dtype(f"i{values.itemsize}")
    target = scratch("where", values.shape, integer) if out is None else out.view(integer)
    product: Array = np.multiply(values.view(integer), mask, out=target)
    return product.view(values.dtype)


def add(a: Operand, b: Operand) -> Array:
    """a + b: `minires.kernels.reference.add`, in threads where both are long arrays in one memory order.

    Parameters
    ----------
    a, b : arrays of one dtype that broadcast, or scalars, at least one of them an array

    Returns
    -------
    y : their sum

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, exactly.
    """
    stretches = _stretches(a, b)
    if stretches is None:
        return reference.add(a, b)
    assert isinstance(a, np.ndarray)
    y = _new_like(a, a.dtype)
    _in_threads(np.add, *stretches, _stretch(y))
    return y


def add_(a: Array, b: Array) -> None:
    """a ← a + b: `minires.kernels.reference.add_`, in threads where both are long arrays in one memory order.

    Parameters
    ----------
    a : the array that is changed
    b : an array of its shape and dtype

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, exactly.
    """
    stretches = _stretches(a, b)
    if stretches is None:
        reference.add_(a, b)
    else:
        _in_threads(lambda x, y: np.add(x, y, out=x), *stretches)


def sgd_(
    p: Array,
    g: Array,
    velocity: Array | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """One step of stochastic gradient descent: `minires.kernels.reference.sgd_`, block by block.

    Parameters
    ----------
    p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, first : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, exactly.
    """
    kept = [] if velocity is None else [velocity]
    stretches = _stretches(p, g, *kept)
    options = lr, momentum, dampening, weight_decay, nesterov, first
    if stretches is None:
        return reference.sgd_(p, g, velocity, *options)
    _in_threads(lambda p, g, *kept: reference.sgd_(p, g, kept[0] if kept else None, *options), *stretches)


def adam_(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam: `minires.kernels.reference.adam_`, block by block.

    Parameters
    ----------
    p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, exactly.
    """
    stretches, options = _stretches(p, g, m, v), (step, lr, beta1, beta2, eps, weight_decay, decoupled)
    if stretches is None:
        return reference.adam_(p, g, m, v, *options)
    _in_threads(lambda p, g, m, v: reference.adam_(p, g, m, v, *options), *stretches)


def _stretches(*arrays: Any) -> list[Array] | None:
    """Arrays of one shape, dtype and memory order, long enough for threads, as vectors; None if they are not."""
    first = arrays[0]
    if not isinstance(first, np.ndarray) or first.size < _LONG:
        return None
    same = all(
        isinstance(a, np.ndarray) and a.shape == first.shape and a.strides == first.strides and a.dtype == first.dtype
        for a in arrays
    )
    return [_stretch(a) for a in arrays] if same and _is_dense(first) else None


def _is_dense(array: Array) -> bool:
    """Whether the elements fill a stretch of memory, in whatever order of axes."""
    expected = array.itemsize
    for stride, n in sorted(zip(array.strides, array.shape, strict=True)):
        if n > 1:
            if stride != expected:
                return False
            expected *= n
    return True


def _stretch(array: Array) -> Array:
    """The elements of a dense array as they lie in memory, a view."""
    return array.transpose(_memory_order(array)).reshape(array.size)


def _memory_order(array: Array) -> list[int]:
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return list(range(array.ndim))[::-1]
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def _new_like(array: Array, dtype: npt.DTypeLike) -> Array:
    """An uninitialised dense array with its axes in the order of ``array``."""
    order = _memory_order(array)
    return new_array([array.shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def _in_threads(function: Callable[..., Any], *vectors: Array) -> None:
    parallel(lambda part: function(*(v[part] for v in vectors)), blocks(vectors[0].size, _BLOCK))


def _elementwise(function: Callable[..., Any], *arrays: Array) -> Array:
    """``function(*pieces, out)`` over all elements; the result is like the first array."""
    result = _new_like(arrays[0], arrays[-1].dtype)
    order = _memory_order(result)
    operands = (np.ascontiguousarray(a.transpose(order)).reshape(result.size) for a in arrays)
    _in_threads(function, *operands, _stretch(result))
    return result
