"""Learning-rate schedules, with the formulas of PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral

from minires.optim.optimizer import Optimizer
from minires.optim.schedule import Schedule
from minires.options import check_integer, check_not_negative, check_number, check_positive


class MultiStepLR(Schedule):
    """Multiply the rate by ``gamma`` at each of the ``milestones``.

    Parameters
    ----------
    optimizer : the optimizer with the rates
    milestones : steps, in any order; a step that occurs twice multiplies twice
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
        """Return base · gamma^n, for n milestones up to this step."""
        return base * self.gamma ** sum(step >= milestone for milestone in self.milestones)

    def following(self, lr: float, base: float, step: int) -> float:
        """Return lr · gamma^n, for n milestones at this step."""
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
        """Return base · gamma^n, for n multiples of the step size up to this step."""
        return base * self.gamma ** (step // self.step_size)

    def following(self, lr: float, base: float, step: int) -> float:
        """Return lr, multiplied by gamma at each multiple of the step size."""
        return lr if step % self.step_size else lr * self.gamma


class CosineAnnealingLR(Schedule):
    """Lower the rate to ``eta_min`` in ``T_max`` steps along half a cosine, then raise it again, and so on.

    With f(t) = (1 + cos(π t / T_max)) / 2, the rate at step t is

        f(t) · base + (1 − f(t)) · eta_min                                        (1)

    and after a rate lr that the user or another schedule set at step t − 1

        eta_min + (lr − eta_min) · f(t) / f(t − 1),                               (2)
        lr + (base − eta_min) · f(t)    where f(t − 1) = 0,                       (3)

    but at least 0: where lr is below eta_min, (2) may be negative.

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
        """Return f(step), as the square of a sine: its relative error stays small where 1 + cos cancels."""
        from_bottom = abs(step % (2 * self.T_max) - self.T_max)
        return math.sin(math.pi * from_bottom / (2 * self.T_max)) ** 2

    def rate(self, base: float, step: int) -> float:
        """Return the rate of equation (1)."""
        part = self.factor(step)
        return part * base + (1 - part) * self.eta_min  # (1)

    def following(self, lr: float, base: float, step: int) -> float:
        """Return the rate of equations (2) and (3)."""
        before, part = self.factor(step - 1), self.factor(step)
        if before == 0:
            return max(lr + (base - self.eta_min) * part, 0.0)  # (3)
        return max(self.eta_min + (lr - self.eta_min) * (part / before), 0.0)  # (2)


class OneCycleLR(Schedule):
    """Raise the rate from max_lr / div_factor to max_lr, then lower it to a tiny fraction, both along half a cosine.

    This is PyTorch's with ``cycle_momentum=False``. PyTorch's default changes the momentum too; here it stays. As in
    PyTorch, the rate before has no effect: what another schedule or the user set is overwritten.

    Parameters
    ----------
    max_lr : the largest rate, for all groups
    total_steps : the number of steps in the cycle; by default ``epochs`` · ``steps_per_epoch``
    pct_start : the part of the cycle in which the rate rises, in [0, 1]
    div_factor, final_div_factor : max_lr / first rate, and first rate / last rate
    cycle_momentum : must be False

    Raises
    ------
    ValueError : for options out of range, without a number of steps, and with ``cycle_momentum``. `step` raises it
        after step ``total_steps``, which still has a rate, as in PyTorch: a loop's last call of `step` sets it.
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
        """Return the rate at ``step``; the rates that the groups began with have no effect."""
        if step > self.total_steps:
            raise ValueError(f"step {step} is beyond the {self.total_steps} steps of the cycle; make it longer")
        start = self.max_lr / self.div_factor
        peak, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        # A rise that ends at step 0, or lasts to the end, gives 0 / 0 in PyTorch; here the rate is the peak.
        if peak > 0 and step <= peak:
            return _cosine(start, self.max_lr, step / peak)
        fallen = (step - peak) / (last - peak) if peak < last else 0
        return _cosine(self.max_lr, start / self.final_div_factor, fallen)


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
