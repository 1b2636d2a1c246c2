"""The residual networks of He et al. 2015 for ImageNet and for CIFAR, and the plain twins of those for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minires.autograd.tensor import Tensor
from minires.errors import ShapeError
from minires.models.blocks import BasicBlock, Bottleneck, PadShortcut, conv3x3, projection
from minires.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    chain,
    init,
)
from minires.options import integer
from minires.random import draws


class ResNet(Module):
    """The network for images of about 224 × 224: a stem, four stages of blocks, a mean, a linear layer.

    Parameters
    ----------
    block : `BasicBlock` or `Bottleneck`
    blocks : the number of blocks in each of the four stages, whose widths are 64, 128, 256 and 512
    num_classes, in_channels : the sizes of the output and input
    stride_first : whether a bottleneck's stride is on its first 1×1 convolution, as in the 2015 paper
    seed : of the initial weights; by default that of `minires.manual_seed`. Two models with the same seed have equal
        weights
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        stride_first: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        options: dict[str, Any] = {"stride_first": True} if stride_first and block is Bottleneck else {}
        self.layer1 = _stage(block, 64, 64, blocks[0], 1, **options)
        self.layer2 = _stage(block, 64 * block.expansion, 128, blocks[1], 2, **options)
        self.layer3 = _stage(block, 128 * block.expansion, 256, blocks[2], 2, **options)
        self.layer4 = _stage(block, 256 * block.expansion, 512, blocks[3], 2, **options)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(512 * block.expansion, num_classes)
        initialise(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: (N, in_channels, H, W) -> (N, num_classes)."""
        x = chain(x, self.conv1, self.bn1, self.relu, self.maxpool)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class CifarResNet(Module):
    """The network for images of 32 × 32 (section 4.2): 6 n + 2 layers of widths 16, 32 and 64.

    Parameters
    ----------
    depth : 6 n + 2
    num_classes, in_channels : the sizes of the output and input
    shortcut : "A" pads with zeros where the shape changes, "B" projects; "none" makes the plain twin
    seed : of the initial weights; by default that of `minires.manual_seed`. Two models with the same seed have equal
        weights

    Raises
    ------
    ShapeError : if the depth is not 6 n + 2.
    ValueError : for another shortcut.
    """

    def __init__(
        self, depth: int, num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", seed: int | None = None
    ) -> None:
        super().__init__()
        n, rest = divmod(integer(depth, "the depth") - 2, 6)
        if rest or n < 1:
            raise ShapeError(f"a CIFAR ResNet has 6 n + 2 layers (8, 14, 20, …), not {depth}")
        if shortcut not in ("A", "B", "none"):
            raise ValueError(f"shortcut {shortcut!r} is not 'A', 'B' or 'none'")
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        self.layer1 = _stage(BasicBlock, 16, 16, n, 1, shortcut)
        self.layer2 = _stage(BasicBlock, 16, 32, n, 2, shortcut)
        self.layer3 = _stage(BasicBlock, 32, 64, n, 2, shortcut)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(64, num_classes)
        initialise(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: (N, in_channels, H, W) -> (N, num_classes)."""
        x = chain(x, self.conv1, self.bn1, self.relu)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(
    block: Any, channels_in: int, width: int, count: int, stride: int, shortcut: str = "B", **options: Any
) -> Sequential:
    """Return ``count`` blocks; the first has the stride, and a shortcut that fits its input to its output."""
    channels_out = width * block.expansion
    rest = "none" if shortcut == "none" else None
    first: Module | str | None = rest
    if shortcut != "none" and (stride != 1 or channels_in != channels_out):
        first = (PadShortcut if shortcut == "A" else projection)(channels_in, channels_out, stride)
    others = (block(channels_out, width, shortcut=rest, **options) for _ in range(count - 1))
    return Sequential(block(channels_in, width, stride, first, **options), *others)


def initialise(model: Module, seed: int | None) -> None:
    """Draw He's normal weights (fan-out) for convolutions, and PyTorch's default for the linear layer.

    The weights of a module depend only on the seed and on its index among the modules.
    """
    for index, module in enumerate(model.modules()):
        rng = draws("models.init", index, seed=seed)
        if isinstance(module, Conv2d):
            module.weight.assign_(init.kaiming_normal(module.weight.shape, rng))
        elif isinstance(module, Linear):
            fan_in = module.weight.shape[1]
            for parameter in (module.weight, module.bias):
                if parameter is not None:
                    parameter.assign_(init.uniform_by_fan_in(parameter.shape, fan_in, rng))
