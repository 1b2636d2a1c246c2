"""The residual networks by name."""

from __future__ import annotations

from typing import Any

from minires.models.blocks import BasicBlock, Bottleneck, PadShortcut
from minires.models.resnet import CifarResNet, ResNet
from minires.models.summary import Row, Summary, summarize


def resnet18(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-18, of BasicBlock × (2, 2, 2, 2)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, **options)


def resnet34(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-34, of BasicBlock × (3, 4, 6, 3)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, **options)


def resnet50(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-50, of Bottleneck × (3, 4, 6, 3)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, **options)


def resnet101(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-101, of Bottleneck × (3, 4, 23, 3)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, **options)


def resnet152(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-152, of Bottleneck × (3, 8, 36, 3)."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, **options)


def resnet200(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """ResNet-200, of Bottleneck × (3, 24, 36, 3)."""
    return ResNet(Bottleneck, (3, 24, 36, 3), num_classes, in_channels, **options)


def resnet20(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """CIFAR ResNet-20."""
    return CifarResNet(20, num_classes, in_channels, shortcut, **options)


def resnet32(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """CIFAR ResNet-32."""
    return CifarResNet(32, num_classes, in_channels, shortcut, **options)


def resnet44(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """CIFAR ResNet-44."""
    return CifarResNet(44, num_classes, in_channels, shortcut, **options)


def resnet56(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """CIFAR ResNet-56."""
    return CifarResNet(56, num_classes, in_channels, shortcut, **options)


def resnet110(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """CIFAR ResNet-110."""
    return CifarResNet(110, num_classes, in_channels, shortcut, **options)


def resnet1202(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """CIFAR ResNet-1202."""
    return CifarResNet(1202, num_classes, in_channels, shortcut, **options)


def plain20(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """The plain twin of CIFAR ResNet-20: the same layers without shortcuts."""
    return CifarResNet(20, num_classes, in_channels, "none", **options)


def plain32(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """The plain twin of CIFAR ResNet-32: the same layers without shortcuts."""
    return CifarResNet(32, num_classes, in_channels, "none", **options)


def plain44(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """The plain twin of CIFAR ResNet-44: the same layers without shortcuts."""
    return CifarResNet(44, num_classes, in_channels, "none", **options)


def plain56(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """The plain twin of CIFAR ResNet-56: the same layers without shortcuts."""
    return CifarResNet(56, num_classes, in_channels, "none", **options)


def plain110(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """The plain twin of CIFAR ResNet-110: the same layers without shortcuts."""
    return CifarResNet(110, num_classes, in_channels, "none", **options)


__all__ = [
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "PadShortcut",
    "ResNet",
    "Row",
    "Summary",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnet200",
    "resnet1202",
    "summarize",
]
