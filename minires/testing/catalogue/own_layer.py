"""A module as a function of its inputs and its parameters, to check the gradients of both."""

from __future__ import annotations

from typing import Any

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.nn.module import Module
from minires.testing.calling.names import labels_of


class Layer:
    """A module as a function ``layer(*inputs, *parameters)``, which returns the output with these parameters.

    Parameters
    ----------
    module : converted to float64 on ``device``
    """

    def __init__(self, module: Module, device: str) -> None:
        module.zero_grad()
        self.module = module.to(device, np.float64)
        learnt = {id(p): path for path, p in module.named_parameters() if p.requires_grad}
        self.paths = list(learnt.values())
        self.values: list[Array] = [p.numpy() for p in module.parameters() if p.requires_grad]
        places: dict[int, list[tuple[dict[str, Any], str]]] = {key: [] for key in learnt}
        for inner in module.modules():
            for name, value in vars(inner).items():
                if id(value) in places:
                    places[id(value)].append((vars(inner), name))
        self.places = list(places.values())

    def __call__(self, *tensors: Tensor) -> Any:
        """Compute the output with the parameters at the end of ``tensors``."""
        inputs, parameters = tensors[: -len(self.places) or None], tensors[len(tensors) - len(self.places) :]
        before = [[attributes[name] for attributes, name in places] for places in self.places]
        try:
            for places, value in zip(self.places, parameters, strict=True):
                for attributes, name in places:
                    attributes[name] = value
            return self.module(*inputs)
        finally:
            for places, values in zip(self.places, before, strict=True):
                for (attributes, name), value in zip(places, values, strict=True):
                    attributes[name] = value

    def input_labels(self, count: int) -> list[str]:
        """Return what messages call the inputs and parameters."""
        inputs = labels_of(self.module.forward, count - len(self.paths))
        return [*inputs, *(f"`{path}`" for path in self.paths)]
