import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.errors import ShapeError
from minires.nn import FoldedBatchNorm, fold_batch_norm

F = mr.functional


def randomise(model, seed=0):
    """Set arbitrary statistics: negative and tiny gammas, variances from 1e-9 to 10.

    The factor gamma / √(var + eps) is between 0.3 and 1.2 in size, so that a deep network neither dies out
    nor overflows.
    """
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            C = module.weight.shape
            var = 10 ** rng.uniform(-9, 1, C)
            gamma = rng.uniform(0.3, 1.2, C) * rng.choice([-1, 1], C) * np.sqrt(var + module.eps)
            for t, value in ((module.weight, gamma), (module.bias, rng.standard_normal(C)),
                             (module.running_mean, rng.standard_normal(C)), (module.running_var, var)):  # fmt: skip
                t.assign_(value.astype(t.dtype))
    return model


def image(*shape, dtype=np.float64):
    return mr.tensor(np.random.default_rng(1).standard_normal(shape).astype(dtype))


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


# Rounding once more in the weights is 2⁻²⁴ (2⁻⁵³) a layer and is not amplified beyond the activations' size: a
# hundred layers and as many sums stay well inside what the documentation promises.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def assert_same_output(model, folded, x, tolerance=1e-12):
    with mr.no_grad():
        a, b = model.eval()(x).numpy(), folded(x).numpy()
    assert np.abs(a - b).max() <= tolerance * np.abs(a).max()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("name", "options", "norms"),
    [("resnet18", {}, 20), ("resnet50", {}, 53), ("resnet20", {}, 19), ("resnet20", {"shortcut": "B"}, 21),
     ("plain20", {}, 19)],
)  # fmt: skip
def test_a_folded_network_has_the_same_output_and_no_batch_norm(name, options, norms, dtype):
    model = randomise(getattr(models, name)(**options).to(dtype=dtype))
    folded = fold_batch_norm(model)
    assert (count(folded, nn.BatchNorm2d), count(folded, FoldedBatchNorm)) == (0, norms)
    assert_same_output(model, folded, image(2, 3, 64, 64, dtype=dtype), TOLERANCE[dtype])


def test_the_model_itself_stays_as_it_is():
    model = randomise(models.resnet20())
    model.layer1[0].eval()  # another mode than the rest
    calls = []
    model.conv1.register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    modes, modules = [m.training for m in model.modules()], list(model.modules())
    folded = fold_batch_norm(model)
    folded(image(1, 3, 32, 32, dtype=np.float32)).sum().backward()
    assert not calls
    assert list(model.modules()) == modules
    assert [m.training for m in model.modules()] == modes
    assert all(np.array_equal(before[name], value.numpy()) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not set(map(id, model.parameters())) & set(map(id, folded.parameters()))


def test_folding_multiplies_the_weights_and_moves_the_bias():
    conv, norm = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2), nn.BatchNorm2d(6)
    model = randomise(nn.Sequential(conv, norm, nn.ReLU()).to(dtype=np.float64))
    folded = fold_batch_norm(model)
    scale = norm.weight.numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)
    w = conv.weight.numpy() * scale[:, None, None, None]
    b = norm.bias.numpy() + scale * (conv.bias.numpy() - norm.running_mean.numpy())
    # The same operations in the same order: equal to the last bit, or nearly so where a root rounds otherwise.
    assert np.allclose(folded[0].weight.numpy(), w, rtol=1e-15, atol=0)
    assert np.allclose(folded[0].bias.numpy(), b, rtol=1e-14, atol=0)
    assert list(folded.state_dict()) == ["0.weight", "0.bias"]
    assert_same_output(model, folded, image(2, 4, 9, 8))


def test_float32_weights_are_rounded_once():
    model = randomise(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)))
    folded = fold_batch_norm(model)
    exact = fold_batch_norm(model.to(dtype=np.float64))
    for a, b in zip(folded.parameters(), exact.parameters(), strict=True):
        assert a.dtype == np.float32
        assert np.array_equal(a.numpy(), b.numpy().astype(np.float32))


def test_a_weight_keeps_its_memory_order():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    w = model[0].weight.numpy()
    order = np.empty((3, 3, 5, 3), np.float32).transpose(2, 3, 0, 1)  # R, S, K, C in memory
    order[...] = w
    model[0].weight = nn.Parameter(order)
    assert fold_batch_norm(model)[0].weight.numpy().strides == order.strides != w.strides


class Graph(nn.Module):
    """Two convolutions and two batch norms, and a forward pass to try."""

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.bn1, self.conv1 = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1, bias=False)  # an order that misleads
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.run(self, x)


def two_readers(g, x):
    y = g.conv1(x)
    return g.bn1(y) + y


def two_norms(g, x):
    y = g.conv1(x)
    return g.bn1(y) + g.bn2(y)


def one_of_two_calls(g, x):
    return g.bn1(g.conv1(x)) + g.conv1(x * 2.0)


def one_norm_after_two_convolutions(g, x):
    return g.bn1(g.conv1(x)) + g.bn1(g.conv2(x))


def one_norm_on_the_input_too(g, x):
    return g.bn1(g.conv1(g.bn1(x)))


def one_convolution_before_two_norms(g, x):
    return g.bn1(g.conv1(x)) + g.bn2(g.conv1(x * 2.0))


def read_without_gradient(g, x):
    y = g.conv1(x)
    return g.bn1(y) * y.detach()


def read_as_array(g, x):
    y = g.conv1(x)
    return g.bn1(y) * float(y.numpy().max())


def compared(g, x):
    y = g.conv1(x)
    positive = mr.tensor((y > 0.0).numpy().astype(np.float64))
    return g.bn1(y) * positive


def something_between(g, x):
    return g.bn1(F.relu(g.conv1(x)))


def norm_first(g, x):
    return F.relu(g.bn1(x))


@pytest.mark.parametrize(
    "run",
    [two_readers, two_norms, one_of_two_calls, one_norm_after_two_convolutions, one_norm_on_the_input_too,
     one_convolution_before_two_norms, read_without_gradient, read_as_array, compared, something_between, norm_first],
)  # fmt: skip
def test_nothing_is_folded_where_another_would_see_it(run):
    model = randomise(Graph(run).to(dtype=np.float64))
    folded = fold_batch_norm(model)
    assert count(folded, FoldedBatchNorm) == 0
    assert_same_output(model, folded, image(2, 3, 6, 6))


def pre_activation(g, x):
    return x + g.conv2(F.relu(g.bn2(g.conv1(F.relu(g.bn1(x))))))


def crossed(g, x):
    return g.bn1(g.conv2(F.relu(g.bn2(x))))


def twice(g, x):
    return g.bn1(g.conv1(F.relu(g.bn1(g.conv1(x)))))


def through_an_identity(g, x):
    return g.bn1(nn.Identity()(g.conv1(x)))


@pytest.mark.parametrize("run", [pre_activation, crossed, twice, through_an_identity])
def test_what_follows_what_is_found_by_the_flow_of_data(run):
    model = randomise(Graph(run).to(dtype=np.float64))
    folded = fold_batch_norm(model)
    assert count(folded, FoldedBatchNorm) == 1
    assert_same_output(model, folded, image(2, 3, 6, 6))


def test_an_output_that_the_model_returns_or_keeps_is_not_changed():
    def returned(g, x):
        y = g.conv1(x)
        return g.bn1(y), y

    def kept(g, x):
        g.features = g.conv1(x)
        return g.bn1(g.features)

    x = image(1, 3, 6, 6)
    for run, look in ((returned, lambda g: g(x)[1]), (kept, lambda g: (g(x), g.features)[1])):
        model = randomise(Graph(run).to(dtype=np.float64)).eval()
        folded = fold_batch_norm(model)
        assert count(folded, FoldedBatchNorm) == 0
        assert np.array_equal(look(model).numpy(), look(folded).numpy())


def test_a_batch_norm_without_scale_and_shift_is_folded():
    norm = nn.BatchNorm2d(4, affine=False)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm).to(dtype=np.float64)
    rng = np.random.default_rng(0)
    norm.running_mean.assign_(rng.standard_normal(4))
    norm.running_var.assign_(rng.uniform(0.5, 2.0, 4))
    folded = fold_batch_norm(model)
    assert count(folded, FoldedBatchNorm) == 1
    assert_same_output(model, folded, image(2, 3, 6, 6))


def test_a_batch_norm_without_running_statistics_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).to(dtype=np.float64)
    folded = fold_batch_norm(model)
    assert count(folded, FoldedBatchNorm) == 0
    assert_same_output(model, folded, image(2, 3, 6, 6))


CHANGES = {
    "not tracked": lambda conv, norm: setattr(norm, "track_running_stats", False),
    "no count": lambda conv, norm: setattr(norm, "num_batches_tracked", None),
    "no scale": lambda conv, norm: setattr(norm, "weight", None),
    "no shift": lambda conv, norm: setattr(norm, "bias", None),
    "eps": lambda conv, norm: setattr(norm, "eps", np.float64(0.5)),
    "affine, which says nothing": lambda conv, norm: setattr(norm, "affine", False),
    "no bias": lambda conv, norm: setattr(conv, "bias", None),
    "stride and padding": lambda conv, norm: vars(conv).update(stride=2, padding=(0, 1)),
    "other filters": lambda conv, norm: setattr(conv, "weight", nn.Parameter(np.full((4, 3, 1, 2), 0.25))),
    "one in training": lambda conv, norm: norm.train(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_since_the_layers_were_made_is_folded_as_it_is_now(change):
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())).to(np.float64).eval()
    change(model[0], model[1])
    folded = fold_batch_norm(model)
    assert count(folded, nn.BatchNorm2d) == 0
    assert_same_output(model, folded, image(2, 3, 8, 8))


def test_a_batch_norm_that_lost_its_statistics_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(np.float64)
    model[1].running_mean = model[1].running_var = None
    folded = fold_batch_norm(model)
    assert count(folded, nn.BatchNorm2d) == 1
    assert_same_output(model, folded, image(2, 3, 8, 8))


def test_a_class_derived_from_a_layer_is_left_alone():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True))

    model = randomise(nn.Sequential(Standardised(3, 4, 3), nn.BatchNorm2d(4)).to(dtype=np.float64))
    folded = fold_batch_norm(model)
    assert count(folded, FoldedBatchNorm) == 0
    assert_same_output(model, folded, image(2, 3, 6, 6))


@pytest.mark.parametrize("place", [0, 1])
def test_a_layer_with_a_forward_pass_of_its_own_is_left_alone(place):
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(np.float64))
    layer = model[place]
    layer.forward = lambda x: type(layer).forward(layer, x) + 100.0
    folded = fold_batch_norm(model)
    assert count(folded, FoldedBatchNorm) == 0
    assert_same_output(model, folded, image(2, 3, 6, 6))


def test_what_was_frozen_stays_frozen():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model.requires_grad_(False)
    model[3].bias.requires_grad_()
    model = randomise(model.to(np.float64))
    x = image(1, 3, 3, 3)
    folded = fold_batch_norm(model, x)
    assert [p.requires_grad for p in folded.parameters()] == [False, False, False, True]
    model[1].weight.requires_grad_()  # part of the folded weights, which then learn
    assert [p.requires_grad for p in fold_batch_norm(model, x).parameters()] == [True, True, False, True]
    assert not model[0].weight.requires_grad


def test_a_batch_norm_under_two_names_is_replaced_under_both():
    model = Graph(lambda g, x: g.again(g.conv1(x)))
    model.again = model.bn1
    folded = fold_batch_norm(randomise(model.to(np.float64)))
    assert type(folded.bn1) is type(folded.again) is FoldedBatchNorm
    assert_same_output(model, folded, image(2, 3, 6, 6))


def test_a_weight_that_two_convolutions_share_is_scaled_in_one():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3))
    model[2].weight = model[0].weight
    randomise(model.to(dtype=np.float64))
    assert_same_output(model, fold_batch_norm(model), image(2, 3, 8, 8))


def test_training_mode_changes_nothing_in_a_folded_model_but_its_weights_can_be_trained():
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).to(dtype=np.float64))
    folded, x = fold_batch_norm(model), image(2, 3, 6, 6)
    assert not any(module.training for module in folded.modules())
    y = folded(x).numpy()
    z = folded.train()(x)
    assert np.array_equal(y, z.numpy())
    z.sum().backward()
    assert all(p.grad is not None for p in folded.parameters())


def test_the_place_of_a_batch_norm_adds_the_shortcut_and_rectifies():
    nothing, norm, relu = nn.Identity(), FoldedBatchNorm(), nn.ReLU()
    x, shortcut = mr.tensor([-1.0, 2.0, 3.0]), mr.tensor([0.5, 0.5, -4.0])
    assert norm(x) is x
    assert nn.chain(x, nothing, norm, relu).numpy().tolist() == [0.0, 2.0, 3.0]
    assert nn.chain(x, nothing, norm, nn.Add(shortcut), relu).numpy().tolist() == [0.0, 2.5, 0.0]
    norm.register_forward_hook(lambda module, inputs, y: y * -1.0)
    relu.register_forward_hook(lambda module, inputs, y: y * 2.0)
    assert nn.chain(x, nothing, norm, relu).numpy().tolist() == [2.0, 0.0, 0.0]


def test_a_folded_block_is_one_operation_for_each_convolution():
    model = randomise(models.resnet20().to(dtype=np.float64))
    folded, x = fold_batch_norm(model), image(1, 3, 32, 32)
    ops = {node.history() for node in (folded.layer1[0](folded.conv1(x)), folded.layer2[0](image(1, 16, 8, 8)))}
    assert ops == {"op=Conv2dAct"}
    assert_same_output(model, folded, x)


def test_a_model_without_such_a_pair_is_copied():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    folded = fold_batch_norm(model)
    assert folded[1].weight is not model[1].weight
    assert np.array_equal(folded[1].weight.numpy(), model[1].weight.numpy())
    assert not folded.training


def test_only_modules_are_folded():
    with pytest.raises(TypeError, match="fold_batch_norm takes a module, not a str"):
        fold_batch_norm("resnet18")


def test_an_unusual_image_size_needs_an_example():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 9 * 5, 3))
    randomise(model.to(dtype=np.float64))
    with pytest.raises(ShapeError, match=r"\(1, 1\) \+ \(size, size\).*pass an example"):
        fold_batch_norm(model)
    x = image(2, 1, 11, 7)
    folded = fold_batch_norm(model, x)
    assert count(folded, FoldedBatchNorm) == 1
    assert_same_output(model, folded, x)


class ReadsElsewhere(nn.Module):
    """A convolution and its batch norm, and something else that reads a parameter of either."""

    def __init__(self, more):
        super().__init__()
        self.conv, self.norm, self.more = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), more

    def forward(self, x):
        return self.norm(self.conv(x)) + self.more(self, x)


@pytest.mark.parametrize(
    "more",
    [
        lambda model, x: model.conv.bias.sum(),
        lambda model, x: model.conv.forward(x),
        lambda model, x: F.conv2d(x, model.conv.weight, padding=1),
        lambda model, x: model.norm.weight.sum(),
    ],
)
def test_what_is_read_elsewhere_is_not_folded_and_this_is_said(more):
    model = randomise(ReadsElsewhere(more))
    with pytest.warns(UserWarning, match="folds nothing: folded, ReadsElsewhere would give something else"):
        folded = fold_batch_norm(model)
    x = image(1, 3, 8, 8, dtype=np.float32)
    assert np.array_equal(folded(x).array, model.eval()(x).array)
