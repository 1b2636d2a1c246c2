"""How sharp the double's bound is, and where it must be wide."""

import numpy as np
import pytest

from minires.testing import strategies as ms
from minires.testing.rounding import constant, rounded

U = 2.0**-24


def draw_normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# How sharp the bound is


@pytest.mark.parametrize(
    ("formula", "share"),
    [
        (lambda a, b, c: a * b, 0.99),
        (lambda a, b, c: a + b, 0.99),
        (lambda a, b, c: a - b * c, 0.8),
        (lambda a, b, c: a * b * c, 0.8),
        (lambda a, b, c: np.sqrt(a * a + b * b), 0.5),
        (lambda a, b, c: a / (b * b + 1), 0.4),
        (lambda a, b, c: np.maximum(a * b, c), 0.9),
    ],
)
def test_of_many_draws_one_comes_close_to_the_bound(formula, share):
    """100,000 draws reach this share of it: the bound charges little that does not happen (a reciprocal does not)."""
    arrays = [draw_normal(100_000, seed=i) for i in range(3)]
    double = formula(*(rounded(array) for array in arrays))
    used = np.abs(formula(*arrays) - double.value) / np.where(double.bound > 0, double.bound, np.inf)
    assert share <= used.max() <= 1


def test_a_sum_of_n_terms_is_charged_n_minus_one_roundings():
    x = rounded(np.random.default_rng(0).uniform(1, 2, 100).astype(np.float32))
    assert x.sum().bound == pytest.approx(99 * U * x.value.sum(), rel=1e-4)
    assert (x * x).sum().bound == pytest.approx(100 * U * (x.value**2).sum(), rel=1e-4)


def test_what_float32_does_exactly_has_no_error():
    x = rounded(ms.array((4, 5), 0, "integers"))
    mask = x > 0
    for exact in (x * 2, x * 0.25, -x, abs(x), x / 4, np.maximum(x, 0), x * mask, np.where(mask, x, 0), x.T, x * x):
        assert not exact.bound.any()
    assert not mask.bound.any()
    assert not x.argmax().bound.any()
    assert (x * 0.1).bound.any()


def test_two_numbers_that_cancel_keep_their_digits():
    a, b = rounded(np.float32([1.0000001])), rounded(np.float32([1.0]))
    assert (a - b).bound <= 2 * U * (a - b).value


# Comparisons that rounding leaves open


def test_what_depends_on_an_open_comparison_gets_the_union_of_both_branches():
    x = rounded(np.float32([0.1, 0.2, -3.0]))
    near = x * x * 10 - constant([0.1, 0.4, 0.0])  # 0 in exact arithmetic, but for the first two floats' own rounding
    mask = near > 0
    assert mask.bound.tolist() == [1, 1, 0]
    chosen = np.where(mask, np.float32(5), np.float32(2))
    for branch in (2, 5):
        assert np.all(np.abs(branch - chosen.value[:2]) <= chosen.bound[:2])
    assert chosen.bound[2] == 0
    assert np.all((x * mask).bound[:2] >= np.abs(x.value[:2]))
    assert np.all(np.maximum(near, 0).bound >= 0)


def test_an_open_maximum_has_an_open_place():
    x = rounded(np.float32([1, 3, 2, 3])) * rounded(np.float32([0.1, 0.1, 0.1, 0.1]))
    assert x.argmax().value == 1
    assert x.argmax().bound == 2  # the other three may be larger, two places on
    assert x.max().bound == x.bound.max()
    assert not rounded(np.float32([1, 3, 2, 3])).argmax().bound  # exact numbers are decided, the first of equals


@pytest.mark.parametrize("use", [bool, float, int, lambda x: x.item(), lambda x: x.tolist(), lambda x: f"{x:.3f}"])
def test_a_number_or_decision_of_uncertain_values_is_refused(use):
    x = rounded(np.float32(0.1)) * rounded(np.float32(0.3))
    with pytest.raises(TypeError, match="rounding may change"):
        use(x)
    assert use(rounded(np.float32(2.0))) == use(np.float64(2.0))


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: 1 / (x - x),
        lambda x: np.sqrt(x - x),
        lambda x: np.log(x - x),
        lambda x: np.power(x - x, 0.3 * x - 1),
        lambda x: np.exp(5000 * x),
    ],
    ids=["divisor", "root", "logarithm", "power", "overflow"],
)
def test_where_anything_may_come_out_the_bound_is_infinite(formula):
    x = rounded(np.float32([0.1])) * rounded(np.float32([0.3]))  # so that x − x is 0, but may not be
    assert np.isinf(formula(x).bound)


def test_what_underflows_may_be_flushed_to_zero():
    x = rounded(np.float32([1e-30]))
    assert (x * x).bound >= (x * x).value
    assert rounded(np.float32([1e-40])).bound == np.float32(1e-40)
    assert (x * 0).bound == 0
