"""Choose the algorithm of a convolution from its shapes, once, and remember the choice.

    >>> plan(Geometry((3, 3), padding=(1, 1)), (16, 64, 56, 56), (64, 64, 3, 3), np.float32)
    winograd: 3×3 with stride 1 in float32, 1.85 G multiplications by the definition

All algorithms compute the same function; conv.py lists their files. `minires profile` prints the plan of every layer of
a network beside the time that it takes.
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
    """The algorithm of a convolution and its two gradients.

    Attributes
    ----------
    module : the file that computes them
    multiplications : how many the definition takes for the output; each gradient takes as many again
    """

    module: ModuleType
    multiplications: int

    @property
    def name(self) -> str:
        """The algorithm in one word."""
        return self.module.__name__.rpartition("conv_")[2]

    def __repr__(self) -> str:
        return f"{self.name}: {self.module.SUITS}, {self.multiplications / 1e9:.3g} G multiplications by the definition"


_unwanted: set[ModuleType] = set()


def set_winograd(enabled: bool) -> None:
    """Choose whether 3×3 convolutions with stride 1 in float32 may use Winograd's algorithm; at first they may.

    Winograd's algorithm is faster and rounds about six times as much as a plain sum of products: up to 1.7e-5 of the
    largest value of a result, against 3e-6. An infinity or NaN in an image reaches all outputs of the 4×4 tiles whose
    windows contain it. Sums overflow some decades earlier, and small values beside values a million times as large
    lose their digits. The choice holds for the whole process, for all that is computed from now on, backward passes
    included.

    Raises
    ------
    TypeError : if ``enabled`` is not a bool.
    """
    if not isinstance(enabled, bool | np.bool_):
        raise TypeError(f"set_winograd takes True or False, got {enabled!r}")
    _unwanted.discard(conv_winograd) if enabled else _unwanted.add(conv_winograd)
    plan.cache_clear()


@functools.lru_cache(maxsize=4096)
def plan(geometry: Geometry, x: Shape, w: Shape, dtype: Any) -> Plan:
    """Return the plan for images of logical shape x (N, C, H, W) and filters of w (K, C / groups, R, S)."""
    shape = geometry.check_conv(x, w)
    work = math.prod(shape) * math.prod(w[1:])
    for module in (conv_pointwise, conv_winograd, conv_depthwise, conv_strips):
        if module not in _unwanted and module.suits(x, w, geometry, np.dtype(dtype)):
            return Plan(module, work)
    return Plan(conv_general, work)
