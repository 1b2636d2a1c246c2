"""The residual blocks of He et al. 2015: y = relu(F(x) + shortcut(x)).

`chain` calls layers one after the other, some of them as one operation.
"""

from __future__ import annotations

from minires import functional as F
from minires.autograd.tensor import Tensor
from minires.nn import Add, BatchNorm2d, Conv2d, Module, ReLU, Sequential, chain


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> Conv2d:
    """Return a 3×3 convolution that keeps the image size; without bias, as batch norm follows."""
    return Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)


def conv1x1(channels_in: int, channels_out: int, stride: int = 1) -> Conv2d:
    """Return a 1×1 convolution without bias."""
    return Conv2d(channels_in, channels_out, 1, stride, bias=False)


class BasicBlock(Module):
    """A block of two 3×3 convolutions and a shortcut, with ReLU after the addition.

    Parameters
    ----------
    channels_in, width : the channels of the input, and those of both convolutions
    stride : of the first convolution
    shortcut : the module that fits the input to the output where their shapes differ; None for the identity, "none"
        for a block without a shortcut

    Raises
    ------
    ValueError : for another string.
    """

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int = 1, shortcut: Module | str | None = None) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn1 = BatchNorm2d(width)
        self.relu = ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = BatchNorm2d(width)
        if isinstance(shortcut, str) and shortcut != "none":
            raise ValueError(f"shortcut {shortcut!r} is not a module, None or 'none'")
        self.plain = shortcut == "none"
        self.downsample = shortcut if isinstance(shortcut, Module) else None

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, C, H, W) -> (N, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = chain(x, self.conv1, self.bn1, self.relu)
        return chain(y, self.conv2, self.bn2, Add(None if self.plain else shortcut), self.relu)


class Bottleneck(Module):
    """A block of a 1×1 convolution that narrows, a 3×3, and a 1×1 that widens fourfold, with a shortcut.

    Parameters
    ----------
    channels_in, width : the channels of the input, and those of the 3×3 convolution
    stride : of the 3×3 convolution ("v1.5"), or of the first 1×1 as in the 2015 paper
    shortcut : the module that fits the input to the output where their shapes differ, or None for the identity
    stride_first : whether the stride is on the first 1×1
    """

    expansion = 4

    def __init__(
        self,
        channels_in: int,
        width: int,
        stride: int = 1,
        shortcut: Module | None = None,
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = conv1x1(channels_in, width, stride if stride_first else 1)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, 1 if stride_first else stride)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = conv1x1(width, width * self.expansion)
        self.bn3 = BatchNorm2d(width * self.expansion)
        self.relu = ReLU()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Run the block: (N, C, H, W) -> (N, 4 · width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = chain(x, self.conv1, self.bn1, self.relu)
        y = chain(y, self.conv2, self.bn2, self.relu)
        return chain(y, self.conv3, self.bn3, Add(shortcut), self.relu)


class PadShortcut(Module):
    """The shortcut of option A: take every stride-th pixel, and add channels of zeros. It has no parameters."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        added = channels_out - channels_in
        self.before, self.after, self.stride = added // 2, added - added // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        """Fit x: (N, C, H, W) -> (N, C + added, H / stride, W / stride)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def projection(channels_in: int, channels_out: int, stride: int) -> Sequential:
    """Return the shortcut of option B: a 1×1 convolution and batch norm."""
    return Sequential(conv1x1(channels_in, channels_out, stride), BatchNorm2d(channels_out))
