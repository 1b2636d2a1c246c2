"""Hypothesis strategies for property tests of array code: shapes, windows, memory orders, values.

They draw shapes, geometry and a seed, never long lists of numbers: a failing example is a few integers, and
shrinking leads to the smallest geometry that still fails. `array` turns a shape, a kind and a seed into values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from minires.device import Array
from minires.geometry import Geometry
from minires.testing.layouts import MEMORY_ORDERS, lay_out

KINDS = ("smooth", "integers", "near_kinks", "tied")


def seeds() -> st.SearchStrategy[int]:
    """Seeds for `array` and other generators."""
    return st.integers(0, 2**32 - 1)


def shapes(
    min_dims: int = 0, max_dims: int = 4, min_side: int = 1, max_side: int = 5
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes, small ones first; ``min_side=0`` includes empty arrays."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def broadcast_pairs(
    max_dims: int = 4, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Two different or equal shapes that broadcast with each other, either one possibly the longer."""
    return st.composite(_broadcast_pair)(max_dims, min_side, max_side)


def _broadcast_pair(
    draw: st.DrawFn, max_dims: int, min_side: int, max_side: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    full = draw(shapes(max_dims=max_dims, min_side=min_side, max_side=max_side))
    masks = [draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full))) for _ in range(2)]
    pair = [
        tuple(1 if one and not other else n for n, one, other in zip(full, *order, strict=True))
        for order in (masks, masks[::-1])
    ]
    shortened = draw(st.integers(0, 1))
    pair[shortened] = pair[shortened][draw(st.integers(0, len(full))) :]
    return pair[0], pair[1]


def dtypes() -> st.SearchStrategy[np.dtype[np.floating]]:
    """The float dtypes that kernels work in, float64 first."""
    return st.sampled_from([np.dtype("float64"), np.dtype("float32")])


def memory_orders() -> st.SearchStrategy[str]:
    """Names for `lay_out`: C order first."""
    return st.sampled_from(MEMORY_ORDERS)


def kinds() -> st.SearchStrategy[str]:
    """Kinds of values for `array`."""
    return st.sampled_from(KINDS)


class ConvCase(NamedTuple):
    """The shapes of a convolution: x (N, C, H, W), w (K, C / groups, R, S), and its geometry."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    geometry: Geometry


class PoolCase(NamedTuple):
    """The shape of a pooling's input (N, C, H, W) and its window."""

    x: tuple[int, int, int, int]
    geometry: Geometry


def conv_cases(max_batch: int = 3, max_channels: int = 3, max_kernel: int = 3) -> st.SearchStrategy[ConvCase]:
    """Every legal combination of kernel, stride, padding, dilation, groups and image, rectangular ones too.

    Strides may exceed the kernel, padding may exceed the kernel, and images need not be a whole number of steps.
    ``max_channels`` bounds the channels of one group.
    """
    return st.composite(_conv_case)(max_batch, max_channels, max_kernel)


def _conv_case(draw: st.DrawFn, max_batch: int, max_channels: int, max_kernel: int) -> ConvCase:
    side = st.integers(1, max_kernel)
    kernel = draw(side), draw(side)
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    geometry = Geometry(kernel, stride, padding, dilation, groups)
    size = _sizes(draw, geometry)
    channels = st.integers(1, max_channels)
    C, K = draw(channels), draw(channels)
    x = (draw(st.integers(1, max_batch)), C * groups, *size)
    return ConvCase(x, (K * groups, C, *kernel), geometry)


def pool_cases(max_batch: int = 2, max_channels: int = 3, max_kernel: int = 3) -> st.SearchStrategy[PoolCase]:
    """Every legal pooling window: padding smaller than the window, strides that overlap, meet or leave gaps."""
    return st.composite(_pool_case)(max_batch, max_channels, max_kernel)


def _pool_case(draw: st.DrawFn, max_batch: int, max_channels: int, max_kernel: int) -> PoolCase:
    kernel = draw(st.integers(1, max_kernel)), draw(st.integers(1, max_kernel))
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))
    geometry = Geometry(kernel, stride, padding)
    size = _sizes(draw, geometry)
    return PoolCase((draw(st.integers(1, max_batch)), draw(st.integers(1, max_channels)), *size), geometry)


def _sizes(draw: st.DrawFn, geometry: Geometry) -> tuple[int, int]:
    """An image at least as large as the window needs, and up to five pixels larger."""
    least = [max(1, extent - 2 * pad) for extent, pad in zip(geometry.extent, geometry.padding, strict=True)]
    return least[0] + draw(st.integers(0, 5)), least[1] + draw(st.integers(0, 5))


def labels(batch: int, classes: int, ignore_index: int | None = None) -> st.SearchStrategy[Array]:
    """An int64 array (batch,) of class numbers; some are ``ignore_index``, if there is one."""
    return st.composite(_labels)(batch, classes, ignore_index)


def _labels(draw: st.DrawFn, batch: int, classes: int, ignore_index: int | None) -> Array:
    rng = np.random.default_rng(draw(seeds()))
    drawn = rng.integers(0, classes, batch)
    if ignore_index is not None:
        drawn[rng.random(batch) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = ignore_index
    return drawn


def array(
    shape: tuple[int, ...],
    seed: int,
    kind: str = "smooth",
    dtype: str | np.dtype[np.floating] = "float64",
    order: str = "C",
    stream: int = 0,
) -> Array:
    """Values from a seed; not a strategy itself, so that examples stay small.

    Parameters
    ----------
    shape : any
    seed : a drawn seed
    kind : "smooth" (normal numbers), "integers" (−8 … 8, so that sums of products are exact),
        "near_kinks" (normal numbers, a third of them within 1e-12 … 1e-3 of zero, some exactly zero),
        "tied" (integers −1, 0, 1: maxima that are reached more than once)
    dtype : of the result
    order : a memory order for `lay_out`
    stream : another one gives other values for the same seed

    Raises
    ------
    ValueError : for another kind or order.
    """
    rng = np.random.default_rng([seed, stream])
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
    else:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    return lay_out(np.asarray(values).astype(dtype), order)
