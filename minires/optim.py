"""Optimisers and learning-rate schedules, with PyTorch's names, defaults and formulas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minires import kernels
from minires.autograd.tensor import Tensor
from minires.device import xp_of
from minires.errors import CheckpointError, ShapeError


class Optimizer:
    """What all optimisers share: parameter groups, gradients set to None, and a state that can be saved.

    Attributes
    ----------
    param_groups : one dictionary per group, with its parameters under "params" and its options beside them
    state : per parameter (by its place, counted through the groups), the arrays and counts kept between steps
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        given = list(params)
        if not given:
            raise ValueError("an optimiser needs at least one parameter")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.param_groups = [{**defaults, **group, "params": list(group["params"])} for group in groups]
        for group in self.param_groups:
            unknown = set(group) - set(defaults) - {"params"}
            if unknown:
                raise ValueError(f"unknown options {sorted(unknown)} in a parameter group; known: {sorted(defaults)}")
            _check_options(group)
        every = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in every}) != len(every):
            raise ValueError("a parameter appears twice")
        self.state: dict[int, dict[str, Any]] = {}

    def zero_grad(self) -> None:
        """Set the gradients to None."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        place = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad.array, group, self.state.setdefault(place, {}))
                place += 1

    def update(self, parameter: Tensor, g: Any, group: dict[str, Any], state: dict[str, Any]) -> None:
        """Update one parameter in place; subclasses define it."""
        raise TypeError(f"{type(self).__name__} does not define update")

    def state_dict(self) -> dict[str, Any]:
        """Options of the groups and copies of what is kept per parameter."""
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        state = {i: {k: _copy(v) for k, v in kept.items()} for i, kept in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; nothing changes unless it fits.

        Raises
        ------
        CheckpointError : if groups, options or shapes differ.
        """
        groups, state = saved["param_groups"], {int(i): kept for i, kept in saved["state"].items()}
        mine = [set(group) - {"params"} for group in self.param_groups]
        if [set(group) for group in groups] != mine:
            raise CheckpointError(f"saved groups hold {[sorted(g) for g in groups]}, not {[sorted(g) for g in mine]}")
        every = [p for group in self.param_groups for p in group["params"]]
        for place, kept in state.items():
            for name, value in kept.items():
                if place >= len(every) or (hasattr(value, "shape") and tuple(value.shape) != every[place].shape):
                    raise CheckpointError(f"the saved {name} of parameter {place} does not fit this optimiser")
        for group, options in zip(self.param_groups, groups, strict=True):
            group.update(options)
        self.state = {i: {k: _copy(v) for k, v in kept.items()} for i, kept in state.items()}


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; see the kernel `sgd_` for the formulas.

    Parameters
    ----------
    params : parameters, or dictionaries of parameters and options
    lr, momentum, dampening, weight_decay, nesterov : as in PyTorch

    Raises
    ------
    ValueError : for options out of range, or Nesterov momentum without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum needs a momentum and no dampening")
        options = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, {"lr": lr, **options})

    def update(self, parameter: Tensor, g: Any, group: dict[str, Any], state: dict[str, Any]) -> None:
        """One step of `sgd_`."""
        first = "velocity" not in state
        if first and group["momentum"]:
            state["velocity"] = _zeros_like(parameter)
        options = {k: v for k, v in group.items() if k != "params"}
        sgd_ = kernels.choose(g).sgd_
        parameter.update_(lambda p: sgd_(p, g, state.get("velocity"), **options, first=first))


class Adam(Optimizer):
    """Adam; weight decay is added to the gradient. See the kernel `adam_` for the formulas.

    Parameters
    ----------
    params : parameters, or dictionaries of parameters and options
    lr, betas, eps, weight_decay : as in PyTorch

    Raises
    ------
    ValueError : for options out of range.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, parameter: Tensor, g: Any, group: dict[str, Any], state: dict[str, Any]) -> None:
        """One step of `adam_`."""
        if not state:
            state.update(step=0, m=_zeros_like(parameter), v=_zeros_like(parameter))
        state["step"] += 1
        (beta1, beta2), adam_ = group["betas"], kernels.choose(g).adam_
        rates = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"])
        parameter.update_(lambda p: adam_(p, g, state["m"], state["v"], state["step"], *rates, self.decoupled))


class AdamW(Adam):
    """Adam with decoupled weight decay, by default 0.01 as in PyTorch."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


class Schedule:
    """A learning rate per step, as a function of the step alone: it can be resumed anywhere.

    Attributes
    ----------
    last_epoch : how often `step` was called
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self._set()

    def rate(self, base: float, step: int) -> float:
        """The learning rate at ``step`` for a group that began with ``base``; subclasses define it."""
        raise TypeError(f"{type(self).__name__} does not define rate")

    def step(self) -> None:
        """Go on by one step, after the optimiser's."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The step and the rates that the groups began with."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.last_epoch, self.base_lrs = int(saved["last_epoch"]), list(saved["base_lrs"])
        self._set()

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rate(base, self.last_epoch)


class MultiStepLR(Schedule):
    """Multiply by ``gamma`` at each of the ``milestones``."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """Base times gamma to the number of milestones passed."""
        return base * self.gamma ** sum(step >= milestone for milestone in self.milestones)


class StepLR(Schedule):
    """Multiply by ``gamma`` every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """Base times gamma to the number of whole step sizes."""
        return base * self.gamma ** (step // self.step_size)


class CosineAnnealingLR(Schedule):
    """Half a cosine from the base rate down to ``eta_min`` in ``T_max`` steps."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """eta_min + (base − eta_min) (1 + cos(π step / T_max)) / 2."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2


class OneCycleLR(Schedule):
    """Up from max_lr / div_factor to max_lr, then down to a tiny fraction of the start, both along cosines.

    Parameters
    ----------
    max_lr, total_steps, pct_start, div_factor, final_div_factor : as in PyTorch, which also cycles the momentum;
        here that stays as it is (PyTorch's ``cycle_momentum=False``)

    Raises
    ------
    ShapeError : after ``total_steps`` steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.max_lr, self.total_steps, self.pct_start = max_lr, total_steps, pct_start
        self.start = max_lr / div_factor
        self.end = self.start / final_div_factor
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """The rate at ``step``; the groups' own rates play no part."""
        if step >= self.total_steps:
            raise ShapeError(f"step {step} is beyond the {self.total_steps} steps of the cycle")
        peak, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if step <= peak:
            return _cosine(self.start, self.max_lr, step / peak)
        return _cosine(self.max_lr, self.end, (step - peak) / (last - peak))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


def _check_options(group: Mapping[str, Any]) -> None:
    for name in ("lr", "momentum", "eps", "weight_decay"):
        if name in group and not group[name] >= 0:
            raise ValueError(f"{name} must not be negative, got {group[name]!r}")
    if any(not 0 <= beta < 1 for beta in group.get("betas", ())):
        raise ValueError(f"betas must lie in [0, 1), got {group['betas']!r}")


def _zeros_like(parameter: Tensor) -> Any:
    array = parameter.array
    zeros = xp_of(array).empty_like(array)
    zeros[...] = 0
    return zeros


def _copy(value: Any) -> Any:
    return value.copy(order="K") if hasattr(value, "copy") else value
