"""The pooling layers. Names, shapes and defaults are PyTorch's."""

from __future__ import annotations

from typing import Any

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.errors import ShapeError
from minires.geometry import Geometry, pair
from minires.nn.module import Module
from minires.nn.parameter import input_of
from minires.options import several


class _Pool2d(Module):
    """A module that keeps a pooling window.

    Parameters
    ----------
    kernel_size, stride, padding : an integer, or a pair (vertical, horizontal); the stride is the window's size by
        default

    Raises
    ------
    ShapeError : if a size or stride is not positive, or a padding negative.
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = _plain(kernel_size, "kernel_size"), _plain(padding, "padding")
        self.stride = self.kernel_size if stride is None else _plain(stride, "stride")
        Geometry(self.kernel_size, self.stride, self.padding)  # to hear of an impossible one here

    def extra_repr(self) -> str:
        """The window."""
        sizes = {name: getattr(self, name) for name in ("kernel_size", "stride", "padding")}
        return ", ".join(f"{name}={tuple(several(size) or ()) or size}" for name, size in sizes.items())


class MaxPool2d(_Pool2d):
    """The largest value of each window; see `functional.max_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, P, Q)."""
        return F.max_pool2d(input_of(self, x), self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool2d):
    """The mean of each window; see `functional.avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, P, Q)."""
        return F.avg_pool2d(input_of(self, x), self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Means over a grid of windows; see `functional.adaptive_avg_pool2d`.

    Raises
    ------
    ShapeError : if the output size is not positive.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        own = [n is None for n in several(output_size) or ()]
        given = _plain([1 if n is None else n for n in output_size] if any(own) else output_size, "output_size")
        if min(pair(given, "output_size")) < 1:
            raise ShapeError(f"output_size must be at least 1, got {output_size!r}")
        self.output_size = tuple(None if o else n for o, n in zip(own, given, strict=True)) if any(own) else given

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, *output_size)."""
        return F.adaptive_avg_pool2d(input_of(self, x), self.output_size)

    def extra_repr(self) -> str:
        """The grid."""
        return f"output_size={self.output_size}"


def _plain(size: Any, name: str) -> Any:
    """An integer, or a pair, of Python's numbers, whichever it is."""
    vertical, horizontal = pair(size, name)
    return vertical if several(size) is None else (vertical, horizontal)
