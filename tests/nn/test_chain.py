"""Convolution, batch norm, addition and ReLU run as one operation only where the result is the same."""

import contextlib

import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.errors import DtypeError, ShapeError

F = mr.functional


def image(*shape, dtype=np.float32):
    return mr.tensor(np.random.default_rng(0).standard_normal(shape).astype(dtype))


class Shifted(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) + 100.0


class ShiftedFolded(nn.FoldedBatchNorm):
    def forward(self, x):
        return super().forward(x) + 100.0


class ShiftedConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) + 100.0


class Negated(nn.ReLU):
    def forward(self, x):
        return super().forward(x) * -1.0


class Called(nn.BatchNorm2d):
    def __call__(self, x):
        return super().__call__(x) + 100.0


def replaced(module, change):
    forward = module.forward
    module.forward = lambda x: change(forward(x))
    return module


def conv(kind=nn.Conv2d):
    return kind(2, 2, 3, padding=1, rng=np.random.default_rng(0))


def folded():
    return nn.FoldedBatchNorm()


def hooked(module):
    module.register_forward_hook(lambda module, inputs, y: y * -1.0)
    return module


def as_parts(conv, norm, relu, x, shortcut):
    return relu(norm(conv(x)) + shortcut)


@pytest.mark.parametrize(
    ("first", "norm", "relu"),
    [
        (conv, lambda: Shifted(2), nn.ReLU),
        (conv, lambda: Called(2), nn.ReLU),
        (conv, lambda: replaced(nn.BatchNorm2d(2), lambda y: y + 100.0), nn.ReLU),
        (conv, lambda: nn.BatchNorm2d(2), Negated),
        (conv, lambda: nn.BatchNorm2d(2), lambda: replaced(nn.ReLU(), lambda y: y * -1.0)),
        (conv, lambda: nn.BatchNorm2d(2), lambda: F.relu),
        (conv, lambda: nn.BatchNorm2d(2), nn.Identity),
        (lambda: conv(ShiftedConv), lambda: nn.BatchNorm2d(2), nn.ReLU),
        (lambda: conv(ShiftedConv), folded, nn.ReLU),
        (lambda: replaced(conv(), lambda y: y + 100.0), folded, nn.ReLU),
        (lambda: hooked(conv()), folded, nn.ReLU),
        (conv, ShiftedFolded, nn.ReLU),
        (conv, lambda: hooked(folded()), nn.ReLU),
        (conv, folded, Negated),
        (conv, folded, lambda: hooked(nn.ReLU())),
        (lambda: nn.Identity(), folded, nn.ReLU),
    ],
)
def test_a_forward_pass_that_is_not_the_layers_own_is_called(first, norm, relu):
    x, shortcut, relu = image(2, 2, 4, 4), image(2, 2, 4, 4) * 2.0, relu()
    y = nn.chain(x, first(), norm(), nn.Add(shortcut), relu)
    assert np.array_equal(y.numpy(), as_parts(first(), norm(), relu, x, shortcut).numpy())


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.ReLU])
def test_a_forward_pass_that_was_replaced_in_the_class_is_called(kind, monkeypatch):
    monkeypatch.setattr(kind, "forward", lambda self, x: x * 0.0 + 7.0)
    assert (nn.chain(image(2, 2, 4, 4), conv(), nn.BatchNorm2d(2), nn.ReLU()).numpy() == 7.0).all()


def test_plain_layers_are_one_operation():
    class Quiet(nn.BatchNorm2d):  # a subclass with the same forward pass
        pass

    x = image(2, 2, 4, 4)
    for norm in (nn.BatchNorm2d(2), Quiet(2)):
        assert nn.chain(x, conv(), norm, nn.ReLU(inplace=True)).history() == "op=BatchNormAct"
    assert nn.chain(x, conv(), folded(), nn.Add(x), nn.ReLU()).history() == "op=Conv2dAct"


def test_in_evaluation_a_convolution_takes_its_batch_norm_along():
    """Where nothing is recorded; in one pass, and with the same result as the parts have."""
    rng = np.random.default_rng(0)
    x, shortcut = (mr.tensor(rng.standard_normal(shape)) for shape in ((2, 3, 6, 6), (2, 4, 6, 6)))
    for bias in (False, True):
        conv, norm, relu = nn.Conv2d(3, 4, 3, padding=1, bias=bias), nn.BatchNorm2d(4), nn.ReLU()
        for layer in (conv, norm):
            layer.to(np.float64)
        for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            value.assign_(rng.uniform(0.5, 2, 4))
        norm.eval()
        for added in (None, shortcut):
            with mr.no_grad():
                fused = nn.chain(x, conv, norm, nn.Add(added), relu)
            parts = norm(conv(x))
            expected = relu(parts if added is None else parts + added)
            np.testing.assert_allclose(fused.numpy(), expected.numpy(), rtol=1e-12, atol=1e-14)
        recorded = nn.chain(x, conv, norm, relu)
        recorded.sum().backward()
        assert norm.weight.grad is not None


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda conv, norm: setattr(norm, "running_var", mr.ones(3)), ShapeError, r"running_var has shape \(3,\)"),
        (lambda conv, norm: norm.to(np.float64), DtypeError, "running_mean is in float64"),
        (lambda conv, norm: setattr(norm, "eps", -1.0), ValueError, "eps must be .* not negative, got -1.0"),
        (lambda conv, norm: setattr(norm, "eps", None), ValueError, "eps must be .* not negative, got None"),
        (lambda conv, norm: setattr(conv, "bias", nn.Parameter(np.ones(3, "f"))), ShapeError, r"bias of shape \(3,\)"),
        (lambda conv, norm: setattr(conv, "weight", None), TypeError, "the weight of Conv2d is None"),
        (lambda conv, norm: setattr(conv, "padding", "same"), ShapeError, "padding must be an integer .* got 'same'"),
        (lambda conv, norm: setattr(conv, "stride", 0), ShapeError, "stride must be at least 1"),
    ],
)
def test_what_was_set_wrongly_is_the_same_error_whether_layers_are_fused_or_not(change, error, text):
    layer, norm = conv(), nn.BatchNorm2d(2).eval()
    change(layer, norm)
    for context in (mr.no_grad(), contextlib.nullcontext()):
        with pytest.raises(error, match=text), context:
            nn.chain(image(2, 2, 4, 4), layer, norm, nn.ReLU())


def test_the_layers_are_called_one_after_the_other_and_functions_are_layers():
    x = mr.tensor([-1.0, 2.0])
    assert nn.chain(x) is x
    y = nn.chain(x, lambda x: x * 3.0, nn.Add(mr.tensor([0.0, 1.0])), F.relu, nn.Add(None), nn.Identity())
    assert y.numpy().tolist() == [0.0, 7.0]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_chain_goes_on_after_what_runs_as_one_operation(recorded):
    one, two, norm = conv(), conv(), randomise(nn.BatchNorm2d(2)).eval()
    x, shortcut, relu, pool = image(2, 2, 4, 4), image(2, 2, 4, 4), nn.ReLU(), nn.MaxPool2d(2)
    with contextlib.nullcontext() if recorded else mr.no_grad():
        parts = nn.chain(nn.chain(x, one, norm, relu), two, norm, nn.Add(shortcut), relu)
        whole = nn.chain(x, one, norm, relu, two, norm, nn.Add(shortcut), relu, pool)
    assert np.array_equal(pool(parts).numpy(), whole.numpy())


def randomise(norm):
    rng = np.random.default_rng(1)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        value.assign_(rng.uniform(0.5, 2, value.shape).astype(value.dtype))
    return norm


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("path", ["conv1", "bn1", "relu", "conv2", "bn2", "downsample", "downsample.0", "downsample.1"])
def test_a_hook_on_any_layer_of_a_block_sees_each_call_once(path, training):
    """In a block of which nothing else has a hook, so that all else runs as one operation where it can."""
    shortcut = nn.Sequential(nn.Conv2d(2, 4, 1, 2, bias=False), nn.BatchNorm2d(4))
    block, x = models.BasicBlock(2, 4, 2, shortcut).to(np.float64), image(3, 2, 6, 6, dtype=np.float64)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            randomise(module)
    block.train(training)
    seen, calls = [], calls_of_parts(block, x)[path]
    block.get_submodule(path).register_forward_hook(lambda module, inputs, y: seen.append((*inputs, y)))
    with mr.no_grad():
        block(x)
    assert len(seen) == len(calls)
    for found, expected in zip(seen, calls, strict=True):
        for one, other in zip(found, expected, strict=True):
            # What comes before may run as one operation, in evaluation with a scale and a shift: a few roundings.
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-13)


def calls_of_parts(block, x):
    """Return inputs and outputs of all calls by path, with the layers of blocks called as in the paper."""
    y1 = block.conv1(x)
    z1 = block.bn1(y1)
    a = block.relu(z1)
    y2 = block.conv2(a)
    z2 = block.bn2(y2)
    projected = block.downsample[0](x)
    shortcut = block.downsample[1](projected)
    total = z2 + shortcut
    return {
        "conv1": [(x, y1)], "bn1": [(y1, z1)], "relu": [(z1, a), (total, block.relu(total))],
        "conv2": [(a, y2)], "bn2": [(y2, z2)],
        "downsample": [(x, shortcut)], "downsample.0": [(x, projected)], "downsample.1": [(projected, shortcut)],
    }  # fmt: skip


@pytest.mark.parametrize("norm", [lambda: nn.BatchNorm2d(2).eval(), folded, lambda: nn.BatchNorm2d(2)])
def test_what_is_no_tensor_is_refused_by_the_first_layer(norm):
    with pytest.raises(TypeError, match=r"Conv2d takes a tensor, not a ndarray"), mr.no_grad():
        nn.chain(np.zeros((2, 2, 4, 4), np.float32), conv(), norm(), nn.ReLU())
