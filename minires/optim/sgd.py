"""Stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from minires import kernels
from minires.device import Array, full_like
from minires.optim.optimizer import Optimizer, Params
from minires.options import check_not_negative, check_number


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; see the kernel `sgd_` for the formulas.

    Parameters
    ----------
    params : parameters, or dictionaries of parameters and options; see `Optimizer`
    lr, momentum, dampening, weight_decay, nesterov : as in PyTorch

    Raises
    ------
    ValueError : for options out of range, or Nesterov momentum without momentum or with dampening.
    TypeError, GraphError : for parameters that a step cannot change; see `Optimizer`.
    """

    arrays = ("velocity",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        options = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, {"lr": lr, **options})

    def check_options(self, group: Mapping[str, Any]) -> None:
        """Check momentum, dampening and Nesterov momentum too."""
        super().check_options(group)
        check_not_negative("momentum", group["momentum"])
        check_number("dampening", group["dampening"], math.isfinite, "a finite number")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            momentum, dampening = group["momentum"], group["dampening"]
            raise ValueError(
                "Nesterov momentum needs a momentum above 0 and a dampening of 0, "
                f"got momentum {momentum!r} and dampening {dampening!r}"
            )

    def stage(self, state: dict[str, Any]) -> bool:
        """Return whether there is a velocity; there is none before the first step of a parameter."""
        return "velocity" in state

    def update(self, ps: list[Array], gs: list[Array], group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        """Make one step with the kernel `sgd_`."""
        velocities, first = None, not self.stage(states[0])
        if not first:
            velocities = [state["velocity"] for state in states]
        elif group["momentum"]:
            velocities = [full_like(p, 0) for p in ps]
        options = {k: v for k, v in group.items() if k != "params"}
        kernels.choose(ps[0]).sgd_(ps, gs, velocities, **options, first=first)
        for state, velocity in zip(states, velocities or (), strict=False):
            state["velocity"] = velocity
