"""Random networks run, match their text, reach every pattern, come small first, and have right gradients."""

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from random_networks import Node, ResidualGraph, networks

import minires as mr
from minires import nn, testing
from minires.models import BasicBlock, Bottleneck, PadShortcut

SEARCH = settings(max_examples=5_000, database=None, derandomize=True)
REACH = settings(SEARCH, phases=[Phase.generate])  # any example will do, not the smallest
NAMES = {"ResidualGraph": ResidualGraph, "Node": Node}


@given(networks())
def test_every_network_runs_in_training_and_in_evaluation(model):
    for mode in (True, False):
        y = model.train(mode)(model.input())
        assert (y.shape, y.dtype) == ((model.shape[0], model.classes), np.float64)
        assert np.isfinite(y.numpy()).all()
    assert all(value.dtype.kind == "i" or value.dtype == np.float64 for value in model.state_dict().values())


@given(networks())
def test_a_network_is_made_again_from_what_it_shows(model):
    again = eval(repr(model), NAMES)
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again(again.input()).numpy(), model(model.input()).numpy())


@given(networks(max_depth=2, max_width=2, max_batch=4, max_side=3))
def test_networks_keep_their_bounds(model):
    assert len(model.nodes) <= 2
    assert all(node.width <= 2 for node in model.nodes)
    assert model.shape[0] <= 4
    assert max(model.shape[2:]) <= 3


@given(networks())
def test_every_parameter_gets_a_gradient(model):
    (model(model.input()) ** 2).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@given(networks())
def test_the_network_as_a_function_of_its_parameters_is_the_network(model):
    x, parameters = model.input(), list(model.parameters())
    expected = model(x).numpy()
    np.testing.assert_array_equal(model.at(x, *parameters).numpy(), expected)
    moved = model.at(x, *(mr.tensor(np.zeros(p.shape)) for p in parameters))
    assert not moved.numpy().any()
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    with pytest.raises(ValueError, match="zip"):
        model.at(x)


@pytest.mark.parametrize("part", [8, pytest.param(1, marks=pytest.mark.long)])
def test_networks_have_right_gradients(part):
    @settings(max_examples=max(3, settings.default.max_examples // part))
    @given(networks(max_depth=3, max_side=4))
    def check(model):
        testing.check_gradient(model.of_vector, model.vector())

    check()


@pytest.mark.long
def test_each_parameter_of_a_network_can_be_checked_by_itself():
    nodes = [Node(norm=True, relu=True), Node(width=2, kernel=(3, 3), skip=(0, "projection"))]
    model = ResidualGraph((4, 1, 2, 3), nodes)
    report = testing.check_gradient(model.at, model.input(), *model.parameters())
    assert [checked.shape for checked in report.inputs] == [model.shape, *(p.shape for p in model.parameters())]


def test_a_wrong_gradient_in_a_network_is_found(monkeypatch):
    model = ResidualGraph((1, 1, 2, 2), [Node(kernel=(3, 3), relu=True, skip=(0, "identity"))])
    with mr.kernels.using("reference"):
        chosen = mr.kernels.choose(np.zeros(1))  # it remembers what it has looked up, so it is spoilt itself
    right = chosen.relu_grad
    monkeypatch.setattr(chosen, "relu_grad", lambda gy, y: 1.001 * right(gy, y))
    with mr.kernels.using("reference"), pytest.raises(testing.GradientError, match="is wrong"):
        testing.check_gradient(model.of_vector, model.vector())


def node_with(**wanted):
    return lambda model: any(all(getattr(n, k) == v for k, v in wanted.items()) for n in model.nodes)


def skips(span, how):
    def has_one(model):
        return any(n.skip == (place - span, how) for place, n in enumerate(model.nodes, 1) if n.kind == "conv")

    return has_one


def inside(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


CORNERS = {
    "a rectangular kernel": node_with(kind="conv", kernel=(1, 3)),
    "a rectangular stride": node_with(kind="conv", stride=(2, 1)),
    "a residual block by hand": node_with(kind="conv", norm=True, relu=True, skip=(0, "identity")),
    "normalised, shortcut, no ReLU": node_with(kind="conv", norm=True, relu=False, skip=(1, "identity")),
    "grouped": lambda model: any(n.groups == 2 and n.width == 2 for n in model.nodes),
    "depthwise": lambda model: any(c.groups == c.in_channels == 3 for c in inside(model, nn.Conv2d)),
    "max pooling": node_with(kind="max_pool", kernel=(3, 3), stride=(2, 2)),
    "average pooling": node_with(kind="avg_pool", kernel=(3, 1)),
    "a shortcut past a pooling": lambda model: any(n.kind == "max_pool" and n.skip for n in model.nodes),
    "a shortcut over one node": skips(1, "identity"),
    "a shortcut over two nodes": skips(2, "identity"),
    "a shortcut over three nodes": skips(3, "projection"),
    "a projection with strides": lambda model: any(
        n.skip and n.skip[1] == "projection" and n.stride == (2, 2) for n in model.nodes
    ),
    "zero padding": lambda model: any(m.before + m.after > 0 for m in inside(model, PadShortcut)),
    "two shortcuts from one node": lambda model: [n.skip and n.skip[0] for n in model.nodes].count(0) > 1,
    "a basic block": lambda model: any(block.downsample is None for block in inside(model, BasicBlock)),
    "a basic block that projects": lambda model: any(block.downsample for block in inside(model, BasicBlock)),
    "a basic block without a shortcut": lambda model: any(block.plain for block in inside(model, BasicBlock)),
    "a bottleneck": lambda model: any(block.downsample is None for block in inside(model, Bottleneck)),
    "a bottleneck that projects": lambda model: any(
        isinstance(block.downsample, nn.Sequential) for block in inside(model, Bottleneck)
    ),
    "a chain without shortcuts": lambda model: len(model.nodes) == 4 and not any(n.skip for n in model.nodes),
    "a shortcut at every node": lambda model: len(model.nodes) == 4 and all(n.skip for n in model.nodes),
}


@pytest.mark.long
@pytest.mark.parametrize("corner", CORNERS)
def test_every_pattern_is_reached(corner):
    find(networks(), CORNERS[corner], settings=REACH)


@pytest.mark.long
def test_the_smallest_network_is_a_linear_layer_on_one_pixel():
    assert repr(find(networks(), lambda model: True, settings=SEARCH)) == (
        "ResidualGraph((1, 1, 1, 1), [], classes=1, seed=0)"
    )


@pytest.mark.long
def test_the_smallest_network_with_a_long_shortcut_has_nothing_else():
    model = find(networks(), skips(2, "identity"), settings=SEARCH)
    assert (model.shape, model.classes, model.seed) == ((1, 1, 1, 1), 1, 0)
    assert len(model.nodes) == 2
    assert model.nodes[1] == Node(skip=(0, "identity"))
