import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import ShapeError

F = mr.functional
X = mr.tensor(np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32))


@pytest.mark.parametrize(("layer", "function"), [(nn.MaxPool2d, F.max_pool2d), (nn.AvgPool2d, F.avg_pool2d)])
@pytest.mark.parametrize("window", [(2,), (3, 2, 1), ((3, 2), (1, 2), (1, 0))])
def test_a_pooling_layer_is_the_function_of_its_window(layer, function, window):
    assert np.array_equal(layer(*window)(X).numpy(), function(X, *window).numpy())


def test_an_adaptive_layer_takes_pairs_and_the_images_own_size():
    assert nn.AdaptiveAvgPool2d((2, None))(X).shape == (2, 3, 2, 6)
    assert np.array_equal(nn.AdaptiveAvgPool2d(1)(X).numpy(), F.adaptive_avg_pool2d(X, 1).numpy())


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
