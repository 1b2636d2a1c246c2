"""Learning-rate schedules that multiply the rate they find, as PyTorch's chainable form does.

A schedule has two formulas. `rate` gives the rate of a step from the one that a group began with. `following` gives
the next rate from the one that the group has now. `step` uses the first as long as nothing but the schedule moved the
rate: then ten thousand steps round as often as one. Otherwise, where another schedule or a hand set it, it uses the
second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from minires.errors import CheckpointError
from minires.optim.optimizer import Optimizer
from minires.optim.options import check_integer, check_not_negative, check_number, check_positive


class Schedule:
    """The base of all schedules: a learning rate per step, for each group of an optimizer.

    A subclass sets its options, each an attribute of its name, before it calls this constructor. It defines `rate`,
    and `following` unless it sets the rate whatever it was.

    Raises
    ------
    TypeError : if ``optimizer`` is not an optimizer.

    Attributes
    ----------
    last_epoch : how often `step` was called
    base_lrs : the rate that each group had when the schedule first saw it
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__} needs an optimizer first, such as optim.SGD(model.parameters(), 0.1), "
                f"not a {type(optimizer).__name__}"
            )
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = self.get_last_lr()
        self._set([self.rate(base, 0) for base in self.base_lrs])

    def __repr__(self) -> str:
        own = {k: v for k, v in vars(self).items() if k not in ("optimizer", "base_lrs", "last_epoch")}
        shown = {**own, "last_epoch": self.last_epoch, "lr": self.get_last_lr()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def rate(self, base: float, step: int) -> float:
        """Return the learning rate at ``step`` of a group that began with ``base`` and that nothing else changed."""
        raise TypeError(f"{type(self).__name__} does not define rate")

    def following(self, lr: float, base: float, step: int) -> float:
        """Return the learning rate at ``step`` of a group that has ``lr`` at the step before and began with ``base``.

        By default ``lr`` plays no part: the schedule sets the rate, and does not multiply it.
        """
        return self.rate(base, step)

    def step(self) -> None:
        """Go on by one step, after the optimizer's; a group added since begins with the rate it has.

        Raises
        ------
        ValueError : if a group's rate was set to something out of range; nothing changes then.
        """
        bases, step = self._bases(), self.last_epoch + 1
        rates = [self._next(lr, base, step) for lr, base in zip(self.get_last_lr(), bases, strict=True)]
        self.base_lrs, self.last_epoch = bases, step
        self._set(rates)

    def get_last_lr(self) -> list[float]:
        """Return the learning rate that each group has now."""
        for place, group in enumerate(self.optimizer.param_groups):
            check_not_negative(f"lr of group {place}", group["lr"])
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the step, the rates that the groups began with, and the rates that they have now."""
        return {"last_epoch": self.last_epoch, "base_lrs": self._bases(), "_last_lr": self.get_last_lr()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; nothing changes unless it fits.

        The groups get the rates that they had then. A state without ``_last_lr`` gives them the rates of this schedule
        alone. States of several schedules of one optimizer, taken at the same step, load in any order.

        Raises
        ------
        CheckpointError : if it is no such state, or of another number of groups or beyond the end.
        """
        if not (isinstance(saved, Mapping) and {"last_epoch", "base_lrs"} <= set(saved)):
            found = list(saved) if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
            raise CheckpointError(f"a schedule's state has 'last_epoch' and 'base_lrs', got {found}; use state_dict()")
        bases = self._saved_rates("base_lrs", saved["base_lrs"])
        try:
            check_integer("last_epoch", saved["last_epoch"], least=0)
            step = int(saved["last_epoch"])
            rates = [self.rate(base, step) for base in bases]
        except ValueError as error:
            raise CheckpointError(f"the saved state does not fit {self!r}: {error}") from error
        if "_last_lr" in saved:
            rates = self._saved_rates("_last_lr", saved["_last_lr"])
        self.base_lrs, self.last_epoch = bases, step
        self._set(rates)

    def _saved_rates(self, name: str, saved: Any) -> list[float]:
        count = len(self.optimizer.param_groups)
        if not (isinstance(saved, list | tuple | np.ndarray) and len(saved) == count):
            raise CheckpointError(f"saved {name} must be one rate for each of {count} groups, got {saved!r}")
        for rate in saved:
            try:
                check_not_negative(f"each of {name}", rate)
            except ValueError as error:
                raise CheckpointError(f"the saved state does not fit {self!r}: {error}") from error
        return [float(rate) for rate in saved]

    def _next(self, lr: float, base: float, step: int) -> float:
        alone = lr == self.rate(base, self.last_epoch)
        return self.rate(base, step) if alone else self.following(lr, base, step)

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _bases(self) -> list[float]:
        """The rates that the groups began with; of one that was added since, the rate it has."""
        return [*self.base_lrs, *self.get_last_lr()[len(self.base_lrs) :]]


class MultiStepLR(Schedule):
    """Multiply the rate by ``gamma`` at each of the ``milestones``.

    Parameters
    ----------
    optimizer : whose rates it multiplies
    milestones : steps, in any order; one that occurs twice multiplies twice
    gamma : the factor

    Raises
    ------
    ValueError : if a milestone is not an integer from 0 on, or gamma is negative or not finite.
    TypeError : if ``milestones`` is not a list of numbers, or ``optimizer`` not an optimizer.
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        if isinstance(milestones, str | Mapping) or not isinstance(milestones, Iterable):
            raise TypeError(f"milestones must be a list of steps, such as [30, 60], got {milestones!r}")
        milestones = list(milestones)
        for milestone in milestones:
            check_integer("each milestone", milestone, least=0)
        check_not_negative("gamma", gamma)
        self.milestones, self.gamma = sorted(map(int, milestones)), float(gamma)
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """Base times gamma to the number of milestones passed."""
        return base * self.gamma ** sum(step >= milestone for milestone in self.milestones)

    def following(self, lr: float, base: float, step: int) -> float:
        """The rate times gamma to the number of milestones at this step."""
        return lr * self.gamma ** self.milestones.count(step)


class StepLR(Schedule):
    """Multiply the rate by ``gamma`` every ``step_size`` steps.

    Raises
    ------
    ValueError : if step_size is not an integer from 1 on, or gamma is negative or not finite.
    TypeError : if ``optimizer`` is not an optimizer.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        check_integer("step_size", step_size)
        check_not_negative("gamma", gamma)
        self.step_size, self.gamma = int(step_size), float(gamma)
        super().__init__(optimizer)

    def rate(self, base: float, step: int) -> float:
        """Base times gamma to the number of whole step sizes."""
        return base * self.gamma ** (step // self.step_size)

    def following(self, lr: float, base: float, step: int) -> float:
        """The rate, at each multiple of the step size times gamma."""
        return lr if step % self.step_size else lr * self.gamma


class CosineAnnealingLR(Schedule):
    """Half a cosine from the rate down to ``eta_min`` in ``T_max`` steps, then up again, and so on.

    With f(t) = (1 + cos(π t / T_max)) / 2, the rate at step t is

        f(t) · base + (1 − f(t)) · eta_min                                        (1)

    and after a rate lr that something else set at step t − 1

        eta_min + (lr − eta_min) · f(t) / f(t − 1),                               (2)
        lr + (base − eta_min) · f(t)    where f(t − 1) = 0,                       (3)

    but no less than 0, which (2) can pass where lr is below eta_min.

    Raises
    ------
    ValueError : if T_max is not above 0, or eta_min is negative or not finite.
    TypeError : if ``optimizer`` is not an optimizer.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        check_positive("T_max", T_max)
        check_not_negative("eta_min", eta_min)
        self.T_max = int(T_max) if isinstance(T_max, Integral) else float(T_max)
        self.eta_min = float(eta_min)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Return f(step) as the square of a sine, whose relative error stays small where 1 + cos cancels."""
        from_bottom = abs(step % (2 * self.T_max) - self.T_max)
        return math.sin(math.pi * from_bottom / (2 * self.T_max)) ** 2

    def rate(self, base: float, step: int) -> float:
        """Equation (1)."""
        part = self.factor(step)
        return part * base + (1 - part) * self.eta_min  # (1)

    def following(self, lr: float, base: float, step: int) -> float:
        """Equations (2) and (3)."""
        before, part = self.factor(step - 1), self.factor(step)
        if before == 0:
            return max(lr + (base - self.eta_min) * part, 0.0)  # (3)
        return max(self.eta_min + (lr - self.eta_min) * (part / before), 0.0)  # (2)


class OneCycleLR(Schedule):
    """Up from max_lr / div_factor to max_lr, then down to a tiny fraction of the start, both along cosines.

    This is PyTorch's with ``cycle_momentum=False``. Its default cycles the momentum as well; here that stays as it is.
    As in PyTorch it sets the rate whatever that was: it does not multiply what another schedule or a hand set.

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
    TypeError : if ``optimizer`` is not an optimizer.
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
            total_steps = int(epochs) * int(steps_per_epoch)
        check_integer("total_steps", total_steps)
        check_number("pct_start", pct_start, lambda number: 0 <= number <= 1, "a number in [0, 1]")
        check_not_negative("max_lr", max_lr)
        check_positive("div_factor", div_factor)
        check_positive("final_div_factor", final_div_factor)
        self.max_lr, self.total_steps, self.pct_start = float(max_lr), int(total_steps), float(pct_start)
        self.div_factor, self.final_div_factor = float(div_factor), float(final_div_factor)
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
