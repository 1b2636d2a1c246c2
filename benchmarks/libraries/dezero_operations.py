"""DeZero's differentiable operations, as cases for check_libraries.py, for first and for second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from libraries.cases import (
    Build,
    Case,
    Draw,
    Operations,
    axis_of,
    binary,
    convolution,
    elementwise,
    index_of,
    inside,
    labels,
    large,
    nonzero,
    positive,
    reduction,
    unchanged,
)
from libraries.dezero_pairs import Pair, Twice, dezero
from minires.testing import strategies

F, C = dezero.functions, dezero.functions_conv
VERSION = dezero.__version__
OPERATIONS = Operations()

for name in ["sin", "cos", "tanh", "exp", "neg", "sigmoid", "sigmoid_simple"]:
    OPERATIONS[name] = elementwise(getattr(F, name))
OPERATIONS["log"] = elementwise(F.log, domain=positive)
for name in ["relu", "leaky_relu"]:
    OPERATIONS[name] = elementwise(getattr(F, name), ("smooth", "near_kinks", "tied"))
for name in ["add", "sub", "mul", "rsub"]:
    OPERATIONS[name] = binary(getattr(F, name))
OPERATIONS["div"] = binary(F.div, domain=nonzero)
OPERATIONS["sum"] = reduction(F.sum)
for name in ["max", "min"]:
    OPERATIONS[name] = reduction(getattr(F, name), ("smooth", "tied"))


@OPERATIONS.add
def pow(draw: Draw) -> Case:
    exponent = draw(st.sampled_from([2, 3, 1, 0, -1, 0.5]))
    domain = {0.5: positive, -1: nonzero}.get(exponent, unchanged)
    return Case(F.pow, (draw(strategies.shapes(max_dims=2)),), {"c": exponent}, ("smooth", "tied"), domain)


@OPERATIONS.add
def clip(draw: Draw) -> Case:
    return Case(F.clip, (draw(strategies.shapes(max_dims=2)),), {"x_min": -1.0, "x_max": 0.5}, ("smooth", "tied"))


@OPERATIONS.add
def reshape(draw: Draw) -> Case:
    shape = draw(strategies.shapes(max_dims=3))
    return Case(F.reshape, (shape,), {"shape": draw(strategies.reshape_targets(shape))})


@OPERATIONS.add
def transpose(draw: Draw) -> Case:
    shape = draw(strategies.shapes(max_dims=3))
    return Case(F.transpose, (shape,), {"axes": draw(st.none() | strategies.permutations(len(shape)))})


@OPERATIONS.add
def broadcast_to(draw: Draw) -> Case:
    small, other = draw(strategies.broadcast_pairs(max_dims=3))
    return Case(F.broadcast_to, (small,), {"shape": np.broadcast_shapes(small, other)})


@OPERATIONS.add
def sum_to(draw: Draw) -> Case:
    small, other = draw(strategies.broadcast_pairs(max_dims=3))
    return Case(F.sum_to, (np.broadcast_shapes(small, other),), {"shape": small})


@OPERATIONS.add
def get_item(draw: Draw) -> Case:
    shape = draw(strategies.shapes(max_dims=3))
    return Case(F.get_item, (shape,), {"slices": index_of(draw, shape)})


@OPERATIONS.add
def matmul(draw: Draw) -> Case:
    I, J, K = (draw(st.integers(1, 4)) for _ in range(3))
    return Case(F.matmul, draw(st.sampled_from([((I, J), (J, K)), ((J,), (J,)), ((J,), (J, K)), ((I, J), (J,))])))


def _linear(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        I, J, K = (draw(st.integers(1, 4)) for _ in range(3))
        return Case(function, ((I, J), (J, K), (K,))[: draw(st.integers(2, 3))])

    return build


OPERATIONS |= {"linear": _linear(F.linear), "linear_simple": _linear(F.linear_simple)}


def _softmax(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(2, 3))
        return Case(
            function, (shape,), {"axis": axis_of(draw, shape)}, domain=draw(st.sampled_from([unchanged, large]))
        )

    return build


for name in ["softmax", "softmax_simple", "log_softmax"]:
    OPERATIONS[name] = _softmax(getattr(F, name))


def _squared_error(function: Callable[..., Any]) -> Build:
    return lambda draw: Case(
        function, draw(strategies.broadcast_pairs(max_dims=2).filter(lambda pair: max(map(len, pair)) > 0))
    )


for name in ["mean_squared_error", "mean_squared_error_simple"]:
    OPERATIONS[name] = _squared_error(getattr(F, name))


@OPERATIONS.add
def softmax_cross_entropy(draw: Draw) -> Case:
    N, K = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    t = labels(draw, N, K)
    column = draw(st.booleans())
    domain = draw(st.sampled_from([unchanged, large]))
    return Case(F.softmax_cross_entropy, ((N, K),), {"t": t[:, None] if column else t}, domain=domain)


@OPERATIONS.add
def softmax_cross_entropy_simple(draw: Draw) -> Case:
    N, K = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return Case(F.softmax_cross_entropy_simple, ((N, K),), {"t": labels(draw, N, K)})


@OPERATIONS.add
def sigmoid_cross_entropy(draw: Draw) -> Case:
    N = draw(st.integers(1, 4))
    domain = draw(st.sampled_from([unchanged, large]))
    return Case(F.sigmoid_cross_entropy, ((N,),), {"t": labels(draw, N, 2)}, domain=domain)


@OPERATIONS.add
def binary_cross_entropy(draw: Draw) -> Case:
    N = draw(st.integers(1, 4))
    t = dezero.Variable(labels(draw, N, 2))
    return Case(lambda p: F.binary_cross_entropy(0.5 + 0.5 * p, t), ((N,),), {}, domain=inside)


@OPERATIONS.add
def dropout(draw: Draw) -> Case:
    def function(x: Any, seed: int, train: bool) -> Any:
        np.random.seed(seed)  # noqa: NPY002 — DeZero draws from NumPy's global generator
        with dezero.using_config("train", train):
            return F.dropout(x)

    shape = draw(strategies.shapes(1, 3))
    return Case(function, (shape,), {"seed": draw(st.integers(0, 9)), "train": draw(st.booleans())})


def _batch_norm(train: bool) -> Build:
    def function(x: Any, gamma: Any, beta: Any) -> Any:
        mean, var = np.zeros(x.shape[1]), np.ones(x.shape[1])
        with dezero.using_config("train", train):
            return F.batch_nrom(x, gamma, beta, mean, var)

    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(2, 2) | strategies.shapes(4, 4, max_side=3))
        return Case(function, (shape, shape[1:2], shape[1:2]))

    return build


OPERATIONS |= {"batch_nrom": _batch_norm(train=True), "batch_nrom, test mode": _batch_norm(train=False)}


def _conv2d(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        conv = convolution(draw)
        shapes = (conv.x, conv.w, conv.w[:1])[: draw(st.integers(2, 3))]
        return Case(function, shapes, {"stride": conv.stride, "pad": conv.padding})

    return build


OPERATIONS |= {"conv2d": _conv2d(C.conv2d), "conv2d_simple": _conv2d(C.conv2d_simple)}


@OPERATIONS.add
def deconv2d(draw: Draw) -> Case:
    conv = convolution(draw)
    shapes = (conv.y, conv.w, conv.w[1:2])[: draw(st.integers(2, 3))]
    return Case(C.deconv2d, shapes, {"stride": conv.stride, "pad": conv.padding, "outsize": conv.x[2:]})


@OPERATIONS.add
def im2col(draw: Draw) -> Case:
    conv = convolution(draw)
    options = {"kernel_size": conv.w[2:], "stride": conv.stride, "pad": conv.padding}
    return Case(C.im2col, (conv.x,), {**options, "to_matrix": draw(st.booleans())})


def _pooling(function: Callable[..., Any], kinds: tuple[str, ...]) -> Build:
    def build(draw: Draw) -> Case:
        pool = draw(strategies.pool_cases())
        window = pool.geometry
        options = {"kernel_size": window.kernel, "stride": window.stride, "pad": window.padding}
        return Case(function, (pool.x,), options, kinds)

    return build


for name in ["pooling", "pooling_simple"]:
    OPERATIONS[name] = _pooling(getattr(C, name), ("smooth", "tied"))
OPERATIONS["average_pooling"] = _pooling(C.average_pooling, ("smooth",))


def operations() -> dict[str, tuple[Build, Callable[[Any], Any]]]:
    """Return for each operation a build, and the class that makes a function of arrays and its vjp from a case."""
    once = {name: (build, Pair) for name, build in OPERATIONS.items()}
    return once | {f"{name}, twice": (_in_the_middle(build), Twice) for name, build in OPERATIONS.items()}


def _in_the_middle(build: Build) -> Build:
    """Return a build without kinks and large scores: there the gradient jumps, or its derivatives cancel."""

    def middle(draw: Draw) -> Case:
        case = build(draw)
        return case._replace(kinds=("smooth",), domain=unchanged if case.domain is large else case.domain)

    return middle
