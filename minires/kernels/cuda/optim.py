"""One step of an optimizer for all parameters on a GPU, in place: one launch for up to eighty parameters.

Results are equal to the reference's within rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from minires.device import Array
from minires.kernels.checks import check_adam, check_sgd
from minires.kernels.cuda.many_arrays import for_each_element
from minires.kernels.cuda.raw import wide


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
    """Take one step of stochastic gradient descent, as `reference.optim.sgd_`."""
    check_sgd(ps, gs, velocities, momentum)
    kept = [velocities] if velocities is not None and momentum else []
    code = _sgd(bool(momentum), bool(weight_decay), nesterov, first)
    _update(code, (lr, momentum, 1 - dampening, weight_decay), ps, gs, *kept)


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
    """Take one step of Adam or AdamW, as `reference.optim.adam_`."""
    check_adam(ps, gs, ms, vs, step)
    lr, beta1, beta2, weight_decay = float(lr), float(beta1), float(beta2), float(weight_decay)
    shrink = 1 - lr * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    rates = lr / (1 - beta1**step), 1 / (1 - beta2**step) ** 0.5
    constants = *rates, 1 - beta1, beta2, 1 - beta2, eps, shrink, decay
    _update(_adam(bool(decay), shrink != 1), constants, ps, gs, ms, vs)


def _update(code: str, constants: tuple[float, ...], ps: Sequence[Array], *others: Sequence[Array]) -> None:
    """Run ``code``, which computes p from the gradient d, for each element of all parameters."""
    if ps:
        pointers = ("T *ps", "const T *gs", "T *ms", "T *vs")[: 1 + len(others)]
        parameters = [f"Wide n{index}" for index in range(len(constants))]
        code = f"Wide d = gs[i], p = ps[i]; {code} ps[i] = p;"
        scalars = [*map(wide(ps[0].dtype), constants)]
        for_each_element("update", code, pointers, (ps, *others), parameters, scalars)


# --- Kernels -------------------------------------------------------------------------------------------------


@functools.cache
def _sgd(momentum: bool, decay: bool, nesterov: bool, first: bool) -> str:
    """Return the code that computes p from the gradient d; ms are the velocities.

    n0 to n3 are lr, momentum, 1 − dampening and weight_decay.
    """
    code = "d += n3 * p;" if decay else ""
    if momentum:
        code += "Wide v = d;" if first else "Wide v = n1 * ms[i] + n2 * d;"
        code += "ms[i] = v;" + ("d += n1 * v;" if nesterov else "d = v;")
    return code + "p -= n0 * d;"


@functools.cache
def _adam(decay: bool, shrinks: bool) -> str:
    """Return the code that computes p from the gradient d.

    n0 to n7 are lr / (1 − beta1^t), (1 − beta2^t)^−½, 1 − beta1, beta2, 1 − beta2, eps, shrink and decay.
    """
    code = "p *= n6;" * shrinks + "d += n7 * p;" * decay
    code += "Wide m = ms[i] + n2 * (d - ms[i]), v = n3 * vs[i] + n4 * d * d;"
    return code + "ms[i] = m; vs[i] = v; p -= n0 * m / (sqrt(v) * n1 + n5);"
