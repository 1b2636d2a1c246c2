"""Cases of the kernels that work element by element, reduce, and move elements about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from minires.testing import strategies
from minires.testing.rounding.cases.case import Cases, DrawnArrays, KernelCase, Shape

_SHAPES = strategies.shapes(max_dims=4, max_side=4)
_FULL = strategies.shapes(min_dims=1, max_dims=4, max_side=4)
_SMALL = strategies.shapes(max_dims=3)
_NUMBERS = st.sampled_from([2.0, -0.5, 0.1, 3])
_KINKS = ("smooth", "near_kinks", "tied")
_COMPARED = ("smooth", "tied", "near_ties")


def _of(
    shapes: st.SearchStrategy[Shape],
    arguments: Callable[[st.DrawFn, DrawnArrays, Shape], tuple[Any, ...]],
    changed: tuple[int, ...] = (),
) -> Cases:
    """Return the cases whose arguments ``arguments`` draws for a drawn shape."""

    def draw_case(draw: st.DrawFn) -> KernelCase:
        shape = draw(shapes)
        return KernelCase(arguments(draw, DrawnArrays(draw), shape), changed)

    return draw_case


def _unary(*kinds: str) -> Cases:
    return _of(_SHAPES, lambda draw, array, shape: (array(shape, *kinds),))


def _operands(draw: st.DrawFn, left: tuple[str, ...], right: tuple[str, ...]) -> tuple[Any, Any]:
    """Draw two arrays that broadcast, or an array and a scalar."""
    array, shapes = DrawnArrays(draw), draw(strategies.broadcast_pairs(max_dims=3))
    a, b = array(shapes[0], *left), array(shapes[1], *right)
    number = draw(_NUMBERS)
    pair: tuple[Any, Any] = draw(st.sampled_from([(a, b), (a, number), (number, b)]))
    return pair


def _binary(left: tuple[str, ...], right: tuple[str, ...]) -> Cases:
    return lambda draw: KernelCase(_operands(draw, left, right))


def _blend(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    numbers = st.sampled_from([0.1, 0.25, 0.9, 1.0])
    return array(shape), array(shape), draw(numbers), draw(numbers)


def _power(draw: st.DrawFn) -> KernelCase:
    array, shapes = DrawnArrays(draw), draw(strategies.broadcast_pairs(max_dims=3))
    a = array(shapes[0], "positive")
    return KernelCase((a, draw(st.sampled_from([array(shapes[1], "smooth", "integers"), 2, 3.0, 0.5, -1.5]))))


def _clip(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    low, high = draw(st.sampled_from([(-0.5, 0.5), (None, 0.1), (0.0, None), (None, None)]))
    return array(shape, *_KINKS), low, high


def _where(draw: st.DrawFn) -> KernelCase:
    array, shapes = DrawnArrays(draw), draw(strategies.broadcast_pairs(max_dims=3))
    condition = strategies.mask(shapes[0], array.seed)
    return KernelCase((condition, array(shapes[1]), draw(st.sampled_from([array(shapes[0]), 0.1]))))


def _dropout(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    return array(shape), strategies.mask(shape, array.seed), draw(st.sampled_from([0.1, 0.5, 0.0, 1.0]))


def _axis(shape: Shape) -> st.SearchStrategy[int]:
    return st.integers(-len(shape), len(shape) - 1)


def _reduction(*kinds: str, more: tuple[Any, ...] = ()) -> Cases:
    def arguments(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
        return array(shape, *kinds), draw(strategies.axes(len(shape))), draw(st.booleans()), *more

    return _of(_FULL, arguments)


def _index_of_extreme(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    return array(shape, *_COMPARED), draw(st.none() | _axis(shape)), draw(st.booleans())


def _with_ones(draw: st.DrawFn, shape: Shape) -> Shape:
    return tuple(1 if draw(st.booleans()) else n for n in shape)


def _sum_to(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    return array(shape), _with_ones(draw, shape)[draw(st.integers(0, len(shape))) :]


def _pad(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    return array(shape), draw(strategies.pad_widths(len(shape))), draw(st.sampled_from([0.0, 0.1, -2.0]))


def _getitem_grad(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    index = draw(strategies.indices(shape))
    return array(strategies.array(shape, 0)[index].shape), index, shape


def _concatenate(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return [array((*shape[:axis], n, *shape[axis + 1 :])) for n in sizes], axis


def _split(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    axis = draw(st.integers(0, len(shape) - 1))
    first = draw(st.integers(0, shape[axis]))
    return array(shape), [first, shape[axis] - first], axis


def _stack(draw: st.DrawFn, array: DrawnArrays, shape: Shape) -> tuple[Any, ...]:
    return [array(shape) for _ in range(draw(st.integers(1, 3)))], draw(st.integers(0, len(shape)))


def _matmul(draw: st.DrawFn) -> KernelCase:
    array, (batch_a, batch_b) = DrawnArrays(draw), draw(strategies.broadcast_pairs(max_dims=2, max_side=3))
    rows, inner, columns = draw(st.integers(1, 4)), draw(st.integers(1, 40)), draw(st.integers(1, 4))
    return KernelCase((array((*batch_a, rows, inner)), array((*batch_b, inner, columns))))


def _linear(draw: st.DrawFn, array: DrawnArrays, rows: Shape) -> tuple[Any, ...]:
    C, K = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    return array((*rows, C)), array((K, C))


def _linear_grads(draw: st.DrawFn, array: DrawnArrays, rows: Shape) -> tuple[Any, ...]:
    C, K = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    wants = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return array((*rows, K)), array((*rows, C)), array((K, C)), wants


CASES: dict[str, Cases] = {
    **dict.fromkeys(("absolute", "negative", "relu", "sign"), _unary(*_KINKS)),
    **dict.fromkeys(("log", "sqrt"), _unary("positive")),
    **dict.fromkeys(("exp", "sigmoid", "tanh"), _unary("smooth", "integers", "near_kinks")),
    "add_": _of(_SMALL, lambda draw, array, shape: (array(shape), array(shape)), changed=(0,)),
    "blend_": _of(_SMALL, _blend, changed=(0,)),
    **dict.fromkeys(("add", "subtract", "multiply"), _binary(*[("smooth", "positive", "tied")] * 2)),
    **dict.fromkeys(("maximum", "minimum", "maximum_mask"), _binary(_COMPARED, _COMPARED)),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal"), _binary(_COMPARED, _COMPARED)),
    **dict.fromkeys(("equal", "not_equal"), _binary(_COMPARED, _COMPARED)),
    **dict.fromkeys(("sum", "mean"), _reduction("smooth", "positive", "tied")),
    **dict.fromkeys(("amax", "amin"), _reduction(*_COMPARED)),
    **dict.fromkeys(("argmax", "argmin"), _of(_FULL, _index_of_extreme)),
    **dict.fromkeys(
        ("amax_share", "amin_share"),
        _of(_FULL, lambda draw, array, shape: (array(shape, *_COMPARED), draw(st.none() | _axis(shape)))),
    ),
    **dict.fromkeys(
        ("softmax", "log_softmax"),
        _of(_FULL, lambda draw, array, shape: (array(shape, "smooth", "integers"), draw(_axis(shape)))),
    ),
    **dict.fromkeys(("clip", "clip_mask"), _of(_SHAPES, _clip)),
    "broadcast_to": _of(_SHAPES, lambda draw, array, shape: (array(_with_ones(draw, shape)), shape)),
    "concatenate": _of(_FULL, _concatenate),
    "divide": _binary(("smooth", "positive"), ("positive",)),
    "dropout": _of(_SHAPES, _dropout),
    "getitem": _of(_FULL, lambda draw, array, shape: (array(shape), draw(strategies.indices(shape)))),
    "getitem_grad": _of(_FULL, _getitem_grad),
    "linear": _of(strategies.shapes(max_dims=2), _linear),
    "linear_grads": _of(strategies.shapes(max_dims=2), _linear_grads),
    "matmul": _matmul,
    "pad": _of(_SHAPES, _pad),
    "power": _power,
    "relu_grad": _of(_SHAPES, lambda draw, array, shape: (array(shape), array(shape, *_KINKS))),
    "reshape": _of(_SHAPES, lambda draw, array, shape: (array(shape), draw(strategies.reshape_targets(shape)))),
    "split": _of(_FULL, _split),
    "stack": _of(_SHAPES, _stack),
    "sum_to": _of(_SHAPES, _sum_to),
    "transpose": _of(
        _SHAPES, lambda draw, array, shape: (array(shape), draw(st.none() | strategies.permutations(len(shape))))
    ),
    "var": _reduction("smooth", "positive", more=(0,)),
    "where": _where,
}
