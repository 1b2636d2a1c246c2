"""Modules and layers."""

from minires.nn import init
from minires.nn.containers import Identity, ModuleList, Sequential
from minires.nn.fold import fold_batch_norm
from minires.nn.fused import conv_norm_relu
from minires.nn.layers import (
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    FoldedBatchNorm,
    Linear,
    ReLU,
)
from minires.nn.module import Module
from minires.nn.parameter import Parameter
from minires.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "FoldedBatchNorm",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "conv_norm_relu",
    "fold_batch_norm",
    "init",
]
