"""MyGrad's layers, activations and losses (mygrad.nnet), as cases for check_libraries.py.

The GRU needs numba and SciPy, and is left out without them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from mygrad import nnet

from libraries.cases import (
    Build,
    Case,
    Draw,
    Operations,
    Values,
    convolution,
    elementwise,
    inside,
    labels,
    large,
    unchanged,
)
from minires.testing import strategies

OPERATIONS = Operations()

for name in ("relu", "selu", "sigmoid", "soft_sign", "hard_tanh", "elu", "leaky_relu"):
    function = getattr(nnet, name)
    slope = {"elu": (0.5,), "leaky_relu": (0.25,)}.get(name, ())
    OPERATIONS[name] = elementwise(lambda x, f=function, s=slope: f(x, *s), ("smooth", "near_kinks", "tied"))


@OPERATIONS.add
def conv_nd(draw: Draw) -> Case:
    """Draw a convolution in one or two dimensions."""
    conv = convolution(draw, dilated=True, whole=True)
    n = draw(st.integers(1, 2))
    options = {"stride": conv.stride[:n], "padding": conv.padding[:n], "dilation": conv.dilation[:n]}
    return Case(nnet.conv_nd, (conv.x[: 2 + n], conv.w[: 2 + n]), options)


@OPERATIONS.add
def max_pool(draw: Draw) -> Case:
    """Draw a pooling over the last axes of an array, with windows that end at its border."""
    shape = draw(strategies.shapes(1, 3, max_side=3))
    pool = tuple(draw(st.integers(1, n)) for n in shape[draw(st.integers(0, len(shape) - 1)) :])
    room = [n - p for n, p in zip(shape[-len(pool) :], pool, strict=True)]
    stride = tuple(draw(st.sampled_from([s for s in (1, 2, 3) if r % s == 0])) for r in room)
    return Case(nnet.max_pool, (shape,), {"pool": pool, "stride": stride}, ("smooth", "tied"))


@OPERATIONS.add
def batchnorm(draw: Draw) -> Case:
    def function(x: Any, *rest: Any, names: Sequence[str]) -> Any:
        return nnet.batchnorm(x, eps=1e-5, **dict(zip(names, rest, strict=True)))

    shape = draw(strategies.shapes(2, 4, max_side=3))
    names = draw(st.sampled_from([("gamma", "beta"), ("gamma",), ("beta",), ()]))
    return Case(function, (shape, *(shape[1:2] for _ in names)), {"names": names})


@OPERATIONS.add
def glu(draw: Draw) -> Case:
    *rest, half = draw(strategies.shapes(1, 3))
    return Case(nnet.glu, ((*rest, 2 * half),))


def _softmax(function: Callable[..., Any]) -> Build:
    def build(draw: Draw) -> Case:
        shape = draw(strategies.shapes(1, 3))
        return Case(function, (shape,), {"axis": draw(strategies.axes(len(shape)))})

    return build


OPERATIONS |= {"softmax": _softmax(nnet.softmax), "logsoftmax": _softmax(nnet.logsoftmax)}


def _loss(function: Callable[..., Any], domain: Values = unchanged, **choices: Any) -> Build:
    """Return a build for a loss of scores (N, K) and labels (N,); options are drawn from ``choices``."""

    def build(draw: Draw) -> Case:
        N, K = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        options = {name: draw(st.sampled_from(values)) for name, values in choices.items()}
        options["t"] = labels(draw, N, K)
        return Case(lambda x, t, **o: function(x, t, **o), ((N, K),), options, domain=domain)

    return build


def _weighted(x: Any, t: np.ndarray) -> Any:
    return nnet.negative_log_likelihood(x, t, weights=np.arange(1.0, 1.0 + x.shape[1]))


FOCAL = {"alpha": [1.0, 0.25], "gamma": [0.0, 0.5, 1.0, 2.0]}
OPERATIONS |= {
    "softmax_crossentropy": _loss(nnet.softmax_crossentropy),
    "softmax_crossentropy, large scores": _loss(nnet.softmax_crossentropy, large),
    "multiclass_hinge": _loss(nnet.multiclass_hinge, hinge=[1.0, 0.5]),
    "negative_log_likelihood": _loss(_weighted),
    "softmax_focal_loss": _loss(nnet.softmax_focal_loss, **FOCAL),
    "focal_loss": _loss(nnet.focal_loss, lambda x: 0.5 + 0.5 * inside(x), **FOCAL),
}


@OPERATIONS.add
def margin_ranking_loss(draw: Draw) -> Case:
    shape = draw(strategies.shapes(1, 2))
    sign = draw(st.sampled_from([1, -1]))
    y = sign * np.where(np.arange(shape[0]) % 2, 1, -1) if draw(st.booleans()) else sign
    return Case(nnet.margin_ranking_loss, (shape, shape), {"y": y, "margin": 0.5})


if importlib.util.find_spec("numba") and importlib.util.find_spec("scipy"):
    from mygrad.nnet.layers.gru import gru as _gru

    @OPERATIONS.add
    def gru(draw: Draw) -> Case:
        def compact(*tensors: Any) -> Any:
            return _gru(*(+x for x in tensors))  # numba compiles for half a minute for each combination of strides

        T, N, C, D = (draw(st.integers(1, 3)) for _ in range(4))
        return Case(compact, ((T, N, C), *((C, D), (D, D), (D,)) * 3))
