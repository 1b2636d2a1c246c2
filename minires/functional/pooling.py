"""Max, average and adaptive average pooling."""

from __future__ import annotations

from typing import Any

from minires.autograd.tensor import Tensor
from minires.device import Array, Size
from minires.errors import ShapeError
from minires.functional.kernel_op import KernelOp
from minires.geometry import Geometry, pair
from minires.options import several


class _MaxPool(KernelOp):
    """The base of the three operations of max pooling.

    Attributes
    ----------
    constants : the index of each window's maximum (the winners), the geometry, and the size (H, W) of the input
    """

    constants: tuple[Array, Geometry, Size]

    def branches(self) -> tuple[Any, ...]:
        """Return the winners."""
        return (self.constants[0],)


class MaxPool2d(_MaxPool):
    """y = the largest value of each window."""

    hands_over = True

    def forward(self, x: Array, *, geometry: Geometry) -> Any:
        """Compute y (N, C, P, Q)."""
        if not any(self.needs_grad):
            return self.kernels.max_pool2d(x, geometry)
        y, winners = self.kernels.max_pool2d_winners(x, geometry)
        self.save_constant(winners, geometry, x.shape[2:])
        return y

    def backward(self, gy: Tensor) -> Any:
        """Give gy to the winners."""
        return MaxPool2dGrad.apply(gy, constants=self.constants)


class MaxPool2dGrad(_MaxPool):
    """gx = gy at the winners, 0 elsewhere. The winners are functions of x, and constant between its kinks."""

    def forward(self, gy: Array, *, constants: tuple[Array, Geometry, Size]) -> Any:
        """Compute gx (N, C, H, W)."""
        self.save_constant(*constants)
        return self.kernels.max_pool2d_grad(gy, *constants)

    def backward(self, ggx: Tensor) -> Any:
        """Read ggx at the winners."""
        return MaxPool2dGather.apply(ggx, constants=self.constants)


class MaxPool2dGather(_MaxPool):
    """y = v at the winners."""

    def forward(self, v: Array, *, constants: tuple[Array, Geometry, Size]) -> Any:
        """Compute (N, C, P, Q)."""
        self.save_constant(*constants)
        winners, geometry, _ = constants
        return self.kernels.max_pool2d_gather(v, winners, geometry)

    def backward(self, gy: Tensor) -> Any:
        """Give gy to the winners."""
        return MaxPool2dGrad.apply(gy, constants=self.constants)


class AvgPool2d(KernelOp):
    """y = the mean of each window."""

    hands_over = True

    def forward(self, x: Array, *, geometry: Geometry) -> Any:
        """Compute y (N, C, P, Q)."""
        self.save_constant(geometry, x.shape[2:])
        return self.kernels.avg_pool2d(x, geometry)

    def backward(self, gy: Tensor) -> Any:
        """Give each element of a window an equal share of gy."""
        geometry, size = self.constants
        return AvgPool2dGrad.apply(gy, geometry=geometry, size=size)


class AvgPool2dGrad(KernelOp):
    """gx = the gradient of `AvgPool2d`; each is the adjoint of the other."""

    def forward(self, gy: Array, *, geometry: Geometry, size: Size) -> Any:
        """Compute gx (N, C, H, W)."""
        self.save_constant(geometry)
        return self.kernels.avg_pool2d_grad(gy, geometry, size)

    def backward(self, ggx: Tensor) -> Any:
        """Take the means."""
        return AvgPool2d.apply(ggx, geometry=self.constants[0])


class AdaptiveAvgPool2d(KernelOp):
    """y = the means over a grid of windows that cover the image."""

    hands_over = True

    def forward(self, x: Array, *, grid: Size) -> Any:
        """Compute y (N, C, P, Q)."""
        self.save_constant(grid, x.shape[2:])
        return self.kernels.adaptive_avg_pool2d(x, grid)

    def backward(self, gy: Tensor) -> Any:
        """Give each element of a window an equal share of gy."""
        grid, size = self.constants
        return AdaptiveAvgPool2dGrad.apply(gy, grid=grid, size=size)


class AdaptiveAvgPool2dGrad(KernelOp):
    """gx = the gradient of `AdaptiveAvgPool2d`; each is the adjoint of the other."""

    def forward(self, gy: Array, *, grid: Size, size: Size) -> Any:
        """Compute gx (N, C, H, W)."""
        self.save_constant(grid)
        return self.kernels.adaptive_avg_pool2d_grad(gy, size)

    def backward(self, ggx: Tensor) -> Any:
        """Take the means."""
        return AdaptiveAvgPool2d.apply(ggx, grid=self.constants[0])


def max_pool2d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Return the largest value of each window; ``stride`` is the window's size by default.

    Parameters
    ----------
    x : (N, C, H, W)
    kernel_size, stride, padding : an integer, or a pair (vertical, horizontal)

    Returns
    -------
    y : (N, C, P, Q)

    Raises
    ------
    ShapeError : if the window does not fit, or the padding is as large as the window.
    """
    return MaxPool2d.apply(x, geometry=_window(kernel_size, stride, padding))


def avg_pool2d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Return the mean of each window, with zeros as padding; see `max_pool2d` for arguments and errors."""
    return AvgPool2d.apply(x, geometry=_window(kernel_size, stride, padding))


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """Return the means over a grid of windows that cover the image, for images of any size.

    Of P windows over H rows, window p holds the rows from ⌊p·H / P⌋ to ⌈(p + 1)·H / P⌉, the last excluded.

    Parameters
    ----------
    x : (N, C, H, W)
    output_size : an integer or a pair, in which None stands for the image's size; 1 gives the mean of each channel

    Returns
    -------
    y : (N, C, *output_size)

    Raises
    ------
    ShapeError : if x does not have four axes, or the output size is not positive.
    """
    if x.ndim != 4:
        raise ShapeError(f"adaptive_avg_pool2d expects an input of shape (N, C, H, W), got {x.shape}")
    if (grid := several(output_size)) and len(grid) == 2:
        output_size = [n if wanted is None else wanted for n, wanted in zip(x.shape[2:], grid, strict=True)]
    return AdaptiveAvgPool2d.apply(x, grid=pair(output_size, "output_size"))


def _window(kernel_size: Any, stride: Any, padding: Any) -> Geometry:
    return Geometry(kernel_size, kernel_size if stride is None else stride, padding)
