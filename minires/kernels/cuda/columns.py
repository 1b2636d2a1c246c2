"""Columns of images, with which a convolution is one matrix product, and the sum of columns back into an image.

The inputs of each output are written side by side, one column for each output:

    columns[(g, r, s, c), (n, p, q)] = x[n, g·C + c, h, w], the pixel that the tap (r, s) joins with (p, q), or 0    (1)
    gx[n, c, h, w] = Σ of gcolumns over the (r, s) and (p, q) that are joined with (h, w)                            (2)

(2) is gathered, one thread for each pixel, so no two threads add to the same element and results do not vary. For 1×1
filters with stride 1, the columns are the image. Columns are made for as many images at once as fit in `_COLUMNS`, at
least one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minires.device import Array, Size, xp_of
from minires.geometry import Geometry
from minires.kernels.cuda.layout import cnhw
from minires.kernels.cuda.window import each_window, window_arguments, window_kernel

_COLUMNS = 256 << 20  # bytes of columns at once
_FEW = 64  # taps up to which a pixel's gradient is summed in the dtype of the products


def columns_of(x: Array, geometry: Geometry, size: Size) -> Iterator[tuple[slice, Array]]:
    """Yield parts of the images of x (N, C, H, W), and their columns (G, R·S·C, n·P·Q) by (1); ``size`` is (P, Q)."""
    image = cnhw(x)
    C, N = image.shape[:2]
    rows, pixels = C * math.prod(geometry.kernel), math.prod(size)
    for images in parts(N, rows * pixels * image.itemsize):
        count = images.stop - images.start
        if is_pointwise(geometry):
            columns = part_of(image, images, copy=True)
        else:
            columns = xp_of(image).empty((rows, count * pixels), image.dtype)
            _spread(_index_type(columns.size))(image, *_arguments(geometry, image.shape, size, images), columns)
        yield images, columns.reshape(geometry.groups, -1, count * pixels)


def add_back(columns: Array, geometry: Geometry, size: Size, images: slice, gx: Array) -> None:
    """Set some images of gx (C, N, H, W) to (2), from their columns (G·R·S·C, n, P, Q); ``size`` is (P, Q)."""
    pixels = gx.size // gx.shape[1] * (images.stop - images.start)
    taps = geometry.kernel[0] * geometry.kernel[1]
    _gather(_index_type(pixels), "Wide" if taps <= _FEW else "double")(
        columns, *_arguments(geometry, gx.shape, size, images), gx, size=pixels
    )


def parts(N: int, per_image: int) -> list[slice]:
    """Cut the images into parts whose columns fit in `_COLUMNS`."""
    count = max(1, min(N, _COLUMNS // max(1, per_image)))
    return [slice(start, min(start + count, N)) for start in range(0, N, count)]


def part_of(array: Array, images: slice, copy: bool = False) -> Array:
    """Return some of the images of (C, N, H, W): the array itself for all, otherwise a new one, filled if ``copy``."""
    if images == slice(0, array.shape[1]):
        return array
    xp, part = xp_of(array), array[:, images]
    compact: Array = xp.ascontiguousarray(part) if copy else xp.empty(part.shape, part.dtype)
    return compact


def is_pointwise(geometry: Geometry) -> bool:
    """Return whether the columns are the image."""
    return geometry.kernel == geometry.stride == (1, 1) and geometry.padding == (0, 0)


# --- Kernels -------------------------------------------------------------------------------------------------

# Parameters beside the window: channels of a group, images in all, the first image and how many.
_SIZES = "int32 C, int32 N, int32 first, int32 n"


def _arguments(geometry: Geometry, image: tuple[int, ...], size: Size, images: slice) -> list[Any]:
    """Return the arguments for `_SIZES` and for the window, for an image (C, N, H, W)."""
    C, N, H, W = image
    sizes = C // geometry.groups, N, images.start, images.stop - images.start
    return [*map(np.int32, sizes), *window_arguments(geometry, (H, W), size)]


def _index_type(count: int) -> str:
    """Return the type of an index below ``count``: division of the longer type takes several times as long."""
    return "int" if count < 2**31 else "long long"


def _unravel(index_type: str, **sizes: str) -> str:
    """Return code that splits the index i into ``sizes``, the fastest first, and leaves the rest in ``rest``."""
    parts = (f"const int {name} = rest % {size}; rest /= {size};" for name, size in sizes.items())
    return "\n".join([f"{index_type} rest = i;", *parts])


@functools.cache
def _spread(index_type: str) -> Any:
    """Return a kernel for the columns of x (C, N, H, W)."""
    return window_kernel(
        f"raw T x, {_SIZES}",
        "T column",
        _unravel(index_type, q="Q", p="P", image="n", c="C", s="S", r="R")  # the group is left
        + """
        const int h = p * stride_h + r * dilation_h - pad_h, w = q * stride_w + s * dilation_w - pad_w;
        const bool inside = h >= 0 && h < H && w >= 0 && w < W;
        column = inside ? x[((ptrdiff_t)(rest * C + c) * N + first + image) * H * W + h * W + w] : T(0);
        """,
        "minires_spread",
    )


@functools.cache
def _gather(index_type: str, sums: str) -> Any:
    """Return a kernel for (2), for each pixel of gx (C, N, H, W), with sums of a type."""
    return window_kernel(
        f"raw U columns, {_SIZES}",
        "raw T gx",
        _unravel(index_type, w="W", h="H", image="n", c="C")
        + f"""
        const int g = rest;
        {sums} sum = 0;
        """
        + each_window("sum += columns[((ptrdiff_t)(((g * R + r) * S + s) * C + c) * n + image) * P * Q + p * Q + q];")
        + """
        gx[((ptrdiff_t)(g * C + c) * N + first + image) * H * W + h * W + w] = sum;
        """,
        "minires_gather",
    )
