"""Modules and layers."""

from minires.nn import init
from minires.nn.batch_norm import BatchNorm2d, FoldedBatchNorm
from minires.nn.chain import Add, chain
from minires.nn.containers import Identity, ModuleList, Sequential
from minires.nn.fold import fold_batch_norm
from minires.nn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
)
from minires.nn.module import Module
from minires.nn.parameter import Parameter

__all__ = [
    "AdaptiveAvgPool2d",
    "Add",
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
    "chain",
    "fold_batch_norm",
    "init",
]
