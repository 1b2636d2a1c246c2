"""The base of learning-rate schedules.

Schedules multiply the learning rate that they find, as PyTorch's chainable form does. A schedule has two formulas.
`rate` returns the rate of a step from the rate that a group began with. `following` returns it from the rate that the
group has now. `step` uses `rate` while only the schedule changes the rate: then ten thousand steps round as often as
one. It uses `following` after another schedule or the user has set the rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minires.errors import CheckpointError
from minires.optim.optimizer import Optimizer
from minires.options import check_integer, check_not_negative


class Schedule:
    """The base of all schedules, which set the learning rate of each group of an optimizer at each step.

    A subclass stores each option in an attribute of the same name, then calls this constructor. It defines `rate`. It
    also defines `following`, unless its rates do not depend on the rate before.

    Raises
    ------
    TypeError : if ``optimizer`` is not an optimizer.

    Attributes
    ----------
    last_epoch : the number of calls of `step`
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
        """Return the learning rate at ``step`` of a group that began with ``base``, if nothing else changed it."""
        raise TypeError(f"{type(self).__name__} does not define rate")

    def following(self, lr: float, base: float, step: int) -> float:
        """Return the learning rate at ``step`` of a group that began with ``base`` and had ``lr`` at the step before.

        By default ``lr`` has no effect: the schedule sets the rate, and does not multiply it.
        """
        return self.rate(base, step)

    def step(self) -> None:
        """Set the rates of the next step. Call it after the optimizer's ``step``.

        A group that was added since the last call begins with the rate that it has now.

        Raises
        ------
        ValueError : if the rate of a group is out of range; then nothing has changed.
        """
        bases, step = self._bases(), self.last_epoch + 1
        rates = [self._next(lr, base, step) for lr, base in zip(self.get_last_lr(), bases, strict=True)]
        self.base_lrs, self.last_epoch = bases, step
        self._set(rates)

    def get_last_lr(self) -> list[float]:
        """Return the learning rate that each group has now."""
        for number, group in enumerate(self.optimizer.param_groups):
            check_not_negative(f"lr of group {number}", group["lr"])
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the step, the rates that the groups began with, and the rates that they have now."""
        return {"last_epoch": self.last_epoch, "base_lrs": self._bases(), "_last_lr": self.get_last_lr()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, and continue from there; nothing changes unless all fits.

        The groups get the rates that they had then. Without ``_last_lr`` they get the rates of this schedule alone.
        States of several schedules of one optimizer, saved at the same step, load in any order.

        Raises
        ------
        CheckpointError : if ``saved`` is not such a state, has another number of groups, or a step beyond the end.
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
        """Return the rates that the groups began with; for a group that was added since, its rate now."""
        return [*self.base_lrs, *self.get_last_lr()[len(self.base_lrs) :]]
