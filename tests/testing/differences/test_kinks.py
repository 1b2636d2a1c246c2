"""Points without a derivative that look smooth along every line are kinks, not errors."""

import numpy as np
import pytest

from minires import testing


def symmetric(a):
    return (a + a.T) / 2


def eigenvalues_vjp(gy, a):
    v = np.linalg.eigh(symmetric(a))[1]
    return ((v * gy) @ v.T,)


def singular_values(a):
    return np.linalg.svd(a, compute_uv=False)


def singular_values_vjp(gy, a):
    u, _, vt = np.linalg.svd(a, full_matrices=False)
    return ((u * gy) @ vt,)


def median_vjp(gy, x):
    g = np.zeros_like(x)
    g[np.argsort(x, kind="stable")[x.size // 2]] = gy
    return (g,)


def sort_vjp(gy, x):
    g = np.zeros_like(x)
    g[np.argsort(x, kind="stable")] = gy
    return (g,)


def eigenvalues(a):
    return np.linalg.eigvalsh(symmetric(a))


KINKS = {
    "eigenvalues of the identity": (eigenvalues, eigenvalues_vjp, np.eye(3)),
    "eigenvalues of zero": (eigenvalues, eigenvalues_vjp, np.zeros((3, 3))),
    "two pairs of eigenvalues": (eigenvalues, eigenvalues_vjp, np.diag([1.0, 1.0, 2.0, 2.0])),
    "singular values of the identity": (singular_values, singular_values_vjp, np.eye(3)),
    "singular values of zero": (singular_values, singular_values_vjp, np.zeros((3, 2))),
    "median of three equal numbers": (np.median, median_vjp, np.ones(3)),
    "median of five of which three are equal": (np.median, median_vjp, np.array([1.0, 2.0, 2.0, 2.0, 3.0])),
    "median of zeros": (np.median, median_vjp, np.zeros(5)),
    "sorting equal numbers": (np.sort, sort_vjp, np.ones(4)),
    "maximum of equal numbers": (np.max, lambda gy, x: (gy * (np.arange(x.size) == 0),), np.ones(3)),
    "length of zero": (np.linalg.norm, lambda gy, x: (0 * x,), np.zeros(3)),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", KINKS)
def test_a_tie_is_a_kink(name, seed):
    function, vjp, x = KINKS[name]
    with pytest.raises(testing.Inconclusive) as caught:
        testing.check_vjp(function, vjp, x, rng=seed)
    assert caught.value.cause == "kink"


@pytest.mark.parametrize(
    ("function", "vjp", "x", "count"),
    [
        (eigenvalues, eigenvalues_vjp, np.diag([1.0, 1.0, 2.0]), 2),
        (np.median, median_vjp, np.array([1.0, 2.0, 2.0]), 2),
        (np.sort, sort_vjp, np.array([0.5, 1.0, 1.0, 2.0, 3.0]), 2),
    ],
    ids=["two equal eigenvalues of three", "median of a pair", "sorting a pair"],
)
def test_elements_beside_a_kink_are_checked(function, vjp, x, count):
    report = testing.check_vjp(function, vjp, x)
    assert report.left_out == count
    with pytest.raises(testing.GradientError, match="is wrong"):
        testing.check_vjp(function, lambda gy, x: tuple(1.001 * g for g in vjp(gy, x)), x)


def test_a_maximum_of_equal_numbers_that_all_claim_it_is_wrong():
    with pytest.raises(testing.GradientError, match="is wrong"):
        testing.check_vjp(
            lambda x: x.max(1), lambda gy, x: (gy[:, None] * (x == x.max(1, keepdims=True)),), np.ones((2, 3))
        )


@pytest.mark.parametrize("x", [np.zeros(3), np.ones(4), np.array([2.0, 2.0, 0.0])])
def test_smooth_functions_of_equal_numbers_are_on_no_kink(x):
    report = testing.check_vjp(lambda x: (x**2).sum() + x.prod(), lambda gy, x: (gy * (2 * x + others(x)),), x)
    assert report.left_out == 0


def others(x):
    return np.array([np.delete(x, place).prod() for place in range(x.size)])


@pytest.mark.parametrize("seed", range(6))
def test_the_rounding_of_terms_that_cancel_is_no_kink(seed):
    weights, x = np.array([2 / 3, 1 / 3]), np.random.default_rng(seed).uniform(-9, 9, (40, 2))
    report = testing.check_vjp(lambda x: x @ weights, lambda gy, x: (gy[:, None] * weights,), x, rng=0)
    assert report.left_out == 0
