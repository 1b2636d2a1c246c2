"""Operations report their choices, and a gradient check uses them to find kinks."""

import numpy as np
import pytest

import minires as mr
from minires import testing
from minires.testing.tensors import fingerprint

F = mr.functional
EPS = 1e-9  # nearer to the kink than the finest step of a check


def norm(x, relu=True, training=True):
    statistics = mr.zeros(2, dtype=np.float64), mr.ones(2, dtype=np.float64)
    return F.batch_norm_act(x, *statistics, training=training, relu=relu)


def first_derivative(function):
    """Return the function's gradient; its graph also holds the choices."""

    def derivative(x):
        return mr.grad(function(x).sum(), x, create_graph=True)[0]

    return derivative


# A function, and two points between which one choice changes.
CHOICES = {
    "relu": (F.relu, [1.0, EPS], [1.0, -EPS]),
    "relu's gradient": (first_derivative(lambda x: F.relu(x) * F.relu(x)), [1.0, EPS], [1.0, -EPS]),
    "absolute": (F.absolute, [1.0, EPS], [1.0, -EPS]),
    "clip": (lambda x: x.clip(0.0, 1.0), [0.5, 1 - EPS], [0.5, 1 + EPS]),
    "maximum": (lambda x: mr.maximum(x, 1.0), [0.5, 1 - EPS], [0.5, 1 + EPS]),
    "max": (lambda x: x.max(), [1.0, 1 - EPS], [1.0, 1 + EPS]),
    "min": (lambda x: x.min(), [1.0, 1 - EPS], [1.0, 1 + EPS]),
    "max along an axis": (lambda x: x.max(0).values, [1.0, 1 - EPS], [1.0, 1 + EPS]),
    "max pool": (lambda x: F.max_pool2d(x.reshape(1, 1, 1, 2), (1, 2)), [1.0, 1 - EPS], [1.0, 1 + EPS]),
    "max pool's gradient": (
        first_derivative(lambda x: F.max_pool2d(x.reshape(1, 1, 1, 2), (1, 2)) ** 2.0),
        [1.0, 1 - EPS],
        [1.0, 1 + EPS],
    ),
    "batch norm and relu": (
        lambda x: norm(x.reshape(2, 2, 1, 1)),
        [1.0, EPS, -1.0, -EPS],
        [1.0, -EPS, -1.0, EPS],
    ),
    "batch norm and relu, inference": (
        lambda x: norm(x.reshape(1, 2, 1, 1), training=False),
        [1.0, EPS],
        [1.0, -EPS],
    ),
}


def fingerprint_at(function, values):
    return fingerprint([function(mr.tensor(np.array(values), requires_grad=True))])


@pytest.mark.parametrize("kernel_set", ["reference", "fast"])
@pytest.mark.parametrize("name", CHOICES)
def test_another_choice_gives_another_fingerprint(name, kernel_set):
    function, here, there = CHOICES[name]
    with mr.kernels.using(kernel_set):
        at_home = fingerprint_at(function, here)
        assert at_home is not None
        assert fingerprint_at(function, here) == at_home
        assert fingerprint_at(function, there) != at_home


def test_operations_without_choices_have_no_fingerprint():
    assert (
        fingerprint_at(lambda x: norm((x.exp() / 2.0).reshape(1, 2, 1, 1), relu=False, training=False), [1, 2.0])
        is None
    )


@pytest.mark.parametrize("order", [1, 2])
def test_an_element_at_a_kink_is_left_out_and_the_others_are_checked(order):
    x = mr.tensor(np.array([1.0, EPS, -2.0, 0.0, 0.5]), requires_grad=True)
    report = testing.check_gradient(lambda x: F.relu(x) * F.relu(x) * x, x, order=order)
    assert report.inputs[0].elements_left_out == ((1,), (3,))
    assert report.resolution < 1e-9


def test_a_kink_too_weak_to_be_seen_in_values_is_known():
    def function(x):
        return x.exp() + F.relu(x - 1.0) * 1e-9

    x = mr.tensor(np.array([0.5, 1.0 + 1e-12]), requires_grad=True)
    assert testing.check_gradient(function, x).inputs[0].elements_left_out == ((1,),)
    with pytest.raises(testing.Inconclusive, match="kink"):
        testing.check_gradient(function, x, at_kinks="raise")


class Leaky(mr.Op):
    """A rectifier whose gradient is off by a part in a hundred thousand."""

    def forward(self, x):
        self.save(x)
        return np.maximum(x, 0)

    def backward(self, gy):
        return (gy * mr.where(self.saved[0] > 0.0, 1.0 + 1e-5, 0.0 * gy),)


def test_an_error_beside_kinks_is_found():
    x = mr.tensor(np.array([1.0, 1e-4, -1e-5, 2.0, 1e-9]), requires_grad=True)
    with pytest.raises(testing.GradientError) as caught:
        testing.check_gradient(lambda x: F.relu(Leaky.apply(x) - 1e-5), x)
    assert not isinstance(caught.value, testing.Inconclusive)
