"""One step of an optimiser for one parameter, in place: the trailing underscore says so.

Nothing is changed when an argument does not fit: everything is checked first.
"""

from __future__ import annotations

from minires.device import Array, xp_of
from minires.errors import ShapeError
from minires.kernels.checks import check_step


def sgd_(
    p: Array,
    g: Array,
    velocity: Array | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """One step of stochastic gradient descent.

        d = g + weight_decay · p                                                  (1)
        v ← momentum · v + (1 − dampening) · d,    in the first step v ← d        (2)
        d ← d + momentum · v  (Nesterov)  or  v                                   (3)
        p ← p − lr · d                                                            (4)

    Without momentum, (2) and (3) fall away.

    Parameters
    ----------
    p, g : the parameter, which is changed, and its gradient, which is not
    velocity : v, which is changed; may be None without momentum, and may hold anything in the first step
    lr, momentum, dampening, weight_decay, nesterov : numbers as in PyTorch's SGD
    first : whether this is the first step of the parameter

    Raises
    ------
    ShapeError : if the shapes differ, or there is momentum and no velocity.
    DtypeError : if the dtypes differ.

    Identity that tests it: with constant g, after t steps v = g · (1 − momentumᵗ) / (1 − momentum).
    Source: Sutskever et al. 2013; the form is that of torch.optim.SGD.
    """
    if momentum and velocity is None:
        raise ShapeError(f"momentum {momentum} needs a velocity of shape {p.shape}, got None")
    check_step(p, g, *([] if velocity is None else [velocity]))
    d = g + float(weight_decay) * p if weight_decay else g  # (1)
    if momentum and velocity is not None:
        if first:
            velocity[...] = d  # (2)
        else:
            velocity *= float(momentum)
            velocity += d if dampening == 0 else (1 - float(dampening)) * d
        d = d + float(momentum) * velocity if nesterov else velocity  # (3)
    p -= float(lr) * d  # (4)


def adam_(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam or, with decoupled weight decay, of AdamW.

        g ← g + weight_decay · p    (Adam)    or    p ← p − lr · weight_decay · p    (AdamW)    (1)
        m ← m + (1 − beta1) · (g − m)                                             (2)
        v ← beta2 · v + (1 − beta2) · g²                                          (3)
        p ← p − lr · m_hat / (sqrt(v_hat) + eps)                                  (4)

    where m_hat = m / (1 − beta1^step) and v_hat = v / (1 − beta2^step) make up for starting at zero.

    Parameters
    ----------
    p, g : the parameter, which is changed, and its gradient, which is not
    m, v : running means of g and g², which are changed; zeros before the first step
    step : 1 in the first step
    lr, beta1, beta2, eps, weight_decay : numbers as in PyTorch's Adam
    decoupled : whether weight decay acts on p directly (AdamW)

    Raises
    ------
    ShapeError : if the shapes differ, or step is less than 1.
    DtypeError : if the dtypes differ.

    Identity that tests it: the first step is lr · g / (|g| + eps), so it hardly depends on the size of g.
    Source: Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101; the form is that of
    torch.optim.Adam and AdamW.
    """
    check_step(p, g, m, v)
    if step < 1:
        raise ShapeError(f"adam_ counts steps from 1, got step {step}")
    lr, beta1, beta2 = float(lr), float(beta1), float(beta2)
    if weight_decay and decoupled:
        p *= 1 - lr * float(weight_decay)  # (1)
    elif weight_decay:
        g = g + float(weight_decay) * p
    m += (1 - beta1) * (g - m)  # (2)
    v *= beta2
    v += (1 - beta2) * g * g  # (3)
    scale = xp_of(v).sqrt(v)
    scale /= (1 - beta2**step) ** 0.5
    scale += float(eps)
    p -= lr / (1 - beta1**step) * m / scale  # (4)
