"""Which way a convolution takes: decided once from its shapes, and remembered.

    >>> plan(Geometry((3, 3), padding=(1, 1)), (16, 64, 56, 56), (64, 64, 3, 3), np.float32)
    winograd: 3×3 with stride 1 in float32, 1.85 G multiplications by the definition

All ways compute the same function; conv.py says which file is which. `minires profile` prints the plan of every
layer of a network beside the time that it takes.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minires.geometry import Geometry
from minires.kernels.fast import conv_depthwise, conv_general, conv_pointwise, conv_strips, conv_winograd

Shape = tuple[int, ...]


class Plan(NamedTuple):
    """The way a convolution and its two gradients take.

    Attributes
    ----------
    module : the file that computes them
    multiplications : what the definition takes, for the output; either gradient takes as many again
    """

    module: ModuleType
    multiplications: int

    @property
    def name(self) -> str:
        """The way in one word."""
        return self.module.__name__.rpartition("conv_")[2]

    def __repr__(self) -> str:
        return f"{self.name}: {self.module.SUITS}, {self.multiplications / 1e9:.3g} G multiplications by the definition"


@functools.lru_cache(maxsize=4096)
def plan(geometry: Geometry, x: Shape, w: Shape, dtype: Any) -> Plan:
    """The way for images of logical shape x (N, C, H, W) and filters w (K, C / groups, R, S), which fit together."""
    shape = geometry.check_conv(x, w)
    work = math.prod(shape) * math.prod(w[1:])
    for module in (conv_pointwise, conv_strips, conv_winograd, conv_depthwise):
        if module.suits(x, w, geometry, np.dtype(dtype)):
            return Plan(module, work)
    return Plan(conv_general, work)
