"""The measured networks in PyTorch, with the same parameter names as in minires."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import nn


def twin_of(network: str) -> Callable[[], nn.Module]:
    """Return a function that makes a network in PyTorch.

    Raises
    ------
    ImportError : if it needs torchvision, which is not installed.
    """
    return CifarResNet20 if network == "resnet20" else getattr(_torchvision_models(), network)


def _torchvision_models() -> object:
    # Some builds of torchvision lack its compiled operators; importing it needs only their names.
    library = torch.library.Library("torchvision", "DEF")
    for signature in (
        "nms(Tensor dets, Tensor scores, float threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, signature.partition("(")[0]):
            library.define(signature)
    return importlib.import_module("torchvision").models


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut of option A: every second pixel, zeros for the new channels."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.stride, self.added = stride, width - channels_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.added:
            before = self.added // 2
            padding = (0, 0, 0, 0, before, self.added - before)
            x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], padding)
        y += x
        return self.relu(y)


class CifarResNet20(nn.Module):
    """minires' `models.resnet20`, written as torchvision writes its networks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(channels_in, width, stride), Block(width, width, 1), Block(width, width, 1))
            for channels_in, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))
