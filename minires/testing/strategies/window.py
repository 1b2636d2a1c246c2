"""Strategies of the windows of convolution and pooling, with images that they fit."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from minires.geometry import Geometry


class ConvCase(NamedTuple):
    """The shapes of a convolution: x (N, C, H, W), w (K, C / groups, R, S), and its geometry."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    geometry: Geometry


class PoolCase(NamedTuple):
    """The shape of a pooling's input (N, C, H, W) and its window."""

    x: tuple[int, int, int, int]
    geometry: Geometry


class AdaptiveCase(NamedTuple):
    """The shape of an adaptive pooling's input (N, C, H, W) and its grid of windows."""

    x: tuple[int, int, int, int]
    grid: tuple[int, int]


def conv_cases(
    max_batch: int = 3, max_channels: int = 3, max_kernel: int = 3, min_batch: int = 1
) -> st.SearchStrategy[ConvCase]:
    """Return a strategy of every legal combination of kernel, stride, padding, dilation, groups and image.

    Kernels and images may be rectangular. Stride and padding go up to one more than the largest kernel, so both may
    exceed the kernel; dilation and groups go up to 3. Images go from the smallest that fits to five pixels more. With
    padding they may be smaller than the kernel, and their size may leave pixels after the last step.
    ``max_channels`` limits the channels of one group. The batch is empty only with ``min_batch=0``.
    """
    return _conv_case(min_batch, max_batch, max_channels, max_kernel)


def _draw_conv_case(draw: st.DrawFn, min_batch: int, max_batch: int, max_channels: int, max_kernel: int) -> ConvCase:
    side = st.integers(1, max_kernel)
    kernel = draw(side), draw(side)
    stride = draw(st.integers(1, max_kernel + 1)), draw(st.integers(1, max_kernel + 1))
    padding = draw(st.integers(0, max_kernel + 1)), draw(st.integers(0, max_kernel + 1))
    dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    geometry = Geometry(kernel, stride, padding, dilation, groups)
    size = _sizes(draw, geometry)
    channels = st.integers(1, max_channels)
    C, K = draw(channels), draw(channels)
    x = (draw(st.integers(min_batch, max_batch)), C * groups, *size)
    return ConvCase(x, (K * groups, C, *kernel), geometry)


def pool_cases(
    max_batch: int = 2, max_channels: int = 3, max_kernel: int = 3, min_batch: int = 1
) -> st.SearchStrategy[PoolCase]:
    """Return a strategy of every legal pooling window.

    Padding is smaller than the window; windows overlap, meet or leave gaps.

    The batch is empty only with ``min_batch=0``.
    """
    return _pool_case(min_batch, max_batch, max_channels, max_kernel)


def _draw_pool_case(draw: st.DrawFn, min_batch: int, max_batch: int, max_channels: int, max_kernel: int) -> PoolCase:
    kernel = draw(st.integers(1, max_kernel)), draw(st.integers(1, max_kernel))
    stride = draw(st.integers(1, max_kernel + 1)), draw(st.integers(1, max_kernel + 1))
    padding = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))
    geometry = Geometry(kernel, stride, padding)
    size = _sizes(draw, geometry)
    return PoolCase((draw(st.integers(min_batch, max_batch)), draw(st.integers(1, max_channels)), *size), geometry)


def adaptive_cases(
    max_batch: int = 2, max_channels: int = 3, max_grid: int = 4, max_side: int = 6, min_batch: int = 1
) -> st.SearchStrategy[AdaptiveCase]:
    """Return a strategy of grids of windows over images.

    Windows meet or share a row, and there may be more windows than pixels.
    """
    return _adaptive_case(min_batch, max_batch, max_channels, max_grid, max_side)


def _draw_adaptive_case(
    draw: st.DrawFn, min_batch: int, max_batch: int, max_channels: int, max_grid: int, max_side: int
) -> AdaptiveCase:
    grid = draw(st.integers(1, max_grid)), draw(st.integers(1, max_grid))
    size = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    return AdaptiveCase((draw(st.integers(min_batch, max_batch)), draw(st.integers(1, max_channels)), *size), grid)


def _sizes(draw: st.DrawFn, geometry: Geometry) -> tuple[int, int]:
    """Draw the size of an image: at least as large as the window needs, up to five pixels larger."""
    least = [max(1, extent - 2 * pad) for extent, pad in zip(geometry.extent, geometry.padding, strict=True)]
    return least[0] + draw(st.integers(0, 5)), least[1] + draw(st.integers(0, 5))


# Made once: Hypothesis reads the source of a function that it makes a strategy of, which takes a millisecond.
_conv_case = st.composite(_draw_conv_case)
_pool_case = st.composite(_draw_pool_case)
_adaptive_case = st.composite(_draw_adaptive_case)
