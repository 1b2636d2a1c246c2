"""ResNet-20 written with DeZero's layers, for bench_step.py; it takes over the state of minires' network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from libraries.dezero_pairs import dezero

import minires as mr

F, L = dezero.functions, dezero.layers
BLOCKS = [(layer, block) for layer in (1, 2, 3) for block in (0, 1, 2)]


class ResNet20(dezero.Model):
    """The network of models.resnet20.

    The shortcut of option A is a 1×1 convolution with a fixed filter of zeros and ones, since DeZero has no gradients
    of padding along channels and of strided indexing.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.names: dict[str, Any] = {}
        self._conv(state, "conv1", "bn1", 1)
        for layer, block in BLOCKS:
            stride = 2 if layer > 1 and block == 0 else 1
            self._conv(state, f"layer{layer}.{block}.conv1", f"layer{layer}.{block}.bn1", stride)
            self._conv(state, f"layer{layer}.{block}.conv2", f"layer{layer}.{block}.bn2", 1)
        self.fc = L.Linear(10, in_size=64)
        self.fc.W.data, self.fc.b.data = state["fc.weight"].T.copy(), state["fc.bias"].copy()

    def _conv(self, state: dict[str, Any], conv: str, norm: str, stride: int) -> None:
        w = state[f"{conv}.weight"]
        layer = L.Conv2d(len(w), kernel_size=3, stride=stride, pad=1, nobias=True, in_channels=w.shape[1])
        layer.W.data = np.ascontiguousarray(w)
        follower = L.BatchNorm()
        follower.avg_mean.data, follower.avg_var.data = np.zeros(len(w), w.dtype), np.ones(len(w), w.dtype)
        follower.gamma.data, follower.beta.data = (state[f"{norm}.{name}"].copy() for name in ("weight", "bias"))
        self.names[conv] = layer, follower
        setattr(self, conv.replace(".", "_"), layer)
        setattr(self, norm.replace(".", "_"), follower)

    def forward(self, x: Any) -> Any:
        x = F.relu(self._normed("conv1", x))
        for layer, block in BLOCKS:
            name = f"layer{layer}.{block}"
            y = F.relu(self._normed(f"{name}.conv1", x))
            y = self._normed(f"{name}.conv2", y)
            x = F.relu(y + _shortcut(x, y.shape[1]))
        return self.fc(F.reshape(F.average_pooling(x, 8, 8, 0), (x.shape[0], 64)))

    def _normed(self, name: str, x: Any) -> Any:
        conv, norm = self.names[name]
        return norm(conv(x))


def _shortcut(x: Any, width: int) -> Any:
    added = width - x.shape[1]
    if not added:
        return x
    pick = np.zeros((width, x.shape[1], 1, 1), np.float32)
    pick[np.arange(x.shape[1]) + added // 2, np.arange(x.shape[1])] = 1
    return F.conv2d(x, pick, stride=2, pad=0)


def training_step(
    model: mr.nn.Module, images: np.ndarray, labels: np.ndarray, rates: dict[str, float]
) -> Callable[[], np.ndarray]:
    """Return a function that makes a training step and returns the logits; it starts from the state of ``model``."""
    twin = ResNet20({name: value.numpy() for name, value in model.state_dict().items()})
    optimizer = dezero.optimizers.MomentumSGD(rates["lr"], rates["momentum"]).setup(twin)

    def step() -> np.ndarray:
        logits = twin(images)
        loss = F.softmax_cross_entropy(logits, labels)
        twin.cleargrads()
        loss.backward()
        optimizer.update()
        data: np.ndarray = logits.data
        return data

    return step
