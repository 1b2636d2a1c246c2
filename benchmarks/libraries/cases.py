"""Draw shapes, options and a kind of values for an operation of another library.

A `Case` says how to call the operation; a `Build` draws cases. Cases hold no arrays, only integers, so that a failing
one shrinks to the smallest geometry. check_libraries.py makes arrays of the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minires.testing import strategies

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Values = Callable[[np.ndarray], np.ndarray]


def unchanged(x: np.ndarray) -> np.ndarray:
    return x


class Case(NamedTuple):
    """``function(*variables, **options)``, one variable for each shape.

    ``kinds`` are kinds of values for `strategies.array`; ``domain`` moves them to where the function is defined.
    """

    function: Callable[..., Any]
    shapes: tuple[Shape, ...]
    options: Mapping[str, Any] = {}
    kinds: tuple[str, ...] = ("smooth",)
    domain: Values = unchanged

    def __str__(self) -> str:
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return ", ".join([" ".join(map(str, self.shapes)), *options])


Build = Callable[[Draw], Case]


class Operations(dict[str, Build]):
    """A dictionary from an operation's name to the `Build` that draws its cases."""

    def add(self, build: Build) -> Build:
        """Decorator: enter a build under the name of the function."""
        self[build.__name__] = build
        return build


class Window(NamedTuple):
    """A convolution of x (N, C, H, W) with w (K, C, R, S) to y (N, K, P, Q)."""

    x: Shape
    w: Shape
    y: Shape
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def convolution(draw: Draw, dilated: bool = False, whole: bool = False) -> Window:
    """Draw a convolution without groups, which neither library has.

    With ``whole``, the images have such a size that the last step of the window ends at the border.
    """
    case = draw(strategies.conv_cases())
    stride, padding, kernel = case.geometry.stride, case.geometry.padding, case.geometry.kernel
    dilation = case.geometry.dilation if dilated else (1, 1)
    room = [
        n + 2 * pad - (k - 1) * step - 1 for n, pad, k, step in zip(case.x[2:], padding, kernel, dilation, strict=True)
    ]
    size = case.x[2:]
    if whole:  # more pixels, until the last step ends at the border
        size = [n - r + -(-r // s) * s for n, r, s in zip(size, room, stride, strict=True)]
        room = [-(-r // s) * s for r, s in zip(room, stride, strict=True)]
    outputs = (r // s + 1 for r, s in zip(room, stride, strict=True))
    K, (N, C) = case.w[0], case.x[:2]
    return Window((N, C, *size), (K, C, *kernel), (N, K, *outputs), stride, padding, dilation)


def axis_of(draw: Draw, shape: Shape, everything: bool = False) -> int | None:
    """Draw an axis, counted from either end; with ``everything`` also None, for all axes."""
    one = st.integers(-len(shape), len(shape) - 1)
    if not everything:
        return draw(one)
    return draw(st.none() | one if shape else st.none())


def index_of(draw: Draw, shape: Shape) -> Any:
    """Draw an index that NumPy accepts; its integer arrays are int64 or int32."""
    index = draw(strategies.indices(shape))
    dtype = draw(st.sampled_from(["int64", "int32"]))
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(part.astype(dtype) if getattr(part, "dtype", None) == np.int64 else part for part in parts)
    return parts if isinstance(index, tuple) else parts[0]


def elementwise(
    function: Callable[..., Any], kinds: tuple[str, ...] = ("smooth", "near_kinks"), domain: Values = unchanged
) -> Build:
    """Return a build for a function of one variable of any shape, including empty and 0-d ones."""
    return lambda draw: Case(function, (draw(strategies.shapes(max_dims=3, min_side=0)),), {}, kinds, domain)


def binary(function: Callable[..., Any], kinds: tuple[str, ...] = ("smooth",), domain: Values = unchanged) -> Build:
    """Return a build for a function of two variables that broadcast with each other."""
    return lambda draw: Case(function, draw(strategies.broadcast_pairs(max_dims=3)), {}, kinds, domain)


def reduction(function: Callable[..., Any], kinds: tuple[str, ...] = ("smooth",)) -> Build:
    """Return a build for a reduction of one variable over one, several or all axes, with or without keepdims."""

    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(max_dims=3))
        options = {"axis": draw(strategies.axes(len(shape))), "keepdims": draw(st.booleans())}
        return Case(function, (shape,), options, kinds)

    return build


def labels(draw: Draw, batch: int, classes: int) -> np.ndarray:
    """Draw class numbers (batch,), int64."""
    return draw(strategies.labels(batch, classes))


def positive(x: np.ndarray) -> np.ndarray:
    return np.abs(x) + 0.25


def inside(x: np.ndarray) -> np.ndarray:
    """Move values to between −1 and 1."""
    return 0.9 * np.tanh(x)


def outside(x: np.ndarray) -> np.ndarray:
    """Move values to below −1 or above 1."""
    return np.copysign(np.abs(x) + 1.25, x)


def nonzero(x: np.ndarray) -> np.ndarray:
    return np.copysign(np.abs(x) + 0.25, x)


def large(x: np.ndarray) -> np.ndarray:
    """Scale values to the scores of a confident network."""
    return 30 * x
