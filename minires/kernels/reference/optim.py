"""One step of an optimizer for several parameters, in place: the trailing underscore says so.

The parameters are independent. A call takes all of them, so that a fast kernel can divide them among threads, or a CUDA
kernel update them in one launch. All arguments are checked before anything changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from minires.device import Array, xp_of
from minires.kernels.checks import check_adam, check_sgd
from minires.kernels.float16 import in_float32


@in_float32(changes=("ps", "velocities"))
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
    """Take one step of stochastic gradient descent.

        d = g + weight_decay · p                                                  (1)
        v ← momentum · v + (1 − dampening) · d;    in the first step v ← d        (2)
        d ← d + momentum · v  (Nesterov)  or  v                                   (3)
        p ← p − lr · d                                                            (4)

    Without momentum there are no (2) and (3).

    Parameters
    ----------
    ps : the parameters p, which are changed
    gs : the gradient g of each parameter, of the same dtype
    velocities : the v of each parameter, which is changed; its values do not matter in the first step; None without
        momentum
    lr, momentum, dampening, weight_decay, nesterov : as in PyTorch's SGD
    first : whether this is the first step of these parameters

    Raises
    ------
    ShapeError : if the lists differ in length or shapes, or there is momentum without velocities.
    DtypeError : if the dtypes differ.

    Identity that tests it: with constant g, after t steps v = g · (1 − momentumᵗ) / (1 − momentum).
    Source: Sutskever et al. 2013; the form is that of torch.optim.SGD.
    """
    check_sgd(ps, gs, velocities, momentum)
    kept: Sequence[Array | None] = [None] * len(ps) if velocities is None else velocities
    for p, g, v in zip(ps, gs, kept, strict=True):
        d = g + float(weight_decay) * p if weight_decay else g  # (1)
        if momentum and v is not None:
            if first:
                v[...] = d  # (2)
            else:
                v *= float(momentum)
                v += d if dampening == 0 else (1 - float(dampening)) * d
            d = d + float(momentum) * v if nesterov else v  # (3)
        p -= float(lr) * d  # (4)


@in_float32(changes=("ps", "ms", "vs"))
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
    """Take one step of Adam or, with decoupled weight decay, of AdamW.

        g ← g + weight_decay · p    (Adam)    or    p ← p − lr · weight_decay · p    (AdamW)    (1)
        m ← m + (1 − beta1) · (g − m)                                             (2)
        v ← beta2 · v + (1 − beta2) · g²                                          (3)
        p ← p − lr · m_hat / (sqrt(v_hat) + eps)                                  (4)

    where m_hat = m / (1 − beta1^step) and v_hat = v / (1 − beta2^step) correct for the start at zero.

    Parameters
    ----------
    ps : the parameters p, which are changed
    gs : the gradient g of each parameter, of the same dtype
    ms, vs : the running means m of g and v of g² of each parameter, which are changed; zeros before the first step
    step : 1 in the first step of these parameters
    lr, beta1, beta2, eps, weight_decay : as in PyTorch's Adam
    decoupled : whether weight decay acts on p directly (AdamW)

    Raises
    ------
    ShapeError : if the lists differ in length or shapes, or step is less than 1.
    DtypeError : if the dtypes differ.

    Identity that tests it: the first step is lr · g / (|g| + eps), which hardly depends on the size of g.
    Source: Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101; the form is that of
    torch.optim.Adam and AdamW.
    """
    check_adam(ps, gs, ms, vs, step)
    lr, beta1, beta2 = float(lr), float(beta1), float(beta2)
    for p, g, m, v in zip(ps, gs, ms, vs, strict=True):
        if weight_decay and decoupled:
            p *= 1 - lr * float(weight_decay)  # (1)
        elif weight_decay:
            g = g + float(weight_decay) * p
        m += (1 - beta1) * (g - m)  # (2)
        v *= beta2
        v += (1 - beta2) * g * g  # (3)
        root = xp_of(v).sqrt(v) / (1 - beta2**step) ** 0.5
        p -= lr / (1 - beta1**step) * m / (root + float(eps))  # (4)
