"""Learning-rate schedules: the rate as a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from minires.errors import CheckpointError
from minires.optim.optimizer import Optimizer
from minires.optim.options import check_integer, check_not_negative, check_number, check_positive


class Schedule:
    """A learning rate per step, as a function of the step alone: it can be resumed anywhere.

    A subclass sets its options, each an attribute of its name, before it calls this constructor; its `rate` is
    a + b · base with some a and b for each step.

    Attributes
    ----------
    last_epoch : how often `step` was called
    base_lrs : the rate that each group began with
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = self.get_last_lr()
        self._set(0, self.base_lrs)

    def __repr__(self) -> str:
        own = {k: v for k, v in vars(self).items() if k not in ("optimizer", "base_lrs", "last_epoch")}
        shown = {**own, "last_epoch": self.last_epoch, "lr": self.get_last_lr()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def rate(self, base: float, step: int) -> float:
        """The learning rate at ``step`` for a group that began with ``base``; subclasses define it."""
        raise TypeError(f"{type(self).__name__} does not define rate")

    def step(self) -> None:
        """Go on by one step, after the optimizer's; a group added since begins with the rate it has."""
        self._set(self.last_epoch + 1, self._bases())

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The step and the rates that the groups began with."""
        return {"last_epoch": self.last_epoch, "base_lrs": self._bases()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; nothing changes unless it fits.

        Raises
        ------
        CheckpointError : if it is no such state, or of another number of groups or beyond the end.
        """
        if not (isinstance(saved, Mapping) and {"last_epoch", "base_lrs"} <= set(saved)):
            found = list(saved) if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
            raise CheckpointError(f"a schedule's state has 'last_epoch' and 'base_lrs', got {found}; use state_dict()")
        step, bases, count = saved["last_epoch"], saved["base_lrs"], len(self.optimizer.param_groups)
        if not (isinstance(bases, list | tuple) and len(bases) == count):
            raise CheckpointError(f"saved base_lrs must be one rate for each of {count} groups, got {bases!r}")
        try:
            check_integer("last_epoch", step, least=0)
            for base in bases:
                check_not_negative("each of base_lrs", base)
            self._set(int(step), [float(base) for base in bases])
        except ValueError as error:
            raise CheckpointError(f"the saved state does not fit {self!r}: {error}") from error

    def _set(self, step: int, bases: list[float]) -> None:
        rates = [self.rate(base, step) for base in bases]  # may raise: nothing has changed yet
        self.last_epoch, self.base_lrs = step, bases
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _bases(self) -> list[float]:
        """The rates that the groups began with; for one that was added since, a rate that would have led to its own."""
        bases = list(self.base_lrs)
        for lr in self.get_last_lr()[len(bases) :]:
            zero, one = self.rate(0.0, self.last_epoch), self.rate(1.0, self.last_epoch)
            bases.append((lr - zero) / (one - zero) if one != zero else lr)
        return bases


class MultiStepLR(Schedule):
    """Multiply by ``gamma`` at each of the ``milestones``.

    Raises
    ------
    ValueError : if a milestone is not an integer from 0 on, or gamma is negative or not finite.
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        milestones = list(milestones)
        for milestone in milestones:
            check_integer("each milestone", milestone, least=0)
        check_not_negative("gamma", gamma)
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """Base times gamma to the number of milestones passed."""
        return base * self.gamma ** sum(step >= milestone for milestone in self.milestones)


class StepLR(Schedule):
    """Multiply by ``gamma`` every ``step_size`` steps.

    Raises
    ------
    ValueError : if step_size is not an integer from 1 on, or gamma is negative or not finite.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        check_integer("step_size", step_size)
        check_not_negative("gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """Base times gamma to the number of whole step sizes."""
        return base * self.gamma ** (step // self.step_size)


class CosineAnnealingLR(Schedule):
    """Half a cosine from the base rate down to ``eta_min`` in ``T_max`` steps.

    Raises
    ------
    ValueError : if T_max is not above 0, or eta_min is negative or not finite.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        check_positive("T_max", T_max)
        check_not_negative("eta_min", eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """eta_min + (base − eta_min) (1 + cos(π step / T_max)) / 2."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2


class OneCycleLR(Schedule):
    """Up from max_lr / div_factor to max_lr, then down to a tiny fraction of the start, both along cosines.

    This is PyTorch's with ``cycle_momentum=False``. Its default cycles the momentum as well; here that stays as it is.

    Parameters
    ----------
    max_lr : the largest rate, of all groups
    total_steps : how many steps the cycle has; None: ``epochs`` · ``steps_per_epoch``
    pct_start : the part of the cycle in which the rate rises, in [0, 1]
    div_factor, final_div_factor : max_lr over the first rate; the first rate over the last
    cycle_momentum : False

    Raises
    ------
    ValueError : for options out of range, without a number of steps, with ``cycle_momentum``; in `step`, beyond
        step ``total_steps`` (as in PyTorch, that one still has a rate, which the loop's last call of `step` sets).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        *,
        cycle_momentum: bool = False,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        if cycle_momentum:
            raise ValueError("OneCycleLR leaves the momentum as it is; cycle_momentum must be False, got True")
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "OneCycleLR needs total_steps, or epochs and steps_per_epoch; "
                    f"got epochs={epochs} and steps_per_epoch={steps_per_epoch}"
                )
            check_integer("epochs", epochs)
            check_integer("steps_per_epoch", steps_per_epoch)
            total_steps = epochs * steps_per_epoch
        check_integer("total_steps", total_steps)
        check_number("pct_start", pct_start, lambda number: 0 <= number <= 1, "a number in [0, 1]")
        check_not_negative("max_lr", max_lr)
        check_positive("div_factor", div_factor)
        check_positive("final_div_factor", final_div_factor)
        self.max_lr, self.total_steps, self.pct_start = max_lr, total_steps, pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """The rate at ``step``; the groups' own rates play no part."""
        if step > self.total_steps:
            raise ValueError(f"step {step} is beyond the {self.total_steps} steps of the cycle; make it longer")
        start = self.max_lr / self.div_factor
        peak, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        # A rise that is over at step 0, or lasts to the end, leaves no way between: 0 / 0 in PyTorch; here, the peak.
        if peak > 0 and step <= peak:
            return _cosine(start, self.max_lr, step / peak)
        fallen = (step - peak) / (last - peak) if peak < last else 0
        return _cosine(self.max_lr, start / self.final_div_factor, fallen)


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
