"""Convolution, the linear layer, and the matrix product."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from minires import functional as F
from minires.geometry import Geometry
from minires.testing import strategies
from minires.testing.catalogue.entry import Case, Entry, Kinds, Shape


def _conv2d(draw: st.DrawFn) -> Case:
    case = draw(strategies.conv_cases(max_batch=2, max_channels=2))
    g = case.geometry
    return _convolution(draw, case.x, case.w, g.stride, g.padding, g.dilation, g.groups)


def _conv2d_of_many_channels(draw: st.DrawFn) -> Case:
    """Draw 3×3 filters with stride 1, and enough channels and pixels for the fast kernels' transforms."""
    C, K = draw(st.integers(9, 10)), draw(st.integers(7, 9))
    H, W = draw(st.integers(7, 10)), draw(st.integers(10, 13))
    padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    x = (draw(st.integers(1, 2)), C, H, W)
    return _convolution(draw, x, (K, C, 3, 3), (1, 1), padding, (1, 1), 1, own_formula=True)


def _convolution(draw: st.DrawFn, x: Shape, w: Shape, *geometry: Any, own_formula: bool = False) -> Case:
    shapes = (x, w, (w[0],)) if draw(st.booleans()) else (x, w)

    def conv2d(x: Any, w: Any, b: Any = None) -> Any:
        return F.conv2d(x, w, b, *geometry)

    names = "x0, x1, x2" if len(shapes) == 3 else "x0, x1, None"
    return Case(
        conv2d,
        shapes,
        "conv2d({}, stride={}, padding={}, dilation={}, groups={})".format(names, *geometry),
        exact="integers",
        own_formula=own_formula,
    )


def _conv2d_act(draw: st.DrawFn) -> Case:
    many = draw(st.booleans())
    case = draw(strategies.conv_cases(max_batch=2, max_channels=2))
    if many:  # enough for the fast kernels' transforms
        geometry = Geometry((3, 3), padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))))
        case = strategies.ConvCase((1, 9, 7, draw(st.integers(10, 13))), (7, 9, 3, 3), geometry)
    relu, names = draw(st.booleans()), draw(st.lists(st.sampled_from(("scale", "shortcut")), unique=True))
    g, y = case.geometry, case.geometry.check_conv(case.x, case.w)
    window = g.stride, g.padding, g.dilation, g.groups

    def act(x: Any, w: Any, b: Any, *others: Any) -> Any:
        named = dict(zip(names, others, strict=True))
        return F.conv2d_act(x, w, b, *window, **named, relu=relu)

    shapes = {"scale": case.w[:1], "shortcut": y}
    kinds: Kinds | None = None
    # x · w · scale is cubic; and with steps that avoid corners, long sums need too many digits for float32.
    if "scale" not in names and not (many and relu):
        small = "tied" if many else "integers"  # sums of many products need small integers
        kinds = small, small, "odd quarters", *[small] * len(names)  # odd quarters keep off ReLU's corner
    return Case(
        act,
        (case.x, case.w, case.w[:1], *(shapes[name] for name in names)),
        "conv2d_act(x0, x1, x2, stride={}, padding={}, dilation={}, groups={}, ".format(*window)
        + "".join(f"{name}=x{number}, " for number, name in enumerate(names, 3))
        + f"relu={relu})",
        exact=kinds,
        own_formula=many,
    )


def _linear(draw: st.DrawFn) -> Case:
    C, K = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    batch = draw(strategies.shapes(max_dims=3, min_side=0, max_side=3))
    if draw(st.booleans()):
        return Case(F.linear, ((*batch, C), (K, C), (K,)), "linear(x0, x1, x2)", exact="integers")
    return Case(F.linear, ((*batch, C), (K, C)), "linear(x0, x1)", exact="integers")


def _matmul(draw: st.DrawFn) -> Case:
    rows, inner, columns = (draw(st.integers(1, 4)) for _ in range(3))
    first, second = draw(strategies.broadcast_pairs(max_dims=2, max_side=3))
    a: Shape = (inner,) if not first and draw(st.booleans()) else (*first, rows, inner)
    b: Shape = (inner,) if not second and draw(st.booleans()) else (*second, inner, columns)
    return Case(lambda x, y: x @ y, (a, b), "x0 @ x1", exact="integers")


ENTRIES = (
    Entry("conv2d", _conv2d),
    Entry("conv2d, many channels", _conv2d_of_many_channels),
    Entry("conv2d_act", _conv2d_act),
    Entry("linear", _linear),
    Entry("matmul", _matmul),
)
