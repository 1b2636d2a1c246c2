"""One step of an optimizer for one parameter on a GPU, in place: one launch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from minires.device import Array
from minires.kernels.checks import check_count, check_momentum, check_step


def sgd_(
    ps: Sequence[Array],
    gs: Sequence[Array],
    velocities: Sequence[Array] | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """One step of stochastic gradient descent: `minires.kernels.reference.sgd_`.

    Parameters
    ----------
    ps, gs, velocities, lr, momentum, dampening, weight_decay, nesterov, first : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_momentum(momentum, velocities)
    kept = [] if velocities is None else [velocities]
    check_step(ps, gs, *kept)
    for p, g, *v in zip(ps, gs, *kept, strict=True):
        numbers = [p.dtype.type(n) for n in (lr, momentum, 1 - dampening, weight_decay)]
        if momentum:
            _sgd(True, bool(weight_decay), nesterov, first)(g, *numbers, p, *v)
        else:
            _sgd(False, bool(weight_decay), False, False)(g, *numbers, p)


def adam_(
    ps: Sequence[Array],
    gs: Sequence[Array],
    ms: Sequence[Array],
    vs: Sequence[Array],
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam or AdamW: `minires.kernels.reference.adam_`.

    Parameters
    ----------
    ps, gs, ms, vs, step, lr, beta1, beta2, eps, weight_decay, decoupled : as the reference's

    Raises
    ------
    ShapeError, DtypeError : as the reference does.

    Identity that tests it: equal to the reference, within rounding.
    """
    check_step(ps, gs, ms, vs)
    check_count(step)
    rates = lr / (1 - beta1**step), 1 / (1 - beta2**step) ** 0.5
    shrink = 1 - lr * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    for p, g, m, v in zip(ps, gs, ms, vs, strict=True):
        numbers = [p.dtype.type(n) for n in (*rates, 1 - beta1, beta2, 1 - beta2, eps, shrink, decay)]
        _adam(bool(decay), shrink != 1)(g, *numbers, p, m, v)


@functools.cache
def _sgd(momentum: bool, decay: bool, nesterov: bool, first: bool) -> Any:
    import cupy

    code = "T d = g + weight_decay * p;" if decay else "T d = g;"
    if momentum:
        code += "v = d;" if first else "v = momentum * v + rest * d;"
        code += "d = d + momentum * v;" if nesterov else "d = v;"
    kept = f"{'_momentum' * momentum}{'_decay' * decay}{'_nesterov' * nesterov}{'_first' * first}"
    inputs = "T g, T lr, T momentum, T rest, T weight_decay"
    return cupy.ElementwiseKernel(inputs, "T p" + ", T v" * momentum, code + "p = p - lr * d;", f"minires_sgd{kept}")


@functools.cache
def _adam(decay: bool, shrinks: bool) -> Any:
    import cupy

    code = "p = p * shrink;" * shrinks
    code += "T d = g + decay * p;" if decay else "T d = g;"
    code += "m = m + rest1 * (d - m); v = beta2 * v + rest2 * d * d; p = p - lr * m / (sqrt(v) * scale + eps);"
    inputs = "T g, T lr, T scale, T rest1, T beta2, T rest2, T eps, T shrink, T decay"
    return cupy.ElementwiseKernel(inputs, "T p, T m, T v", code, f"minires_adam{'_decay' * decay}{'_shrink' * shrinks}")
