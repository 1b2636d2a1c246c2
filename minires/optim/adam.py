"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minires import kernels
from minires.device import Array, full_like
from minires.optim.optimizer import Optimizer, Params
from minires.options import check_not_negative, check_number


class Adam(Optimizer):
    """Adam, which adds the weight decay to the gradient; see the kernel `adam_` for the formulas.

    Parameters
    ----------
    params : parameters, or dictionaries of parameters and options; see `Optimizer`
    lr, betas, eps, weight_decay : as in PyTorch

    Raises
    ------
    ValueError : for options out of range.
    TypeError, GraphError : for parameters that a step cannot change; see `Optimizer`.
    """

    arrays, counts = ("m", "v"), ("step",)
    decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        betas = tuple(betas.tolist()) if isinstance(betas, np.ndarray) else betas
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check_options(self, group: Mapping[str, Any]) -> None:
        """Check eps and the two betas too."""
        super().check_options(group)
        check_not_negative("eps", group["eps"])
        betas = group["betas"]
        if not (isinstance(betas, list | tuple | np.ndarray) and len(betas) == 2):
            raise ValueError(f"betas must be two numbers in [0, 1), got {betas!r}")
        for index, beta in enumerate(betas):
            check_number(f"betas[{index}]", beta, lambda number: 0 <= number < 1, "a number in [0, 1)")

    def stage(self, state: dict[str, Any]) -> int:
        """Return the number of steps so far."""
        return state.get("step", 0)

    def update(self, ps: list[Array], gs: list[Array], group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        """Make one step with the kernel `adam_`."""
        ms, vs = (
            [state[name] if name in state else full_like(p, 0) for p, state in zip(ps, states, strict=True)]
            for name in ("m", "v")
        )
        step = self.stage(states[0]) + 1
        rates = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
        kernels.choose(ps[0]).adam_(ps, gs, ms, vs, step, *rates, self.decoupled)
        for state, m, v in zip(states, ms, vs, strict=True):
            state.update(step=step, m=m, v=v)


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default as in PyTorch."""

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
