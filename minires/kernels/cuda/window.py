"""Kernels that compute one element at a time and loop over the windows of a convolution or of pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Size
from minires.geometry import Geometry
from minires.kernels.cuda.raw import element_kernel

# The scalars that such a kernel takes: the window, and the sizes of the image and of the output.
_PARAMETERS = ("R", "S", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "H", "W", "P", "Q")


def window_arguments(geometry: Geometry, image: Size, output: Size) -> list[Any]:
    """Return the last arguments of a `window_kernel`."""
    windows = (*geometry.kernel, *geometry.stride, *geometry.padding, *geometry.dilation)
    return [np.int32(n) for n in (*windows, *image, *output)]


def window_kernel(sources: str, targets: str, code: str, name: str) -> Any:
    """Return an ElementwiseKernel with the parameters R, S, stride_h, … Q after its sources."""
    inputs = ", ".join([sources, *(f"int32 {parameter}" for parameter in _PARAMETERS)])
    return element_kernel(inputs, targets, code, name)


def each_tap(code: str) -> str:
    """Return code that runs ``code`` for each tap (r, s) of output (p, q) and the pixel (h, w) under it."""
    return f"""
    for (int r = 0; r < R; r++) {{
        const int h = p * stride_h + r * dilation_h - pad_h;
        if (h < 0 || h >= H) continue;
        for (int s = 0; s < S; s++) {{
            const int w = q * stride_w + s * dilation_w - pad_w;
            if (w < 0 || w >= W) continue;
            {code}
        }}
    }}
    """


def each_window(code: str) -> str:
    """Return code that runs ``code`` for each output (p, q) whose tap (r, s) is over the pixel (h, w)."""
    return f"""
    for (int r = 0; r < R; r++) {{
        const int down = h + pad_h - r * dilation_h, p = down / stride_h;
        if (down < 0 || down % stride_h || p >= P) continue;
        for (int s = 0; s < S; s++) {{
            const int across = w + pad_w - s * dilation_w, q = across / stride_w;
            if (across < 0 || across % stride_w || q >= Q) continue;
            {code}
        }}
    }}
    """
