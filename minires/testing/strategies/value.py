"""Strategies of arrays: their values, dtypes and memory orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from hypothesis import strategies as st

from minires.device import Array
from minires.testing.layouts import MEMORY_ORDERS, lay_out
from minires.testing.strategies.shape import seeds, shapes

T = TypeVar("T")
Shape: TypeAlias = tuple[int, ...]

KINDS = ("smooth", "integers", "near_kinks", "tied", "near_ties", "apart", "positive")


def dtypes() -> st.SearchStrategy[np.dtype[np.floating]]:
    """Return a strategy of the float dtypes that kernels compute in, float64 first."""
    return st.sampled_from([np.dtype("float64"), np.dtype("float32")])


def memory_orders() -> st.SearchStrategy[str]:
    """Return a strategy of memory orders for `lay_out`, C order first."""
    return st.sampled_from(MEMORY_ORDERS)


def kinds() -> st.SearchStrategy[str]:
    """Return a strategy of kinds of values for `array`."""
    return st.sampled_from(KINDS)


def labels(batch: int, classes: int, ignore_index: int | None = None) -> st.SearchStrategy[Array]:
    """Return a strategy of int64 arrays (batch,) of class indices; some are ``ignore_index``, if given."""
    return _labels(batch, classes, ignore_index)


def _draw_labels(draw: st.DrawFn, batch: int, classes: int, ignore_index: int | None) -> Array:
    rng = np.random.default_rng(draw(seeds()))
    drawn = rng.integers(0, classes, batch)
    if ignore_index is not None:
        drawn[rng.random(batch) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = ignore_index
    return drawn


def array(
    shape: Shape,
    seed: int,
    kind: str = "smooth",
    dtype: Any = "float64",
    order: str = "C",
    stream: int = 0,
) -> Array:
    """Return an array of values from a seed. It is no strategy itself, so that examples stay small.

    Parameters
    ----------
    shape : any
    seed : a drawn seed
    kind : how the values lie beside zero and beside each other:
        "smooth" (normal numbers),
        "integers" (−8 … 8, so that sums of products are exact),
        "near_kinks" (normal numbers, a third of them within 1e-12 … 1e-3 of zero, some exactly zero),
        "tied" (integers −1, 0, 1: several elements are the maximum),
        "near_ties" (the same, moved by 1e-12 … 1e-3, so that they all differ, but little),
        "apart" (evenly spaced within −8 … 8, in any order: the distance of n values is at least s, which is 16 / n
        rounded down to a power of two, and s / 2 from zero; so no tie and no kink is near),
        "positive" (0.01 … 100, evenly on a logarithmic scale, for logarithms, roots and denominators)
    dtype : of the result; an integer dtype drops fractions
    order : a memory order for `lay_out`
    stream : another stream gives other values for the same seed

    Raises
    ------
    ValueError : for another kind or order.
    """
    rng = np.random.default_rng([seed, stream])
    values: Array
    if kind == "smooth":
        values = rng.standard_normal(shape)
    elif kind == "integers":
        values = rng.integers(-8, 9, shape).astype(float)
    elif kind == "near_kinks":
        values = rng.standard_normal(shape)
        close = rng.random(shape) < 1 / 3
        values = np.where(close, np.sign(values) * 10.0 ** rng.uniform(-12, -3, shape), values)
        values = np.where(rng.random(shape) < 1 / 12, 0.0, values)
    elif kind == "tied":
        values = rng.integers(-1, 2, shape).astype(float)
    elif kind == "near_ties":
        values = rng.integers(-1, 2, shape) + rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-12, -3, shape)
    elif kind == "apart":
        n = math.prod(shape)
        values = (rng.permutation(n) - n // 2 + 0.5).reshape(shape) * 2.0 ** math.floor(math.log2(16 / max(n, 16)))
    elif kind == "positive":
        values = 10.0 ** rng.uniform(-2, 2, shape)
    else:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    return lay_out(np.asarray(values).astype(dtype), order)


def arrays(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    kinds: str | Sequence[str] | st.SearchStrategy[str] = KINDS,
    dtype: Any = "float64",
    orders: str | Sequence[str] | st.SearchStrategy[str] = MEMORY_ORDERS,
) -> st.SearchStrategy[Array]:
    """Return a strategy of NumPy arrays: a shape, a kind, a memory order and a seed are drawn and given to `array`.

    A failing example shows them as calls of `array`, such as ``x=array(shape=(2, 1), seed=0, kind='tied')``, or by
    their values if these are shorter. Arrays of one example differ even if they have the same seed: their streams
    differ.

    Parameters
    ----------
    shape : a shape or a strategy of shapes; by default `shapes()`, 0-d to 4-d, none of them empty
    kinds : one kind of values, several, or a strategy of them; see `array`
    dtype : a dtype or a strategy of dtypes
    orders : one memory order, several, or a strategy of them

    Raises
    ------
    ValueError : for an unknown kind or order.
    """
    for names, known in ((kinds, KINDS), (orders, MEMORY_ORDERS)):
        if not isinstance(names, st.SearchStrategy):
            unknown = set([names] if isinstance(names, str) else names) - set(known)
            if unknown:
                raise ValueError(f"{sorted(unknown)[0]!r} is not one of {', '.join(known)}")
    shape = shapes() if shape is None else shape if isinstance(shape, st.SearchStrategy) else st.just(tuple(shape))
    dtype = dtype if isinstance(dtype, st.SearchStrategy) else st.just(dtype)
    return _array(shape, _one_of(kinds), dtype, _one_of(orders))


def _one_of(names: str | Sequence[str] | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    if isinstance(names, st.SearchStrategy):
        return names
    return st.sampled_from([names] if isinstance(names, str) else list(names))


def _draw_array(
    draw: st.DrawFn,
    shape: st.SearchStrategy[Shape],
    kind: st.SearchStrategy[str],
    dtype: st.SearchStrategy[Any],
    order: st.SearchStrategy[str],
) -> Array:
    usual = {"kind": "smooth", "dtype": "float64", "order": "C", "stream": 0}
    drawn = {"shape": draw(shape), "kind": draw(kind), "dtype": np.dtype(draw(dtype)).name, "order": draw(order)}
    drawn |= {"seed": draw(seeds()), "stream": next(draw(_STREAMS))}
    told = {name: st.just(drawn[name]) for name in ("shape", "seed")}
    told |= {name: st.just(drawn[name]) for name in usual if drawn[name] != usual[name]}
    made: Array = draw(st.builds(array, **told))  # Hypothesis shows the result of `builds` as a call
    return made


_STREAMS = st.shared(st.builds(itertools.count), key="streams of minires.testing.strategies.arrays")


# Made once: Hypothesis reads the source of a function that it makes a strategy of, which takes a millisecond.
_labels = st.composite(_draw_labels)
_array = st.composite(_draw_array)
