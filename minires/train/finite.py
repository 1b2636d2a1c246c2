"""Stop a run whose loss is not finite, and name the first layer that caused it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minires.autograd.op import no_grad
from minires.autograd.tensor import Tensor
from minires.device import on_device_of, xp_of
from minires.errors import TrainingError
from minires.nn import Module


def check_finite(loss: float, model: Module, images: Tensor, where: str, lr: float) -> None:
    """Raise TrainingError if the loss is not finite.

    Parameters
    ----------
    loss : of ``model(images)``
    where, lr : for the message: the epoch and batch, and the setting of the learning rate

    Raises
    ------
    TrainingError : if the loss is NaN or infinite; the text names the first layer whose output was not finite.
    """
    if np.isfinite(loss):
        return
    raise TrainingError(
        f"the loss is {loss} in {where}: {blame(model, images)}. Nothing was updated with it, and the last "
        f"checkpoint is as it was; lower `lr` (now {lr}), warm up (`schedule` one-cycle), or look at the data"
    )


def blame(model: Module, images: Tensor) -> str:
    """Return a sentence that names what is not finite first: the images, a layer (by its path), or only the loss.

    This runs the batch through the network once more, in the same mode, with a hook on every layer. In training mode
    that updates the running statistics a second time, which does no harm: the run is over.
    """
    if not _finite(images):
        return "the images of the batch are not finite"
    found: list[str] = []

    def watch(path: str, layer: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not found and not _finite(output):
            weights = [name for name, value in layer.state_dict().items() if not _finite(value)]
            because = f", and neither is its {weights[0]}" if weights else ""
            found.append(f"the first layer whose output is not finite is {path} ({type(layer).__name__}){because}")

    layers = [(path, layer) for path, layer in model.named_modules() if not list(layer.named_children())]
    remove = [layer.register_forward_hook(partial(watch, path)) for path, layer in layers]
    try:
        with no_grad():
            model(images)
    finally:
        for undo in remove:
            undo()
    return found[0] if found else "the outputs of all layers are finite, only the loss itself is not"


def _finite(value: Tensor) -> bool:
    with on_device_of(value.array):
        return bool(xp_of(value.array).isfinite(value.array).all())
