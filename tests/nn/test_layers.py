import inspect

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires import random as mr_random
from minires.errors import ShapeError

F = mr.functional


def image(*shape, dtype=np.float32):
    return mr.tensor(np.random.default_rng(0).standard_normal(shape).astype(dtype))


# Activations


@pytest.mark.parametrize(
    "name", [name for name in nn.__all__ if list(inspect.signature(getattr(F, name.lower(), len)).parameters) == ["x"]]
)
def test_an_activation_layer_applies_the_function_of_its_name(name):
    layer, function = getattr(nn, name)(), getattr(F, name.lower())
    x = image(2, 3, 4, 5)
    assert np.array_equal(layer(x).numpy(), function(x).numpy())


# Sizes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(0, 4, 3), "in_channels must be a positive integer, got 0"),
        (lambda: nn.Conv2d(3.0, 4, 3), r"in_channels must be a positive integer, got 3\.0"),
        (lambda: nn.Conv2d(3, 0, 3), "out_channels must be a positive integer, got 0"),
        (lambda: nn.Conv2d(3, True, 3), "out_channels must be a positive integer, got True"),
        (lambda: nn.Conv2d(3, 4, 0), r"kernel must be at least 1, got \(0, 0\)"),
        (lambda: nn.Conv2d(3, 4, (3, -1)), r"kernel must be at least 1, got \(3, -1\)"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), r"stride must be at least 1, got \(0, 0\)"),
        (lambda: nn.Conv2d(3, 4, 3, padding=(0, -1)), r"padding must be at least 0, got \(0, -1\)"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same"), "padding must be an integer or a pair of integers, got 'same'"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=0), r"dilation must be at least 1, got \(0, 0\)"),
        (lambda: nn.Conv2d(3, 4, 3, groups=0), "groups must be a positive integer, got 0"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), r"groups=4 must divide the channels in \(4\) and out \(6\)"),
        (lambda: nn.Linear(0, 5), "in_features must be a positive integer, got 0"),
        (lambda: nn.Linear(-1, 5), "in_features must be a positive integer, got -1"),
        (lambda: nn.Linear(5, 0), "out_features must be a positive integer, got 0"),
        (lambda: nn.BatchNorm2d(-1), "num_features must be a positive integer, got -1"),
        (lambda: nn.BatchNorm2d(0), "num_features must be a positive integer, got 0"),
    ],
)
def test_an_impossible_size_is_named_before_anything_is_drawn(make, message):
    before = mr_random.get_state()
    with pytest.raises(ShapeError, match=message):
        make()
    assert mr_random.get_state() == before


def test_layers_know_their_sizes_under_pytorchs_names():
    conv = nn.Conv2d(2, 4, (3, 5), stride=2, padding=(1, 0), dilation=2, groups=2)
    assert (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride) == (2, 4, (3, 5), (2, 2))
    assert (conv.padding, conv.dilation, conv.groups) == ((1, 0), (2, 2), 2)
    linear, norm = nn.Linear(np.int64(3), 2), nn.BatchNorm2d(7)
    assert (linear.in_features, linear.out_features, norm.num_features) == (3, 2, 7)
    assert norm.affine
    assert nn.CrossEntropyLoss(reduction="sum").reduction == "sum"


def test_layers_describe_themselves_as_in_pytorch():
    assert repr(nn.Conv2d(2, 4, 3)) == "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1))"
    assert repr(nn.Conv2d(2, 4, 3, 2, 1, 2, 2, bias=False)) == (
        "Conv2d(2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2, bias=False)"
    )
    assert repr(nn.BatchNorm2d(4)) == "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
    assert repr(nn.Linear(4, 3, bias=False)) == "Linear(in_features=4, out_features=3, bias=False)"
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert (repr(nn.Dropout(0.25)), repr(nn.ReLU())) == ("Dropout(p=0.25)", "ReLU()")


# What they compute


def test_a_convolution_is_the_function_of_its_parameters_and_options():
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=2)
    x = image(2, 4, 7, 6)
    assert np.array_equal(conv(x).numpy(), F.conv2d(x, conv.weight, conv.bias, (2, 1), 1, (1, 2), 2).numpy())


def test_linear_works_on_the_last_axis():
    linear, x = nn.Linear(4, 3), image(2, 5, 4)
    assert np.array_equal(linear(x).numpy(), F.linear(x, linear.weight, linear.bias).numpy())


def test_initial_weights_are_bounded_by_the_fan_in():
    conv, linear = nn.Conv2d(4, 64, 3, groups=2), nn.Linear(25, 400)
    for layer, fan_in in ((conv, 2 * 3 * 3), (linear, 25)):
        for values in (layer.weight.numpy(), layer.bias.numpy()):
            # The bound is rounded to float32 as the values are.
            assert np.abs(values).max() <= np.float32(1 / np.sqrt(fan_in))
    assert not np.array_equal(conv.weight.numpy(), nn.Conv2d(4, 64, 3, groups=2).weight.numpy())


def test_relu_with_inplace_leaves_its_input_alone():
    x = mr.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x).numpy().tolist() == [0.0, 2.0]
    assert x.numpy().tolist() == [-1.0, 2.0]


def test_flatten_dropout_and_the_loss_pass_their_options_on():
    x = image(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(2, 3)(x).shape == (2, 3, 20)
    dropout = nn.Dropout(1.0)
    assert not dropout(x).numpy().any()
    assert np.array_equal(dropout.eval()(x).numpy(), x.numpy())
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        nn.Dropout(1.5)
    logits, labels = image(4, 3), mr.tensor(np.array([0, 1, 2, 1]))
    loss = nn.CrossEntropyLoss(ignore_index=1, reduction="sum", label_smoothing=0.1)
    expected = F.cross_entropy(logits, labels, "sum", 0.1, 1)
    assert loss(logits, labels).item() == expected.item()


def test_numpy_numbers_are_options_and_change_no_dtype():
    norm, x = nn.BatchNorm2d(2, eps=np.float64(1e-3), momentum=np.float64(0.25)), image(2, 2, 4, 4)
    same = nn.BatchNorm2d(2, eps=1e-3, momentum=0.25)
    for training in (True, False):
        y, expected = norm.train(training)(x), same.train(training)(x)
        assert y.dtype == norm.running_mean.dtype == np.float32
        assert np.array_equal(y.numpy(), expected.numpy())
    norm.eps = np.float64(0.5)
    assert norm(x).dtype == np.float32
    assert nn.Dropout(np.float32(0.5)).p == 0.5
    loss = nn.CrossEntropyLoss(label_smoothing=np.float64(0.1))
    assert loss(mr.ones(2, 3), mr.tensor(np.array([0, 1]))).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.BatchNorm2d(2, eps=-1), "eps must be a finite number that is not negative, got -1"),
        (lambda: nn.BatchNorm2d(2, eps="x"), "eps must be a finite number that is not negative, got 'x'"),
        (lambda: nn.BatchNorm2d(2, momentum="x"), "momentum must be a finite number, got 'x'"),
        (lambda: nn.BatchNorm2d(2, momentum=np.nan), "momentum must be a finite number, got nan"),
        (lambda: nn.Dropout("x"), "the probability of dropout must be between 0 and 1, got 'x'"),
        (lambda: nn.Dropout(None), "between 0 and 1, got None"),
        (lambda: nn.ReLU().train("eval"), r"train\(\) takes True or False, got 'eval'; for evaluation call eval\(\)"),
    ],
)
def test_impossible_options_are_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()


LAYERS = {
    "Conv2d": lambda: nn.Conv2d(3, 2, 1),
    "BatchNorm2d": lambda: nn.BatchNorm2d(3),
    "ReLU": nn.ReLU,
    "Linear": lambda: nn.Linear(3, 3),
    "Flatten": nn.Flatten,
    "Dropout": nn.Dropout,
    "MaxPool2d": lambda: nn.MaxPool2d(1),
    "AvgPool2d": lambda: nn.AvgPool2d(1),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(1),
    "CrossEntropyLoss": lambda: lambda x: nn.CrossEntropyLoss()(x, mr.tensor(np.array([0]))),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_no_tensor_is_refused_by_the_layers_name(layer):
    for x, advice in ((np.zeros((1, 3, 3, 3)), r": make one with mr\.tensor\(x\)"), ([1.0], ": make one"), (None, "$")):
        with pytest.raises(TypeError, match=f"^{layer} takes a tensor, not a {type(x).__name__}{advice}"):
            LAYERS[layer]()(x)


@pytest.mark.parametrize("padding", [1, (1, 1), np.array(1), np.array([1, 1])])
def test_a_padding_of_any_kind_that_was_set_later_is_shown(padding):
    conv = nn.Conv2d(3, 6, 3)
    conv.padding = padding
    assert "padding=(1, 1)" in repr(conv)
    conv.padding = 0
    assert "padding" not in repr(conv)


@pytest.mark.parametrize(("kind", "shape"), [("Linear", (1, 2)), ("Conv2d", (1, 2, 3, 3))])
def test_a_layer_without_its_weight_says_so(kind, shape):
    layer = nn.Linear(2, 2) if kind == "Linear" else nn.Conv2d(2, 2, 1)
    layer.weight = None
    with pytest.raises(TypeError, match=f"the weight of {kind} is None: set it to a Parameter"):
        layer(mr.tensor(np.ones(shape, np.float32)))


def test_a_geometry_that_was_set_later_is_shown_as_any_other():
    layer = nn.Conv2d(1, 2, 3)
    layer.kernel_size, layer.stride, layer.padding, layer.dilation = 5, [1, 2], np.array([2, 2]), 1
    assert repr(layer) == "Conv2d(1, 2, kernel_size=(5, 5), stride=(1, 2), padding=(2, 2))"
    layer.stride = "2"  # an invalid value is shown unchanged
    assert "stride=2" in repr(layer)


# Pooling


@pytest.mark.parametrize(("layer", "function"), [(nn.MaxPool2d, F.max_pool2d), (nn.AvgPool2d, F.avg_pool2d)])
@pytest.mark.parametrize("window", [(2,), (3, 2, 1), ((3, 2), (1, 2), (1, 0))])
def test_a_pooling_layer_is_the_function_of_its_window(layer, function, window):
    x = image(2, 3, 7, 6)
    assert np.array_equal(layer(*window)(x).numpy(), function(x, *window).numpy())


def test_an_adaptive_layer_takes_pairs_and_the_images_own_size():
    x = image(2, 3, 7, 6)
    assert nn.AdaptiveAvgPool2d((2, None))(x).shape == (2, 3, 2, 6)
    assert np.array_equal(nn.AdaptiveAvgPool2d(1)(x).numpy(), F.adaptive_avg_pool2d(x, 1).numpy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MaxPool2d(0), r"kernel must be at least 1, got \(0, 0\)"),
        (lambda: nn.AvgPool2d((2, 0)), r"kernel must be at least 1, got \(2, 0\)"),
        (lambda: nn.MaxPool2d(2, stride=0), r"stride must be at least 1, got \(0, 0\)"),
        (lambda: nn.MaxPool2d(2, padding=-1), r"padding must be at least 0, got \(-1, -1\)"),
        (lambda: nn.AvgPool2d(2.0), r"kernel_size must be an integer or a pair of integers, got 2\.0"),
        (lambda: nn.MaxPool2d((2, 2, 2)), "kernel_size must be an integer or a pair of integers"),
        (lambda: nn.AdaptiveAvgPool2d(0), "output_size must be at least 1, got 0"),
        (lambda: nn.AdaptiveAvgPool2d((None, -1)), r"output_size must be at least 1, got \(None, -1\)"),
        (lambda: nn.AdaptiveAvgPool2d("1"), "output_size must be an integer or a pair of integers, got '1'"),
    ],
)
def test_an_impossible_window_is_refused_when_the_layer_is_made(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


def test_pooling_layers_know_and_show_their_windows():
    pool = nn.MaxPool2d(3)
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 3, 0)
    assert repr(nn.AvgPool2d(3, 2, 1)) == "AvgPool2d(kernel_size=3, stride=2, padding=1)"
    assert repr(nn.AdaptiveAvgPool2d((1, None))) == "AdaptiveAvgPool2d(output_size=(1, None))"


def test_a_window_that_was_set_later_is_shown_as_any_other():
    pool = nn.MaxPool2d(2)
    pool.stride, pool.padding = [1, 2], np.int64(1)
    assert repr(pool) == "MaxPool2d(kernel_size=2, stride=(1, 2), padding=1)"
