"""Arguments that are not arrays are passed through, and have no gradient."""

import numpy as np
import pytest

from minires.testing import GradientError
from minires.testing.calling.fixed_arguments import FixedArguments


def function(x, power, y):
    return x**power * y


def vjp(gy, x, power, y):
    return gy * power * x ** (power - 1) * y, gy * x**power


def vjp_with_none(gy, x, power, y):
    gx, g = vjp(gy, x, power, y)
    return gx, None, g


X, Y, GY = np.array([2.0, 3.0]), np.array([5.0, 7.0]), np.array([1.0, 10.0])


@pytest.mark.parametrize("whole_vjp", [vjp, vjp_with_none])
def test_function_and_vjp_get_all_arguments(whole_vjp):
    bound = FixedArguments(function, whole_vjp, 3, {1: 3})
    assert bound.forward(X, Y).tolist() == [40.0, 189.0]
    gx, gy = bound.vjp(GY, X, Y)
    assert gx.tolist() == [60.0, 1890.0]
    assert gy.tolist() == [8.0, 270.0]


def test_vjp_takes_a_cache_instead_of_the_arguments():
    def forward(power, x):
        return x**power, (x, power)

    bound = FixedArguments(forward, lambda gy, cache: (None, gy * cache[1] * cache[0]), 2, {0: 2}, has_cache=True)
    y, cache = bound.forward(X)
    assert y.tolist() == [4.0, 9.0]
    assert bound.vjp(GY, cache)[0].tolist() == [4.0, 60.0]


def test_one_gradient_need_not_be_in_a_tuple():
    bound = FixedArguments(lambda x, n: n * x, lambda gy, x, n: n * gy, 2, {1: 3})
    assert bound.vjp(GY, X).tolist() == [3.0, 30.0]


def test_a_gradient_for_a_fixed_argument_raises():
    bound = FixedArguments(function, lambda gy, x, power, y: (gy, 0.0, gy), 3, {1: 3})
    with pytest.raises(GradientError, match="`power` is not an array and has no gradient: vjp must return None for it"):
        bound.vjp(GY, X, Y)


def test_its_source_defines_the_functions_again():
    namespace = {"np": np}
    exec("\n".join(FixedArguments(function, vjp, 3, {1: 3}).reproduction()), namespace)
    assert namespace["function"](X, Y).tolist() == [40.0, 189.0]
    assert namespace["vjp"](GY, X, Y)[1].tolist() == [8.0, 270.0]
