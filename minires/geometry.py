"""Window arithmetic: which input pixels belong to which output pixel. Integers only, no arrays.

A window of R × S taps slides over an H × W image. Along one axis, tap r of the output index p reads the input index

    h = p · stride + r · dilation − padding.                                      (1)

A tap with h < 0 or h ≥ H reads padding. Equation (1) is all that convolution and pooling need to know about stride,
padding and dilation. Only this file solves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from minires.errors import ShapeError
from minires.options import integer, several


def pair(value: Any, name: str) -> tuple[int, int]:
    """Return ``value`` as (vertical, horizontal); an integer stands for both.

    Raises
    ------
    ShapeError : if ``value`` is neither an integer nor a pair of integers.
    """
    items = several(value) or (value, value)
    try:
        vertical, horizontal = (integer(item, name) for item in items)
    except ValueError:
        raise ShapeError(f"{name} must be an integer or a pair of integers, got {value!r}") from None
    return vertical, horizontal


class Tap(NamedTuple):
    """The outputs that use one tap, and the inputs that the tap reads for them, as slices of equal length."""

    r: int
    s: int
    rows_out: slice
    cols_out: slice
    rows_in: slice
    cols_in: slice


@dataclass(frozen=True)
class Geometry:
    """The window of a convolution or a pooling.

    Parameters
    ----------
    kernel : (R, S), the taps of the window, each at least 1
    stride : input pixels between two adjacent outputs, each at least 1
    padding : pixels added on each side, each at least 0; zeros for a convolution or a mean, ignored by max pooling
    dilation : input pixels between two adjacent taps, each at least 1
    groups : the number of independent parts into which the channels of a convolution are divided

    Raises
    ------
    ShapeError : if a value is outside these ranges.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            value = pair(getattr(self, name), name)
            if min(value) < least:
                raise ShapeError(f"{name} must be at least {least}, got {value}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "groups", integer(self.groups, "groups", 1))

    @property
    def extent(self) -> tuple[int, int]:
        """The rows and columns from the first tap to the last, both included."""
        (R, S), (dh, dw) = self.kernel, self.dilation
        return (R - 1) * dh + 1, (S - 1) * dw + 1

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the output size (P, Q) for an input of size (H, W).

        Raises
        ------
        ShapeError : if the window is larger than the padded input.
        """
        padded = tuple(n + 2 * pad for n, pad in zip(size, self.padding, strict=True))
        if any(n < extent for n, extent in zip(padded, self.extent, strict=True)):
            raise ShapeError(
                f"a window of {self.kernel} (dilation {self.dilation}, so {self.extent} pixels) does not fit "
                f"an input of {tuple(size)} with padding {self.padding}: use a smaller kernel or more padding"
            )
        P, Q = ((n - e) // st + 1 for n, e, st in zip(padded, self.extent, self.stride, strict=True))
        return P, Q

    def taps(self, size: tuple[int, int]) -> Iterator[Tap]:
        """Yield every tap of the window, row by row, with the outputs that use it and the inputs that it reads.

        The outputs are the solution of equation (1) for the range of p with 0 ≤ h < H. For all other outputs the tap
        reads padding. A tap that reads only padding is left out.
        """
        P, Q = self.output_size(size)
        for r in range(self.kernel[0]):
            rows = self._meet(0, r, P, size[0])
            for s in range(self.kernel[1]):
                cols = self._meet(1, s, Q, size[1])
                if rows and cols:
                    yield Tap(r, s, rows[0], cols[0], rows[1], cols[1])

    def tap_index(self, tap: Any) -> int:
        """Return the index of a tap in the window, counted row by row."""
        return int(tap.r * self.kernel[1] + tap.s)

    def _meet(self, axis: int, tap: int, outputs: int, inputs: int) -> tuple[slice, slice] | None:
        stride, offset = self.stride[axis], tap * self.dilation[axis] - self.padding[axis]
        first = max(0, -(offset // stride))  # smallest p with p·stride + offset ≥ 0
        last = min(outputs - 1, (inputs - 1 - offset) // stride)  # largest p with h ≤ inputs − 1
        if last < first:
            return None
        start, stop = first * stride + offset, last * stride + offset + 1
        return slice(first, last + 1), slice(start, stop, stride)

    def check_conv(self, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Return the output shape (N, K, P, Q) of a convolution of x (N, C, H, W) with w (K, C / groups, R, S).

        Raises
        ------
        ShapeError : if the shapes do not agree with each other or with this geometry.
        """
        if len(x) != 4:
            raise ShapeError(f"conv2d expects an input of shape (N, C, H, W), got {tuple(x)}")
        if len(w) != 4:
            raise ShapeError(f"conv2d expects weights of shape (K, C / groups, R, S), got {tuple(w)}")
        if tuple(w[2:]) != self.kernel:
            raise ShapeError(f"weights of shape {tuple(w)} do not have the geometry's kernel {self.kernel}")
        if x[1] % self.groups or w[0] % self.groups:
            raise ShapeError(f"groups={self.groups} must divide the channels in ({x[1]}) and out ({w[0]})")
        if w[1] * self.groups != x[1]:
            raise ShapeError(
                f"an input of shape {tuple(x)} has {x[1]} channels, but weights of shape {tuple(w)} with "
                f"groups={self.groups} expect {w[1] * self.groups}"
            )
        return (x[0], w[0], *self.output_size((x[2], x[3])))

    def check_conv_grad(self, gy: tuple[int, ...], x: tuple[int, ...], w: tuple[int, ...]) -> None:
        """Check that gy has the shape of the output of a convolution of x with w.

        Raises
        ------
        ShapeError : if gy has another shape, or x and w do not agree.
        """
        expected = self.check_conv(x, w)
        if tuple(gy) != expected:
            raise ShapeError(f"the gradient of the output has shape {tuple(gy)}, but the output has {expected}")

    def check_pool(self, x: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Return the output shape (N, C, P, Q) of pooling x (N, C, H, W).

        Raises
        ------
        ShapeError : if x does not have four axes, its images have no pixels, the padding is as large as the window,
            the window is dilated or it does not fit into the padded image.
        """
        if len(x) != 4:
            raise ShapeError(f"pooling expects an input of shape (N, C, H, W), got {tuple(x)}")
        if 0 in x[2:]:
            raise ShapeError(f"pooling needs images with pixels, got shape {tuple(x)}")
        if self.dilation != (1, 1):
            raise ShapeError(f"pooling windows have no dilation, got {self.dilation}")
        if any(pad >= n for pad, n in zip(self.padding, self.extent, strict=True)):
            raise ShapeError(f"padding {self.padding} must be smaller than the window {self.extent}")
        return (x[0], x[1], *self.output_size((x[2], x[3])))


class Window(NamedTuple):
    """One window of an adaptive pooling: its indices (p, q) in the grid, and the rows and columns that it covers."""

    p: int
    q: int
    rows: slice
    cols: slice

    @property
    def pixels(self) -> int:
        """The number of pixels that the window covers."""
        return (self.rows.stop - self.rows.start) * (self.cols.stop - self.cols.start)


def adaptive_windows(grid: Any, size: tuple[int, int]) -> list[Window]:
    """Return the windows of a P × Q grid over an H × W image, row by row.

    Window p covers the rows  ⌊p·H / P⌋ ≤ h < ⌈(p + 1)·H / P⌉.  The same holds for q, columns, Q and W. Where P does
    not divide H, adjacent windows may share a row.

    Raises
    ------
    ShapeError : if the grid is not two integers, or one of P, Q, H and W is not positive.
    """
    P, Q = pair(grid, "the grid")
    if min(P, Q, *size) < 1:
        raise ShapeError(f"a grid of {(P, Q)} windows over an image of {tuple(size)}: all must be at least 1")
    rows, cols = (
        [slice(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        for count, n in zip((P, Q), size, strict=True)
    )
    return [Window(p, q, r, c) for p, r in enumerate(rows) for q, c in enumerate(cols)]
