"""Dynamic loss scaling, so that small gradients are not lost in float16."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minires import kernels
from minires.autograd.tensor import Tensor
from minires.device import Array, on_device_of, wide_dtype
from minires.errors import CheckpointError, DtypeError
from minires.optim.optimizer import Optimizer
from minires.optim.options import check_integer, check_number

# Of a scale: it and its inverse, which gradients are multiplied by, are normal numbers in float32.
_LEAST, _MOST = float(np.finfo(np.float32).tiny), 1 / float(np.finfo(np.float32).tiny)


@dataclass
class _Progress:
    """What was done for an optimizer since the last update: its gradients are unscaled, and maybe it has stepped."""

    finite: list[Array] = field(default_factory=list)  # one flag for each device, which nobody has waited for yet
    stepped: bool = False

    @functools.cached_property
    def all_finite(self) -> bool:
        """Whether all gradients are; waits for the devices."""
        return all(bool(flag) for flag in self.finite)


class LossScaler:
    """Dynamic loss scaling: `torch.amp.GradScaler`, for parameters in float16 or any other dtype.

        scaler = optim.LossScaler()
        for images, labels in batches:
            loss = F.cross_entropy(model(images).to("float32"), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    A float16 below 6·10⁻⁸ is zero, as many gradients are. Those of a loss times ``scale`` are not; before the step they
    are divided by it, in float32. Where one is infinite or NaN the step is skipped, and the scale becomes smaller;
    after ``growth_interval`` steps without, it becomes larger.

    The loss is best computed in float32, as above: the gradient of a loss in float16 is the scale itself, which may
    then be no more than 65504.

    Parameters
    ----------
    init_scale : the scale at first, from 2⁻¹²⁶ to 2¹²⁶, as ever after
    growth_factor, backoff_factor : by which it is multiplied when it grows, and when a step is skipped
    growth_interval : how many steps without an infinite or NaN gradient let it grow

    Raises
    ------
    ValueError : for options out of range.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        self._progress: dict[Optimizer, _Progress] = {}
        _check_scale("init_scale", init_scale)
        self._take(init_scale, growth_factor, backoff_factor, growth_interval, 0)

    def _take(self, scale: Any, growth_factor: Any, backoff_factor: Any, growth_interval: Any, tracker: Any) -> None:
        """Set everything, unless something is out of range."""
        _check_scale("scale", scale)
        check_number("growth_factor", growth_factor, lambda x: 1 < x < math.inf, "a finite number above 1")
        check_number("backoff_factor", backoff_factor, lambda x: 0 < x < 1, "a number between 0 and 1")
        check_integer("growth_interval", growth_interval)
        check_integer("_growth_tracker", tracker, 0)
        self.growth_factor, self.backoff_factor = float(growth_factor), float(backoff_factor)
        self.growth_interval = int(growth_interval)
        self._scale, self._growth_tracker = float(scale), int(tracker)

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in ("growth_factor", "backoff_factor", "growth_interval")}
        named = "".join(f", {name}={value!r}" for name, value in options.items())
        return f"LossScaler(scale={self._scale!r}{named})"

    def get_scale(self) -> float:
        """The scale that the next loss is multiplied by."""
        return self._scale

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale; in float32 if it is in float16, which might not hold it.

        Raises
        ------
        TypeError, DtypeError : if the loss is not a tensor of floating-point numbers.
        """
        if not isinstance(loss, Tensor):
            raise TypeError(f"scale needs the loss, a tensor, not a {type(loss).__name__}")
        if loss.dtype.kind != "f":
            raise DtypeError(f"a loss of {loss.dtype} has no gradient: it must be of floating-point numbers")
        return loss.to(wide_dtype(loss.dtype)) * self._scale

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, to look at or to clip them before `step`.

        Those of float16 parameters are in float32 afterwards, where nothing of them is lost. The next backward pass has
        gradients in float16 and cannot add them to these: call `optimizer.zero_grad()` before.

        Raises
        ------
        RuntimeError : if they are unscaled already, or the optimizer has stepped since the last `update`.
        ValueError : if no parameter has a gradient.
        """
        _check_optimizer("unscale_", optimizer)
        progress = self._progress.get(optimizer)
        if progress is not None:
            done = "has stepped" if progress.stepped else "has unscaled gradients"
            raise RuntimeError(f"unscale_: {_name(optimizer)} {done} already; call update() once after each step")
        alike: dict[Any, list[Tensor]] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault((parameter.grad.device, parameter.grad.dtype), []).append(parameter)
        if not alike:
            raise ValueError(f"no parameter of {_name(optimizer)} has a gradient: call scale(loss).backward() first")
        flags: dict[str, Array] = {}
        for (device, _), parameters in alike.items():
            gs = [parameter.grad.array for parameter in parameters if parameter.grad is not None]
            with on_device_of(*gs):
                *unscaled, finite = kernels.choose(gs[0]).unscale(gs, 1 / self._scale)
                flags[device] = flags[device] & finite if device in flags else finite
            for parameter, g in zip(parameters, unscaled, strict=True):
                parameter.grad = Tensor(g)
        self._progress[optimizer] = _Progress(list(flags.values()))

    def step(self, optimizer: Optimizer) -> bool:
        """Unscale the gradients, unless they are, and make a step, unless one is infinite or NaN.

        It waits for the device, once, to know. Before the next backward pass call `optimizer.zero_grad()`: what is
        unscaled stays so, in float32 where the parameter is in float16.

        Returns
        -------
        stepped : whether the step was made

        Raises
        ------
        RuntimeError : if the optimizer has stepped since the last `update`.
        ValueError : if no parameter has a gradient.
        """
        _check_optimizer("step", optimizer)
        if optimizer not in self._progress:
            self.unscale_(optimizer)
        progress = self._progress[optimizer]
        if progress.stepped:
            raise RuntimeError(f"step: {_name(optimizer)} has stepped already; call update() once after each step")
        if progress.all_finite:
            optimizer.step()
        progress.stepped = True
        return progress.all_finite

    def update(self, new_scale: float | None = None) -> None:
        """Adapt the scale, once after the steps of all optimizers; or set it.

        Raises
        ------
        RuntimeError : if no gradients were unscaled since the last one, by `step` or by `unscale_` alone, which says as
            much about the scale; not with ``new_scale``.
        ValueError : if ``new_scale`` is out of range.
        """
        if new_scale is not None:
            _check_scale("new_scale", new_scale)
            self._scale = float(new_scale)
        elif not self._progress:
            raise RuntimeError("update: no optimizer has stepped since the last update; call step(optimizer) before")
        elif all(progress.all_finite for progress in self._progress.values()):
            self._growth_tracker += 1
            if self._growth_tracker >= self.growth_interval:  # above, if the interval was set
                grown = self._scale * self.growth_factor
                self._scale, self._growth_tracker = grown if grown <= _MOST else self._scale, 0
        else:
            self._scale, self._growth_tracker = max(self._scale * self.backoff_factor, _LEAST), 0
        self._progress = {}

    def state_dict(self) -> dict[str, Any]:
        """The scale, the options and how many steps there were since it changed, by the names of PyTorch's."""
        options = {name: getattr(self, name) for name in ("growth_factor", "backoff_factor", "growth_interval")}
        return {"scale": self._scale, **options, "_growth_tracker": self._growth_tracker}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict`, or that of `torch.amp.GradScaler`, gave; nothing changes unless it fits.

        Raises
        ------
        CheckpointError : if it is no such state, or a number in it is out of range.
        """
        expected = list(self.state_dict())
        if not (isinstance(saved, Mapping) and set(saved) == set(expected)):
            found = list(saved) if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
            raise CheckpointError(f"a loss scaler's state has {expected}, got {found}; use state_dict()")
        try:
            self._take(*(saved[name] for name in expected))
        except ValueError as error:
            raise CheckpointError(f"a saved loss scaler does not fit: {error}") from error


def _check_scale(name: str, scale: Any) -> None:
    wanted = "a number from 2**-126 to 2**126, so that float32 holds it and its inverse"
    check_number(name, scale, lambda x: _LEAST <= x <= _MOST, wanted)


def _check_optimizer(caller: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{caller} needs an optimizer, not a {type(optimizer).__name__}")


def _name(optimizer: Optimizer) -> str:
    return f"the optimizer {type(optimizer).__name__}"
