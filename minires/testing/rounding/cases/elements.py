"""Cases of the kernels that work element by element, reduce, and move elements about."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from minires.device import Array
from minires.testing import strategies
from minires.testing.rounding.cases.case import Cases, KernelCase, Shape, Values

_SHAPES = strategies.shapes(max_dims=4, max_side=4)
_FULL = strategies.shapes(min_dims=1, max_dims=4, max_side=4)
_NUMBERS = st.sampled_from([2.0, -0.5, 0.1, 3])


def _unary(*kinds: str) -> Cases:
    return lambda draw: KernelCase((Values(draw)(draw(_SHAPES), *kinds),))


def _operands(draw: st.DrawFn, left: tuple[str, ...], right: tuple[str, ...]) -> tuple[Any, Any]:
    """Two arrays that broadcast, or an array and a number."""
    values, shapes = Values(draw), draw(strategies.broadcast_pairs(max_dims=3))
    a, b = values(shapes[0], *left), values(shapes[1], *right)
    number = draw(_NUMBERS)
    pair: tuple[Any, Any] = draw(st.sampled_from([(a, b), (a, number), (number, b)]))
    return pair


def _binary(*kinds: str) -> Cases:
    return lambda draw: KernelCase(_operands(draw, kinds, kinds))


def _add_in_place(draw: st.DrawFn) -> KernelCase:
    values, shape = Values(draw), draw(strategies.shapes(max_dims=3))
    return KernelCase((values(shape), values(shape)), (0,))


def _blend(draw: st.DrawFn) -> KernelCase:
    values, shape, numbers = Values(draw), draw(strategies.shapes(max_dims=3)), st.sampled_from([0.1, 0.25, 0.9, 1.0])
    return KernelCase((values(shape), values(shape), draw(numbers), draw(numbers)), (0,))


def _divide(draw: st.DrawFn) -> KernelCase:
    return KernelCase(_operands(draw, ("smooth", "positive"), ("positive",)))


def _power(draw: st.DrawFn) -> KernelCase:
    values, shapes = Values(draw), draw(strategies.broadcast_pairs(max_dims=3))
    a = values(shapes[0], "positive")
    return KernelCase((a, draw(st.sampled_from([values(shapes[1], "smooth", "integers"), 2, 3.0, 0.5, -1.5]))))


def _clip(draw: st.DrawFn) -> KernelCase:
    low, high = draw(st.sampled_from([(-0.5, 0.5), (None, 0.1), (0.0, None), (None, None)]))
    return KernelCase((Values(draw)(draw(_SHAPES), "smooth", "near_kinks", "tied"), low, high))


def _where(draw: st.DrawFn) -> KernelCase:
    values, shapes = Values(draw), draw(strategies.broadcast_pairs(max_dims=3))
    condition = strategies.mask(shapes[0], values.seed)
    return KernelCase((condition, values(shapes[1]), draw(st.sampled_from([values(shapes[0]), 0.1]))))


def _relu_grad(draw: st.DrawFn) -> KernelCase:
    values, shape = Values(draw), draw(_SHAPES)
    return KernelCase((values(shape), values(shape, "smooth", "near_kinks", "tied")))


def _dropout(draw: st.DrawFn) -> KernelCase:
    values, shape = Values(draw), draw(_SHAPES)
    return KernelCase((values(shape), strategies.mask(shape, values.seed), draw(st.sampled_from([0.1, 0.5, 0.0, 1.0]))))


def _reduction(*kinds: str, more: tuple[Any, ...] = (), several: bool = True) -> Cases:
    def draw_case(draw: st.DrawFn) -> KernelCase:
        shape = draw(_FULL)
        one = st.none() | st.integers(-len(shape), len(shape) - 1)
        axis = draw(strategies.axes(len(shape)) if several else one)
        return KernelCase((Values(draw)(shape, *kinds), axis, draw(st.booleans()), *more))

    return draw_case


def _share(draw: st.DrawFn) -> KernelCase:
    shape = draw(_FULL)
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    return KernelCase((Values(draw)(shape, "smooth", "tied", "near_ties"), axis))


def _softmax(draw: st.DrawFn) -> KernelCase:
    shape = draw(_FULL)
    return KernelCase((Values(draw)(shape, "smooth", "integers"), draw(st.integers(-len(shape), len(shape) - 1))))


def _sum_to(draw: st.DrawFn) -> KernelCase:
    shape = draw(_SHAPES)
    target = tuple(1 if draw(st.booleans()) else n for n in shape)
    return KernelCase((Values(draw)(shape), target[draw(st.integers(0, len(shape))) :]))


def _broadcast_to(draw: st.DrawFn) -> KernelCase:
    shape = draw(_SHAPES)
    source = tuple(1 if draw(st.booleans()) else n for n in shape)
    return KernelCase((Values(draw)(source), shape))


def _reshape(draw: st.DrawFn) -> KernelCase:
    shape = draw(_SHAPES)
    return KernelCase((Values(draw)(shape), draw(strategies.reshape_targets(shape))))


def _transpose(draw: st.DrawFn) -> KernelCase:
    shape = draw(_SHAPES)
    return KernelCase((Values(draw)(shape), draw(st.none() | strategies.permutations(len(shape)))))


def _pad(draw: st.DrawFn) -> KernelCase:
    shape = draw(_SHAPES)
    widths = draw(strategies.pad_widths(len(shape)))
    return KernelCase((Values(draw)(shape), widths, draw(st.sampled_from([0.0, 0.1, -2.0]))))


def _getitem(draw: st.DrawFn) -> KernelCase:
    shape = draw(_FULL)
    return KernelCase((Values(draw)(shape), draw(strategies.indices(shape))))


def _getitem_grad(draw: st.DrawFn) -> KernelCase:
    shape = draw(_FULL)
    values, index = Values(draw), draw(strategies.indices(shape))
    return KernelCase((values(_filled(shape)[index].shape), index, shape))


def _filled(shape: Shape) -> Array:
    return strategies.array(shape, 0)


def _concatenate(draw: st.DrawFn) -> KernelCase:
    shape, values = draw(_FULL), Values(draw)
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return KernelCase(([values((*shape[:axis], n, *shape[axis + 1 :])) for n in sizes], axis))


def _split(draw: st.DrawFn) -> KernelCase:
    shape = draw(_FULL)
    axis = draw(st.integers(0, len(shape) - 1))
    first = draw(st.integers(0, shape[axis]))
    return KernelCase((Values(draw)(shape), [first, shape[axis] - first], axis))


def _stack(draw: st.DrawFn) -> KernelCase:
    shape, values = draw(_SHAPES), Values(draw)
    return KernelCase(([values(shape) for _ in range(draw(st.integers(1, 3)))], draw(st.integers(0, len(shape)))))


def _matmul(draw: st.DrawFn) -> KernelCase:
    values, (batch_a, batch_b) = Values(draw), draw(strategies.broadcast_pairs(max_dims=2, max_side=3))
    rows, inner, columns = draw(st.integers(1, 4)), draw(st.integers(1, 40)), draw(st.integers(1, 4))
    return KernelCase((values((*batch_a, rows, inner)), values((*batch_b, inner, columns))))


def _linear(draw: st.DrawFn) -> tuple[Values, Shape, int, int]:
    return Values(draw), draw(strategies.shapes(max_dims=2)), draw(st.integers(1, 40)), draw(st.integers(1, 5))


def _linear_forward(draw: st.DrawFn) -> KernelCase:
    values, rows, C, K = _linear(draw)
    return KernelCase((values((*rows, C)), values((K, C))))


def _linear_grads(draw: st.DrawFn) -> KernelCase:
    values, rows, C, K = _linear(draw)
    return KernelCase((values((*rows, K)), values((*rows, C)), values((K, C)), draw(_WANTS)))


_WANTS = st.sampled_from([(True, True), (True, False), (False, True)])
_COMPARED = ("smooth", "tied", "near_ties")

CASES: dict[str, Cases] = {
    **{name: _unary("smooth", "near_kinks", "tied") for name in ("absolute", "negative", "relu", "sign")},
    **{name: _unary("positive") for name in ("log", "sqrt")},
    **{name: _unary("smooth", "integers", "near_kinks") for name in ("exp", "sigmoid", "tanh")},
    "add_": _add_in_place,
    "blend_": _blend,
    **{name: _binary("smooth", "positive", "tied") for name in ("add", "subtract", "multiply")},
    **{name: _binary(*_COMPARED) for name in ("maximum", "minimum", "maximum_mask")},
    **{name: _binary(*_COMPARED) for name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")},
    **{name: _reduction("smooth", "positive", "tied") for name in ("sum", "mean")},
    **{name: _reduction(*_COMPARED) for name in ("amax", "amin")},
    **{name: _reduction(*_COMPARED, several=False) for name in ("argmax", "argmin")},
    **dict.fromkeys(("amax_share", "amin_share"), _share),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    "broadcast_to": _broadcast_to,
    "clip": _clip,
    "clip_mask": _clip,
    "concatenate": _concatenate,
    "divide": _divide,
    "dropout": _dropout,
    "getitem": _getitem,
    "getitem_grad": _getitem_grad,
    "linear": _linear_forward,
    "linear_grads": _linear_grads,
    "matmul": _matmul,
    "pad": _pad,
    "power": _power,
    "relu_grad": _relu_grad,
    "reshape": _reshape,
    "split": _split,
    "stack": _stack,
    "sum_to": _sum_to,
    "transpose": _transpose,
    "var": _reduction("smooth", "positive", more=(0,)),
    "where": _where,
}
