"""Small random residual networks, drawn as a description: a list of nodes, an input shape and a seed.

Node n of a network reads the value of node n − 1; the value of node 0 is the input. Windows are padded so that a
stride s turns H rows into ⌈H / s⌉, whatever the window. So a shortcut between two nodes fits images of any size: its
stride is the product of the strides between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from minires.autograd.tensor import Tensor
from minires.functional import tensor
from minires.models.blocks import BasicBlock, Bottleneck, PadShortcut
from minires.nn import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ModuleList,
    ReLU,
    Sequential,
    chain,
)
from minires.testing.strategies.shape import seeds

KERNELS = ((1, 1), (3, 3), (1, 3), (3, 1))
STRIDES = ((1, 1), (2, 2), (2, 1), (1, 2))
BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
POOLS = {"max_pool": MaxPool2d, "avg_pool": AvgPool2d}


class Node(NamedTuple):
    """A node of a residual graph: relu(norm(conv(x)) + shortcut), a block of models/, or a pooling.

    ``kind`` is "conv", "basic", "bottleneck" (the blocks), "max_pool" or "avg_pool". ``width`` is a convolution's
    channels, or a block's width. ``skip`` is (index of an earlier node, the kind of shortcut), the latter
    being "identity", "pad" (option A) or "projection" (option B). The skip of a block starts at the node before it, or
    is None for a basic block without a shortcut. ``norm``, ``relu`` and ``groups`` are for "conv" alone.
    """

    kind: str = "conv"
    width: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    groups: int = 1
    norm: bool = False
    relu: bool = False
    skip: tuple[int, str] | None = None

    def __repr__(self) -> str:
        usual = self._field_defaults
        told = [f"{name}={value!r}" for name, value in self._asdict().items() if value != usual[name]]
        return f"Node({', '.join(told)})"


class Value(NamedTuple):
    """The value of a node: its channels, and the product of the strides before it."""

    channels: int
    stride: tuple[int, int] = (1, 1)

    def after(self, node: Node) -> Value:
        """Return the value of a node that reads this one."""
        channels = self.channels if node.kind in POOLS else node.width * (4 if node.kind == "bottleneck" else 1)
        return Value(channels, (self.stride[0] * node.stride[0], self.stride[1] * node.stride[1]))

    def stride_to(self, later: Value) -> tuple[int, int]:
        """Return the strides between this value and a later one."""
        return later.stride[0] // self.stride[0], later.stride[1] // self.stride[1]

    def shortcuts_to(self, later: Value) -> list[str]:
        """Return the kinds of shortcuts that can add this value to a later one."""
        down, across = self.stride_to(later)
        grown = later.channels - self.channels
        return [
            *(["identity"] if down == across == 1 and grown == 0 else []),
            *(["pad"] if down == across and grown >= 0 else []),
            "projection",
        ]


class ResidualGraph(Module):
    """A residual network from a description: its nodes, the mean of each channel, a linear layer.

    Its ``repr`` is the call that makes it again. Parameters and running statistics are float64 and drawn from the seed,
    away from the usual initial values.

    Parameters
    ----------
    shape : of the input, (N, C, H, W)
    nodes : in the order in which they are computed
    classes : the outputs of the linear layer
    seed : of the weights and of `input`
    """

    def __init__(self, shape: Sequence[int], nodes: Sequence[Node] = (), classes: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.nodes, self.classes, self.seed = tuple(shape), tuple(nodes), classes, seed
        values = [Value(self.shape[1])]
        self.layers, self.shortcuts = ModuleList(), ModuleList()
        for node in self.nodes:
            values.append(values[-1].after(node))
            inner = node.kind in BLOCKS
            source = values[node.skip[0]] if node.skip else values[-1]
            shortcut = _shortcut(node.skip[1] if node.skip else "identity", source, values[-1])
            self.layers.append(_layer(node, values[-2], shortcut))
            self.shortcuts.append(Identity() if inner or shortcut is None else shortcut)
        self.pool = AdaptiveAvgPool2d(1)
        self.fc = Linear(values[-1].channels, classes)
        self.to(np.float64)
        self._draw()

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, classes) for (N, C, H, W)."""
        values = [x]
        for node, layer, shortcut in zip(self.nodes, self.layers, self.shortcuts, strict=True):
            beside = shortcut(values[node.skip[0]]) if node.skip and node.kind not in BLOCKS else None
            values.append(layer(values[-1]) if beside is None else layer(values[-1], beside))
        return self.fc(self.pool(values[-1]).flatten(1))

    def input(self) -> Tensor:
        """Return a float64 input, drawn from the seed, that requires a gradient."""
        values = np.random.default_rng([self.seed, 0]).standard_normal(self.shape)
        return tensor(values, requires_grad=True)

    def at(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return the output with other tensors as the parameters: the network as a function of them.

        ``check_gradient(model.at, model.input(), *model.parameters())`` checks each of its gradients.
        """
        places = [
            (vars(module), name, parameter)
            for module in self.modules()
            for name, parameter in module.named_parameters(recurse=False)
        ]
        for (attributes, name, _), value in zip(places, parameters, strict=True):
            attributes[name] = value
        try:
            return self(x)
        finally:
            for attributes, name, own in places:
                attributes[name] = own

    def vector(self) -> Tensor:
        """Return the input and the parameters, concatenated to one vector that requires a gradient."""
        parts = [self.input(), *self.parameters()]
        return tensor(np.concatenate([part.numpy().reshape(-1) for part in parts]), requires_grad=True)

    def of_vector(self, vector: Tensor) -> Tensor:
        """Return the output as a function of `vector`.

        ``check_gradient(model.of_vector, model.vector())`` checks all gradients together, at the cost of one.
        """
        parts, start = [], 0
        for shape in (self.shape, *(parameter.shape for parameter in self.parameters())):
            stop = start + math.prod(shape)
            parts.append(vector[start:stop].reshape(shape))
            start = stop
        return self.at(*parts)

    def __repr__(self) -> str:
        return f"ResidualGraph({self.shape}, {list(self.nodes)}, classes={self.classes}, seed={self.seed})"

    def _draw(self) -> None:
        for place, module in enumerate(self.modules(), start=1):
            rng = np.random.default_rng([self.seed, place])
            for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if name == "weight" and value.ndim > 1:
                    value.assign_(rng.standard_normal(value.shape) / math.sqrt(math.prod(value.shape[1:])))
                elif name in ("weight", "running_var"):
                    value.assign_(rng.uniform(0.5, 1.5, value.shape))
                elif name in ("bias", "running_mean"):
                    value.assign_(rng.standard_normal(value.shape) / 2)


class _Convolution(Module):
    """relu(norm(conv(x)) + shortcut); norm, relu and the shortcut are optional."""

    def __init__(self, node: Node, channels: int) -> None:
        super().__init__()
        padding = (node.kernel[0] // 2, node.kernel[1] // 2)
        self.conv = Conv2d(channels, node.width, node.kernel, node.stride, padding, groups=node.groups)
        self.norm = BatchNorm2d(node.width) if node.norm else Identity()
        self.relu = ReLU() if node.relu else Identity()

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        return chain(x, self.conv, self.norm, Add(shortcut), self.relu)


class _Pool(Module):
    """A pooling with an optional shortcut."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.pool = POOLS[node.kind](node.kernel, node.stride, (node.kernel[0] // 2, node.kernel[1] // 2))

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        y = self.pool(x)
        return y if shortcut is None else y + shortcut


def _layer(node: Node, source: Value, shortcut: Module | None) -> Module:
    if node.kind == "basic":
        return BasicBlock(source.channels, node.width, node.stride[0], shortcut if node.skip else "none")
    if node.kind == "bottleneck":
        return Bottleneck(source.channels, node.width, node.stride[0], shortcut)
    return _Pool(node) if node.kind in POOLS else _Convolution(node, source.channels)


def _shortcut(how: str, source: Value, target: Value) -> Module | None:
    """Return the module that makes one value fit another, or None for an identity."""
    stride = source.stride_to(target)
    if how == "pad":
        return PadShortcut(source.channels, target.channels, stride[0])
    if how == "projection":
        conv = Conv2d(source.channels, target.channels, 1, stride, bias=False)
        return Sequential(conv, BatchNorm2d(target.channels))
    return None


def networks(
    max_depth: int = 4, max_width: int = 3, max_batch: int = 5, max_side: int = 6
) -> st.SearchStrategy[ResidualGraph]:
    """Return a strategy of small residual networks; the smallest is one linear layer on one pixel.

    Convolutions (dense, grouped, depthwise; square and not), batch norms, ReLUs, the blocks of `models`, pooling;
    shortcuts from any earlier node, by identity, zero padding or projection; chains without any.

    Parameters
    ----------
    max_depth : the largest number of nodes
    max_width : the largest number of channels, and of a block's width (a bottleneck has four times as many channels)
    max_batch : at least 4, the smallest batch with a batch norm; any two values per channel become 1 and −1
    max_side : the largest height and width of an image
    """
    return _network(max_depth, max_width, max_batch, max_side)


def _draw_network(draw: st.DrawFn, max_depth: int, max_width: int, max_batch: int, max_side: int) -> ResidualGraph:
    channels = draw(st.integers(1, max_width))
    values, nodes = [Value(channels)], []
    for _ in range(draw(st.integers(0, max_depth))):
        nodes.append(_node(draw, values, max_width))
        values.append(values[-1].after(nodes[-1]))
    side = st.integers(1, max_side)
    batch = st.integers(4 if any(map(_normalises, nodes)) else 1, max_batch)
    shape = draw(batch), channels, draw(side), draw(side)
    return ResidualGraph(shape, nodes, draw(st.integers(1, 3)), draw(seeds()))


def _node(draw: st.DrawFn, values: list[Value], max_width: int) -> Node:
    kind, channels = draw(st.sampled_from(("conv", *POOLS, *BLOCKS))), values[-1].channels
    width, stride = max(1, channels // 4) if kind == "bottleneck" else channels, STRIDES[0]
    if draw(st.booleans()):  # half of the nodes keep the shape, so that identities fit often
        width, stride = draw(st.integers(1, max_width)), draw(st.sampled_from(STRIDES))
    if kind in BLOCKS:
        node = Node(kind, width, stride=(stride[0], stride[0]))
    elif kind in POOLS:
        node = Node(kind, kernel=draw(st.sampled_from(KERNELS)), stride=stride)
    else:
        common = [n for n in range(1, max_width + 1) if width % n == channels % n == 0]
        kernel, groups = draw(st.sampled_from(KERNELS)), draw(st.sampled_from(common))
        node = Node(kind, width, kernel, stride, groups, norm=draw(st.booleans()), relu=draw(st.booleans()))
    return node._replace(skip=_skip(draw, node, values))


def _skip(draw: st.DrawFn, node: Node, values: list[Value]) -> tuple[int, str] | None:
    """Draw a shortcut that ends at the node; the simplest is none, if that is allowed, then the nearest start."""
    last = len(values) - 1
    sources = [last] if node.kind in BLOCKS else range(last, -1, -1)
    source = draw(st.sampled_from([*sources] if node.kind == "bottleneck" else [None, *sources]))
    if source is None:
        return None
    return source, draw(st.sampled_from(values[source].shortcuts_to(values[-1].after(node))))


def _normalises(node: Node) -> bool:
    return node.norm or node.kind in BLOCKS or (node.skip is not None and node.skip[1] == "projection")


# Made once: to make a strategy of a function, Hypothesis reads its source, which takes a millisecond.
_network = st.composite(_draw_network)
