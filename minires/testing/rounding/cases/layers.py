"""Cases of the kernels of layers, losses and optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minires.device import Array
from minires.geometry import Geometry
from minires.kernels import reference
from minires.testing import strategies
from minires.testing.layouts import lay_out
from minires.testing.rounding.cases.case import Cases, DrawnArrays, KernelCase

# Batch norm. The mean in deviations: zero, near the fast kernels' threshold of ten, and far beyond.
_OFFSETS = st.sampled_from([0.0, 3.0, 9.9, 10.1, 300.0])
_EPS = 1e-5


def _images(draw: st.DrawFn) -> tuple[DrawnArrays, Array]:
    """Draw x (N, C, H, W) with at least two elements in a channel."""
    values = DrawnArrays(draw)
    N, C, H, W = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    x = values((max(N, 2 if H * W == 1 else 1), C, H, W))
    x += np.float32(draw(_OFFSETS))
    return values, x


def _laid_out(draw: st.DrawFn, *arrays: Array) -> list[Array]:
    return [lay_out(array, draw(strategies.memory_orders())) for array in arrays]


def _norm(draw: st.DrawFn, act: bool, training: bool) -> KernelCase:
    values, x = _images(draw)
    gamma, beta = values(x.shape[1:2]), values(x.shape[1:2])
    statistics = [] if training else _laid_out(draw, *reference.batch_norm(x, gamma, beta, _EPS)[1:3])
    extras = (values(x.shape) if draw(st.booleans()) else None, draw(st.booleans())) if act else ()
    return KernelCase((x, gamma, beta, *statistics, *extras, _EPS))


def _norm_grads(draw: st.DrawFn, act: bool, second: bool = False) -> KernelCase:
    values, x = _images(draw)
    gamma, beta, gy = values(x.shape[1:2]), values(x.shape[1:2]), values(x.shape)
    y, mean, _, inv_std = reference.batch_norm(x, gamma, beta, _EPS)
    mean, inv_std = _laid_out(draw, mean, inv_std)
    if act:
        return KernelCase((gy, y, x, gamma, mean, inv_std, draw(st.booleans()), draw(st.booleans())))
    outer = (values(x.shape), values(x.shape[1:2]), values(x.shape[1:2])) if second else ()
    return KernelCase((*outer, gy, x, gamma, mean, inv_std))


# Convolution


def _draw_pointwise(draw: st.DrawFn) -> strategies.ConvCase:
    """Draw 1×1 filters with stride 1, and few or many pixels."""
    C, K, H, W = (draw(st.integers(1, 6)) for _ in range(4))
    return strategies.ConvCase((draw(st.sampled_from([1, 2, 150])), C, H, W), (K, C, 1, 1), Geometry((1, 1)))


def _draw_depthwise(draw: st.DrawFn) -> strategies.ConvCase:
    """Draw one filter for each channel, with any window."""
    case, C = draw(strategies.conv_cases()), draw(st.integers(2, 9))
    geometry = dataclasses.replace(case.geometry, groups=C)
    return strategies.ConvCase((case.x[0], C, *case.x[2:]), (C, 1, *case.w[2:]), geometry)


def _draw_many_channels(draw: st.DrawFn) -> strategies.ConvCase:
    """Draw 3×3 filters with stride 1, and enough channels and pixels for a fast kernel's transform."""
    geometry = Geometry((3, 3), padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))))
    N, H, W = draw(st.integers(1, 2)), draw(st.integers(3, 10)), draw(st.integers(3, 10))
    C, K = draw(st.sampled_from([(3, 16), (7, 9), (24, 2)]))
    return strategies.ConvCase((max(N, -(-64 // (H * W))), C, H, W), (K, C, 3, 3), geometry)


def _every_way() -> st.SearchStrategy[strategies.ConvCase]:
    """Return a strategy of convolutions that reaches every fast kernel."""
    return st.one_of([strategies.conv_cases(), _pointwise(), _depthwise(), _many_channels()])


def _conv(arguments: Callable[[Array, Array, Array, Geometry], tuple[Any, ...]]) -> Cases:
    def draw_case(draw: st.DrawFn) -> KernelCase:
        case = draw(_every_way())
        values, gy = DrawnArrays(draw), case.geometry.check_conv(case.x, case.w)
        return KernelCase(arguments(values(case.x), values(case.w), values(gy), case.geometry))

    return draw_case


def _conv_grads(draw: st.DrawFn) -> KernelCase:
    wants = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return _conv(lambda x, w, gy, geometry: (gy, x, w, geometry, wants))(draw)


def _conv_act(draw: st.DrawFn) -> KernelCase:
    case = draw(_every_way())
    values, y = DrawnArrays(draw), case.geometry.check_conv(case.x, case.w)
    others = (values(shape) if draw(st.booleans()) else None for shape in (case.w[:1], case.w[:1], y))
    return KernelCase((values(case.x), values(case.w), *others, draw(st.booleans()), case.geometry))


# Pooling


def _winners(values: Callable[..., Array], case: Any) -> Array:
    return reference.max_pool2d_winners(values(case.x, *_CANDIDATES), case.geometry)[1]


def _pool(arguments: Callable[[Callable[..., Array], Any, Any], tuple[Any, ...]]) -> Cases:
    def draw_case(draw: st.DrawFn) -> KernelCase:
        case, values = draw(strategies.pool_cases()), DrawnArrays(draw)
        return KernelCase(arguments(values, case, case.geometry.check_pool(case.x)))

    return draw_case


def _adaptive(draw: st.DrawFn) -> KernelCase:
    case = draw(strategies.adaptive_cases())
    return KernelCase((DrawnArrays(draw)(case.x), case.grid))


def _adaptive_grad(draw: st.DrawFn) -> KernelCase:
    case = draw(strategies.adaptive_cases())
    return KernelCase((DrawnArrays(draw)((*case.x[:2], *case.grid)), case.x[2:]))


_CANDIDATES = ("smooth", "tied", "near_ties")

# Losses


def _logits(draw: st.DrawFn) -> tuple[DrawnArrays, tuple[Any, ...]]:
    values, N, K = DrawnArrays(draw), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    labels = draw(strategies.labels(N, K, -100))
    if (labels == -100).all():
        labels[0] = 0  # the mean of zero losses is NaN
    smoothing, reduction = draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from(["mean", "sum", "none"]))
    return values, (values((N, K), "smooth", "integers"), labels, smoothing, -100, reduction)


def _cross_entropy(draw: st.DrawFn) -> KernelCase:
    return KernelCase(_logits(draw)[1])


def _cross_entropy_grad(draw: st.DrawFn) -> KernelCase:
    values, loss = _logits(draw)
    return KernelCase((values(loss[1].shape if loss[-1] == "none" else ()), *loss))


# Optimizers, which write in place


def _sgd(draw: st.DrawFn) -> KernelCase:
    values, shapes = DrawnArrays(draw), draw(_SEVERAL)
    momentum, nesterov = draw(st.sampled_from([(0.0, False), (0.9, False), (0.9, True)]))
    ps, gs = ([values(shape) for shape in shapes] for _ in range(2))
    velocities = [values(shape) for shape in shapes] if momentum else None
    options = momentum, draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([0.0, 1e-4])), nesterov
    return KernelCase((ps, gs, velocities, 0.1, *options, draw(st.booleans())), (0, 2) if momentum else (0,))


def _adam(draw: st.DrawFn) -> KernelCase:
    values, shapes = DrawnArrays(draw), draw(_SEVERAL)
    step, decay, decoupled = draw(st.integers(1, 20)), draw(st.sampled_from([0.0, 0.01])), draw(st.booleans())
    ps, gs, ms = ([values(shape) for shape in shapes] for _ in range(3))
    vs = [values(shape, "positive") for shape in shapes]
    return KernelCase((ps, gs, ms, vs, step, 1e-3, 0.9, 0.999, 1e-8, decay, decoupled), (0, 2, 3))


def _unscale(draw: st.DrawFn) -> KernelCase:
    values = DrawnArrays(draw)
    return KernelCase(([values(shape) for shape in draw(_SEVERAL)], draw(st.sampled_from([1.0, 2.0**-16, 0.3]))))


def _masters(draw: st.DrawFn) -> KernelCase:
    """Draw masters and parameters, one of them changed."""
    values, shapes = DrawnArrays(draw), draw(_SEVERAL)
    masters = [values(shape) for shape in shapes]
    return KernelCase((masters, [values(shapes[0]), *(master.copy() for master in masters[1:])]), (0,))


_SEVERAL = st.lists(strategies.shapes(max_dims=3), min_size=1, max_size=3)  # shapes of parameters

CASES: dict[str, Cases] = {
    "adam_": _adam,
    "adaptive_avg_pool2d": _adaptive,
    "adaptive_avg_pool2d_grad": _adaptive_grad,
    "avg_pool2d": _pool(lambda values, case, y: (values(case.x), case.geometry)),
    "avg_pool2d_grad": _pool(lambda values, case, y: (values(y), case.geometry, case.x[2:])),
    "batch_norm": lambda draw: _norm(draw, False, True),
    "batch_norm_act": lambda draw: _norm(draw, True, True),
    "batch_norm_act_grads": lambda draw: _norm_grads(draw, True),
    "batch_norm_act_inference": lambda draw: _norm(draw, True, False),
    "batch_norm_grads": lambda draw: _norm_grads(draw, False),
    "batch_norm_grads_grads": lambda draw: _norm_grads(draw, False, True),
    "batch_norm_inference": lambda draw: _norm(draw, False, False),
    "batch_norm_inference_grads": lambda draw: _norm_grads(draw, False),
    "conv2d": _conv(lambda x, w, gy, geometry: (x, w, geometry)),
    "conv2d_act": _conv_act,
    "conv2d_grads": _conv_grads,
    "conv2d_input_grad": _conv(lambda x, w, gy, geometry: (gy, w, geometry, x.shape[2:])),
    "conv2d_weight_grad": _conv(lambda x, w, gy, geometry: (gy, x, geometry)),
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "follow_": _masters,
    "max_pool2d": _pool(lambda values, case, y: (values(case.x, *_CANDIDATES), case.geometry)),
    "max_pool2d_gather": _pool(lambda values, case, y: (values(case.x), _winners(values, case), case.geometry)),
    "max_pool2d_grad": _pool(
        lambda values, case, y: (values(y), _winners(values, case), case.geometry, case.x[2:]),
    ),
    "max_pool2d_winners": _pool(lambda values, case, y: (values(case.x, *_CANDIDATES), case.geometry)),
    "narrow_": _masters,
    "sgd_": _sgd,
    "unscale": _unscale,
}


# Made once: Hypothesis reads the source of a function that it makes a strategy of, which takes a millisecond.
_pointwise = st.composite(_draw_pointwise)
_depthwise = st.composite(_draw_depthwise)
_many_channels = st.composite(_draw_many_channels)
