"""The rules for NumPy's functions on `Rounded` arrays: only for those that kernels use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minires.device import Array
from minires.testing.rounding import elementwise, reductions
from minires.testing.rounding.carrier import Carrier, operand
from minires.testing.rounding.model import Parts

# NumPy computes these by methods, indices and other functions, or from shapes and dtypes alone.
_AS_THEY_ARE = frozenset(
    {np.all, np.amax, np.amin, np.any, np.argmax, np.argmin, np.array_split, np.atleast_1d, np.atleast_2d}
    | {np.can_cast, np.clip, np.expand_dims, np.flip, np.hsplit, np.iscomplexobj, np.isrealobj, np.max, np.mean}
    | {np.may_share_memory, np.min, np.moveaxis, np.ndim, np.ravel, np.reshape, np.result_type, np.rollaxis}
    | {np.shape, np.shares_memory, np.size, np.split, np.squeeze, np.sum, np.swapaxes, np.transpose, np.vsplit}
)
_OWN: dict[Any, Callable[..., Any]] = {}


def rule_of(function: Any) -> Callable[..., Any] | None:
    """Return the replacement of a NumPy function for `Rounded` arrays; None if NumPy's own one works.

    Raises
    ------
    TypeError : if there is no rule for the function.
    """
    if function not in _OWN and function not in _AS_THEY_ARE:
        raise TypeError(f"no rule bounds the rounding of np.{function.__name__}: write it with functions that have one")
    return _OWN.get(function)


def _own(function: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        _OWN[function] = implementation
        return implementation

    return register


def _first(*candidates: Any) -> Carrier:
    return next(x for x in candidates if isinstance(x, Carrier))


@_own(np.where)
def _where(condition: Any, x: Any, y: Any) -> Any:
    like = _first(condition, x, y)
    floating = np.result_type(*(a.value if isinstance(a, Carrier) else a for a in (x, y))).kind == "f"
    a, b = (operand(item, like.precision, floating) for item in (x, y))
    return like.holding(elementwise.choose(operand(condition, like.precision, False), a, b))


@_own(np.copyto)
def _copyto(target: Any, source: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(target, Carrier):
        raise TypeError("np.copyto would copy a Rounded array, without its bound, into a plain one")
    result = operand(source, target.precision)
    if where is not True:
        result = elementwise.choose(operand(where, target.precision), result, target.parts)
    target.written(result)


def _like(name: str, fill: float, error: float) -> None:
    def make(prototype: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None) -> Any:
        wanted: np.dtype[Any] = np.dtype(prototype.dtype if dtype is None else dtype)
        if wanted.kind == "f" and wanted != np.float64:
            raise TypeError(f"the double is in float64: an array of {wanted} beside it would lose its bound")
        value = np.full_like(prototype.value, fill, wanted, order, False, shape)
        return prototype.holding(prototype.precision.numbers(value, error))

    _OWN[getattr(np, name)] = make


_like("zeros_like", 0, 0.0)
_like("ones_like", 1, 0.0)
_like("empty_like", 0, np.inf)  # nothing is known of an element before it is written


@_own(np.full_like)
def _full_like(prototype: Any, fill_value: Any, *arguments: Any, **keywords: Any) -> Any:
    made = np.empty_like(prototype, *arguments, **keywords)
    made[...] = fill_value
    return made


@_own(np.copy)
def _copy(a: Any, order: Any = "K", subok: Any = False) -> Any:
    return a.copy(order)


@_own(np.broadcast_to)
def _broadcast_to(array: Any, shape: Any, subok: Any = False) -> Any:
    return array.viewing(array.parts.each(lambda part: np.broadcast_to(part, shape)))


def _joining(function: Callable[..., Any]) -> None:
    def join(arrays: Sequence[Any], axis: Any = 0) -> Any:
        like = _first(*arrays)
        operands = [operand(x, like.precision) for x in arrays]
        value, error, size, terms = (function(part, axis) for part in zip(*(x.arrays for x in operands), strict=True))
        return like.holding(Parts(value, error, size, terms, like.precision))

    _OWN[function] = join


_joining(np.concatenate)
_joining(np.stack)


@_own(np.pad)
def _pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    if mode != "constant" or constant_values != 0:
        raise TypeError("np.pad has a rule for rounding where it pads with zeros alone")
    return array.holding(array.parts.each(lambda part: np.pad(part, pad_width)))


@_own(np.tile)
def _tile(A: Any, reps: Any) -> Any:
    return A.holding(A.parts.each(lambda part: np.tile(part, reps)))


@_own(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Return `np.dot` of arrays with one or two axes."""
    if np.ndim(a) not in (1, 2) or np.ndim(b) not in (1, 2):
        raise TypeError("np.dot has a rule for rounding for one and two axes alone: use np.matmul")
    return np.matmul(a, b) if out is None else np.matmul(a, b, out=out)


@_own(np.einsum)
def _einsum(subscripts: str, *operands: Any, out: Any = None, optimize: Any = False) -> Any:
    # Only for two operands, with explicit letters also for the result.
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    if len(operands) != 2 or not arrow or "." in subscripts or any(len(set(i)) < len(i) for i in inputs.split(",")):
        raise TypeError("np.einsum has a rule for rounding for two operands and explicit letters alone")
    like = _first(*operands)
    parts = [operand(x, like.precision) for x in operands]
    length = reductions.contracted_length([x.value for x in parts], f"{inputs}->{result}")

    def multiply(a: Array, b: Array) -> Array:
        return np.asarray(np.einsum(subscripts, a, b))

    made = reductions.product(multiply, parts[0], parts[1], length)
    return like.holding(made) if out is None else out.written(made)
