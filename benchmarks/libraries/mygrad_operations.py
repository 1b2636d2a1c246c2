"""MyGrad's differentiable operations, as cases for check_libraries.py.

MyGrad has no second derivatives. mygrad_layers.py has the cases of mygrad.nnet.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import mygrad as mg
import numpy as np
from hypothesis import strategies as st

from libraries import mygrad_layers
from libraries.cases import (
    Build,
    Case,
    Draw,
    Operations,
    axis_of,
    binary,
    elementwise,
    index_of,
    inside,
    nonzero,
    outside,
    positive,
    reduction,
    unchanged,
)
from minires.testing import strategies

VERSION = mg.__version__
OPERATIONS = Operations()


class Pair:
    """A function of MyGrad's tensors as a function of arrays, with its vjp.

    The operations may get copies: MyGrad itself prevents them from writing into their inputs.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        return self.function(*map(_tensor, arrays)).data

    def vjp(self, gy: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray | None]:
        tensors = list(map(_tensor, arrays))
        self.function(*tensors).backward(gy)
        return [tensor.grad for tensor in tensors]


def _tensor(x: np.ndarray) -> mg.Tensor:
    """Return a tensor with the strides of ``x`` between zeros, so that reads beyond the array repeat in each run."""
    room = sum(abs(stride) * n for stride, n in zip(x.strides, x.shape, strict=True)) // x.itemsize + 1
    view: np.ndarray = np.ndarray(x.shape, x.dtype, np.zeros(4 * room, x.dtype), 2 * room * x.itemsize, x.strides)
    view[...] = x
    return mg.tensor(view, copy=False)


DOMAINS = {  # away from poles and ends of the domain, and from 0, where arccot jumps
    unchanged: "arcsinh arctan cos cosh exp exp2 expm1 negative positive sec sech sin sinc sinh square tan tanh",
    positive: "log log10 log1p log2 sqrt",
    inside: "arccos arcsin arctanh",
    outside: "arccoth arccsc arcsec",
    nonzero: "arccot arccsch cbrt cot coth csc csch reciprocal",
}
for domain, names in DOMAINS.items():
    OPERATIONS |= {name: elementwise(getattr(mg, name), domain=domain) for name in names.split()}
OPERATIONS["arccosh"] = elementwise(mg.arccosh, domain=lambda x: np.abs(outside(x)))
OPERATIONS["absolute"] = elementwise(mg.absolute, ("smooth", "near_kinks", "tied"))
for name in ("add", "subtract", "multiply", "logaddexp", "logaddexp2"):
    OPERATIONS[name] = binary(getattr(mg, name))
for name in ("divide", "arctan2"):
    OPERATIONS[name] = binary(getattr(mg, name), domain=nonzero)
OPERATIONS["power"] = binary(mg.power, domain=positive)
for name in ("maximum", "minimum"):
    OPERATIONS[name] = binary(getattr(mg, name), ("smooth", "tied"))
for name in ("sum", "mean", "var", "std"):
    OPERATIONS[name] = reduction(getattr(mg, name))
for name in ("max", "min", "prod"):
    OPERATIONS[name] = reduction(getattr(mg, name), ("smooth", "tied"))


def _sequence(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        pair = draw(strategies.broadcast_pairs(max_dims=2))
        return Case(function, (*pair, pair[0])[: draw(st.integers(2, 3))], kinds=("smooth", "tied"))

    return build


def _cumulative(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(max_dims=3))
        return Case(function, (shape,), {"axis": axis_of(draw, shape, everything=True)}, ("smooth", "tied"))

    return build


for name in ("add_sequence", "multiply_sequence"):
    OPERATIONS[name] = _sequence(getattr(mg, name))
for name in ("cumsum", "cumprod"):
    OPERATIONS[name] = _cumulative(getattr(mg, name))


@OPERATIONS.add
def norm(draw: Draw) -> Case:
    shape = draw(strategies.shapes(1, 3))
    order = draw(st.sampled_from([None, 1, 2, 3, 1.5, -1]))
    axis = axis_of(draw, shape, everything=order is None or len(shape) == 1)
    options = {"ord": order, "axis": axis, "keepdims": draw(st.booleans())}
    return Case(mg.linalg.norm, (shape,), options, ("smooth", "tied"), nonzero if order == -1 else unchanged)


@OPERATIONS.add
def clip(draw: Draw) -> Case:
    shape, low = draw(strategies.broadcast_pairs(max_dims=2))
    return Case(lambda x, low, a_max: mg.clip(x, low, a_max), (shape, low), {"a_max": 1.0}, ("smooth", "tied"))


@OPERATIONS.add
def where(draw: Draw) -> Case:
    pair = draw(strategies.broadcast_pairs(max_dims=3))
    mask = strategies.mask(np.broadcast_shapes(*pair), draw(strategies.seeds()))
    return Case(lambda x, y, condition: mg.where(condition, x, y), pair, {"condition": mask})


@OPERATIONS.add
def reshape(draw: Draw) -> Case:
    shape = draw(strategies.shapes(max_dims=3))
    return Case(lambda x, shape: mg.reshape(x, shape), (shape,), {"shape": draw(strategies.reshape_targets(shape))})


for name in ("squeeze", "ravel", "atleast_1d", "atleast_2d", "atleast_3d"):
    OPERATIONS[name] = elementwise(getattr(mg, name))


@OPERATIONS.add
def broadcast_to(draw: Draw) -> Case:
    small, other = draw(strategies.broadcast_pairs(max_dims=3))
    return Case(mg.broadcast_to, (small,), {"shape": np.broadcast_shapes(small, other)})


@OPERATIONS.add
def transpose(draw: Draw) -> Case:
    shape = draw(strategies.shapes(1, 3))
    return Case(lambda x, axes: mg.transpose(x, *axes), (shape,), {"axes": draw(strategies.permutations(len(shape)))})


def _with_axis(function: Callable[..., Any], *names: str) -> Build:
    """Return a build for an operation whose options ``names`` are axes, or a shift, which may be any integer."""

    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(1, 3))
        return Case(function, (shape,), {name: axis_of(draw, shape) for name in names})

    return build


OPERATIONS |= {
    "expand_dims": _with_axis(mg.expand_dims, "axis"),
    "moveaxis": _with_axis(mg.moveaxis, "source", "destination"),
    "swapaxes": _with_axis(mg.swapaxes, "axis1", "axis2"),
    "roll": _with_axis(mg.roll, "shift", "axis"),
    "roll, flat": _with_axis(mg.roll, "shift"),
}


@OPERATIONS.add
def repeat(draw: Draw) -> Case:
    shape = draw(strategies.shapes(max_dims=3))
    axis = axis_of(draw, shape, everything=True)
    n = int(np.prod(shape)) if axis is None else shape[axis]
    repeats = draw(st.integers(0, 3) | st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return Case(mg.repeat, (shape,), {"repeats": repeats, "axis": axis})


def _joining(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(1, 3))
        return Case(lambda *xs, axis: function(xs, axis=axis), (shape, shape), {"axis": axis_of(draw, shape)})

    return build


OPERATIONS |= {"concatenate": _joining(mg.concatenate), "stack": _joining(mg.stack)}


@OPERATIONS.add
def getitem(draw: Draw) -> Case:
    shape = draw(strategies.shapes(max_dims=3))
    return Case(lambda x, index: x[index], (shape,), {"index": index_of(draw, shape)})


@OPERATIONS.add
def setitem(draw: Draw) -> Case:
    def function(x: Any, b: Any, index: Any) -> Any:
        y = +x
        y[index] = b
        return y

    shape = draw(strategies.shapes(1, 2))
    index = index_of(draw, shape)
    return Case(function, (shape, np.empty(shape)[index].shape), {"index": index})


@OPERATIONS.add
def inplace(draw: Draw) -> Case:
    """Draw an update of a part of a tensor through a view."""

    def function(x: Any, w: Any, index: slice) -> Any:
        y = +x
        view = y[index]
        view *= w
        y += x
        return y * view.sum()

    shape = draw(strategies.shapes(1, 2))
    index = slice(None, None, draw(st.sampled_from([1, 2, -1])))
    return Case(function, (shape, np.empty(shape)[index].shape), {"index": index})


@OPERATIONS.add
def matmul(draw: Draw) -> Case:
    I, J, K = (draw(st.integers(1, 3)) for _ in range(3))
    a, b = draw(strategies.broadcast_pairs(max_dims=2, max_side=3))
    shapes = draw(st.sampled_from([((*a, I, J), (*b, J, K)), ((J,), (*b, J, K)), ((*a, I, J), (J,)), ((J,), (J,))]))
    return Case(mg.matmul, shapes)


@OPERATIONS.add
def multi_matmul(draw: Draw) -> Case:
    sides = draw(st.lists(st.integers(1, 4), min_size=4, max_size=5))
    return Case(lambda *xs: mg.multi_matmul(xs), tuple(itertools.pairwise(sides)))


EXPRESSIONS = (
    "ij,jk->ik ij,jk->ki ij-> ii-> ii->i iji->ij ii,i->i i,i-> i,j->ij ij,ij->ij ijk,k->ji bij,bjk->bik i,ij,j->"
)


@OPERATIONS.add
def einsum(draw: Draw) -> Case:
    expression = draw(st.sampled_from(EXPRESSIONS.split()))
    sides = st.integers(1, 3)
    if expression.startswith("ij,jk"):
        sides |= st.integers(26, 28)  # from about 2^14 products on, MyGrad uses another algorithm
    operands = expression.split("->")[0].split(",")
    size = {label: draw(sides) for label in sorted({*"".join(operands)})}
    shapes = tuple(tuple(size[label] for label in operand) for operand in operands)
    return Case(lambda *xs, expression: mg.einsum(expression, *xs), shapes, {"expression": expression})


def operations() -> dict[str, tuple[Build, Callable[[Any], Any]]]:
    """Return for each operation a build, and the class that makes a function of arrays and its vjp from a case."""
    return {name: (build, Pair) for name, build in (OPERATIONS | mygrad_layers.OPERATIONS).items()}
