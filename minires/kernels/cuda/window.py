"""Kernels that compute an element at a time and look through the windows of a convolution or of pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.device import Size
from minires.geometry import Geometry
from minires.kernels.cuda.raw import element_kernel

# The numbers that such a kernel is given: the window, and the sizes of the image and of the output.
_NAMES = ("R", "S", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "H", "W", "P", "Q")


def window_numbers(geometry: Geometry, image: Size, output: Size) -> list[Any]:
    """The last arguments of a `window_kernel`."""
    windows = (*geometry.kernel, *geometry.stride, *geometry.padding, *geometry.dilation)
    return [np.int32(n) for n in (*windows, *image, *output)]


def window_kernel(sources: str, targets: str, code: str, name: str) -> Any:
    """An ElementwiseKernel that knows its window by the names R, S, stride_h, … Q."""
    inputs = ", ".join([sources, *(f"int32 {number}" for number in _NAMES)])
    return element_kernel(inputs, targets, code, name)
