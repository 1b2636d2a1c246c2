"""Dynamic loss scaling, which keeps small gradients in float16."""

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
from minires.options import check_integer, check_number

# A scale and its inverse, which multiplies the gradients, must be normal numbers in float32.
_LEAST, _MOST = float(np.finfo(np.float32).tiny), 1 / float(np.finfo(np.float32).tiny)


@dataclass
class _Progress:
    """What an optimizer has done since the last update of the scale: unscaled its gradients, and perhaps stepped.

    Attributes
    ----------
    finite : for each device, an array that says whether all gradients there are finite; a GPU may still compute it
    stepped : whether the optimizer has stepped
    """

    finite: list[Array] = field(default_factory=list)
    stepped: bool = False

    @functools.cached_property
    def all_finite(self) -> bool:
        """Whether all gradients are finite. The first access waits for the devices."""
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

    float16 rounds numbers below 3·10⁻⁸ to zero, and many gradients are that small. So the loss is multiplied by a
    scale, and before the step the gradients are divided by it, in float32. If a gradient is infinite or NaN, the step
    is skipped and the scale becomes smaller. After ``growth_interval`` steps that were not skipped, it becomes larger.

    Compute the loss in float32, as above. The first gradient is the scale itself, and a loss in float16 would limit it
    to 65504.

    Parameters
    ----------
    init_scale : the first scale, from 2⁻¹²⁶ to 2¹²⁶; later scales stay in this range too
    growth_factor, backoff_factor : factors for the scale, when it grows and when a step is skipped
    growth_interval : the number of steps without an infinite or NaN gradient after which the scale grows

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
        """Check all options, then set them."""
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
        """Return the scale that multiplies the next loss."""
        return self._scale

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss times the scale; in float32 for a float16 loss, since float16 may not hold the product.

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
        """Divide the gradients of an optimizer's parameters by the scale, to read or clip them before `step`.

        Gradients of float16 parameters become float32, which holds the quotients. The next backward pass computes
        float16 gradients and cannot add them to these, so call `optimizer.zero_grad()` first.

        Raises
        ------
        RuntimeError : if they were unscaled already, or the optimizer has stepped since the last `update`.
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
        """Unscale the gradients if they are not unscaled yet. Make a step if all of them are finite.

        This waits for the device once. Call `optimizer.zero_grad()` before the next backward pass, since the gradients
        stay unscaled, and in float32 where the parameter is in float16.

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
        """Adapt the scale, once after the steps of all optimizers; or set it to ``new_scale``.

        Raises
        ------
        RuntimeError : without ``new_scale``, if neither `step` nor `unscale_` was called since the last update.
        ValueError : if ``new_scale`` is out of range.
        """
        if new_scale is not None:
            _check_scale("new_scale", new_scale)
            self._scale = float(new_scale)
        elif not self._progress:
            raise RuntimeError("update: no optimizer has stepped since the last update; call step(optimizer) before")
        elif all(progress.all_finite for progress in self._progress.values()):
            self._growth_tracker += 1
            if self._growth_tracker >= self.growth_interval:  # it may exceed an interval that was set to less
                grown = self._scale * self.growth_factor
                self._scale, self._growth_tracker = grown if grown <= _MOST else self._scale, 0
        else:
            self._scale, self._growth_tracker = max(self._scale * self.backoff_factor, _LEAST), 0
        self._progress = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, the options, and the number of steps since the scale changed, under PyTorch's names."""
        options = {name: getattr(self, name) for name in ("growth_factor", "backoff_factor", "growth_interval")}
        return {"scale": self._scale, **options, "_growth_tracker": self._growth_tracker}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Load what `state_dict`, or that of `torch.amp.GradScaler`, returned; nothing changes unless all fits.

        Raises
        ------
        CheckpointError : if ``saved`` is not such a state, or a number in it is out of range.
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
