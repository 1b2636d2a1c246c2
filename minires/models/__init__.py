"""Build the residual networks by name."""

from __future__ import annotations

from typing import Any

from minires.models.blocks import BasicBlock, Bottleneck, PadShortcut
from minires.models.resnet import CifarResNet, ResNet
from minires.models.summary import LayerRow, Summary, summarize


def resnet18(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """Return ResNet-18: stages of (2, 2, 2, 2) × BasicBlock."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, **options)


def resnet34(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """Return ResNet-34: stages of (3, 4, 6, 3) × BasicBlock."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, **options)


def resnet50(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """Return ResNet-50: stages of (3, 4, 6, 3) × Bottleneck."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, **options)


def resnet101(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """Return ResNet-101: stages of (3, 4, 23, 3) × Bottleneck."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, **options)


def resnet152(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """Return ResNet-152: stages of (3, 8, 36, 3) × Bottleneck."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, **options)


def resnet200(num_classes: int = 1000, in_channels: int = 3, **options: Any) -> ResNet:
    """Return ResNet-200: stages of (3, 24, 36, 3) × Bottleneck."""
    return ResNet(Bottleneck, (3, 24, 36, 3), num_classes, in_channels, **options)


def resnet20(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Return CIFAR ResNet-20."""
    return CifarResNet(20, num_classes, in_channels, shortcut, **options)


def resnet32(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Return CIFAR ResNet-32."""
    return CifarResNet(32, num_classes, in_channels, shortcut, **options)


def resnet44(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Return CIFAR ResNet-44."""
    return CifarResNet(44, num_classes, in_channels, shortcut, **options)


def resnet56(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Return CIFAR ResNet-56."""
    return CifarResNet(56, num_classes, in_channels, shortcut, **options)


def resnet110(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Return CIFAR ResNet-110."""
    return CifarResNet(110, num_classes, in_channels, shortcut, **options)


def resnet1202(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Return CIFAR ResNet-1202."""
    return CifarResNet(1202, num_classes, in_channels, shortcut, **options)


def plain20(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """Return the plain twin of CIFAR ResNet-20: the same layers without shortcuts."""
    return CifarResNet(20, num_classes, in_channels, "none", **options)


def plain32(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """Return the plain twin of CIFAR ResNet-32: the same layers without shortcuts."""
    return CifarResNet(32, num_classes, in_channels, "none", **options)


def plain44(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """Return the plain twin of CIFAR ResNet-44: the same layers without shortcuts."""
    return CifarResNet(44, num_classes, in_channels, "none", **options)


def plain56(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """Return the plain twin of CIFAR ResNet-56: the same layers without shortcuts."""
    return CifarResNet(56, num_classes, in_channels, "none", **options)


def plain110(num_classes: int = 10, in_channels: int = 3, **options: Any) -> CifarResNet:
    """Return the plain twin of CIFAR ResNet-110: the same layers without shortcuts."""
    return CifarResNet(110, num_classes, in_channels, "none", **options)


__all__ = [
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "LayerRow",
    "PadShortcut",
    "ResNet",
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
