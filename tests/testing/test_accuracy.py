"""With ``accuracy=``, right gradients of functions that are less accurate than float64 pass; wrong ones do not."""

import numpy as np
import pytest

import minires as mr
from minires import testing

A = np.array([0.1, 0.7])


def root(a, tolerance=1e-8):
    """Solve x = (x + cos x + a) / 2 by iteration."""
    x = np.zeros_like(a)
    while True:
        new = 0.5 * x + 0.5 * (np.cos(x) + a)
        if np.abs(new - x).max() < tolerance:
            return new
        x = new


def root_vjp(gy, a):
    return (gy / (1 + np.sin(root(a))),)


@pytest.mark.parametrize(("accuracy", "seed"), [(1e-7, 0), ((1e-7, 0), 1), (np.array([0, 1e-7]), 2)])
def test_an_iteration_that_stops_early_passes_within_its_accuracy(accuracy, seed):
    report = testing.check_vjp(root, root_vjp, A, accuracy=accuracy, rng=seed)
    assert 1e-9 < report.resolution < 1e-3
    with pytest.raises(testing.GradientError):
        testing.check_vjp(root, root_vjp, A, rng=seed)


def test_more_than_the_accuracy_allows_is_wrong():
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(root, lambda gy, a: (1.001 * root_vjp(gy, a)[0],), A, accuracy=1e-7)
    assert not isinstance(caught.value, testing.Inconclusive)
    assert caught.value.finding.bound > 1e-7


def test_a_gradient_may_be_as_inaccurate():
    def vjp(gy, a):
        return (gy / (1 + np.sin(root(a, 1e-7)) + 1e-8 * gy),)  # not quite linear in gy, either

    testing.check_vjp(root, vjp, A, accuracy=1e-6)
    with pytest.raises(testing.GradientError, match="not linear"):
        testing.check_vjp(root, vjp, A)


def test_an_accuracy_that_hides_an_error_of_a_hundredth_proves_nothing():
    with pytest.raises(testing.Inconclusive):
        testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), A, accuracy=1e-2)


def test_functions_of_tensors_may_be_inaccurate_too():
    assert testing.check_gradient(lambda x: x * x, mr.tensor(A), accuracy=1e-7).resolution > 1e-7
    with pytest.raises(ValueError, match="accuracy is for finite differences"):
        testing.check_gradient(lambda x: x * x, mr.tensor(A), accuracy=1e-7, method="complex step")


@pytest.mark.parametrize(
    ("accuracy", "error"),
    [
        (-1e-7, ValueError),
        (np.nan, ValueError),
        ((1, 2, 3), ValueError),
        ((1e-7,), ValueError),
        ("high", TypeError),
        ("1e-7", TypeError),
        (True, TypeError),
        ([[1e-7, 0]], TypeError),
    ],
)
def test_an_invalid_accuracy_raises(accuracy, error):
    with pytest.raises(error, match="accuracy must be a number or a pair"):
        testing.check_vjp(root, root_vjp, A, accuracy=accuracy)
