"""Functions that raise where their input is moved are inconclusive, with the exception as the cause."""

import math

import numpy as np
import pytest

from minires import testing


class NotConvergedError(Exception):
    pass


def refusing(function, inside, error):
    def refuses(x):
        if not np.all(inside(x)):
            raise error
        return function(x)

    return refuses


@pytest.mark.parametrize(
    "error", [ValueError("math domain error"), np.linalg.LinAlgError("singular"), NotConvergedError("after 9 steps")]
)
def test_a_function_that_raises_at_moved_points_is_inconclusive_and_says_why(error):
    function = refusing(lambda x: x**1.5, lambda x: x >= 0, error)
    with pytest.raises(testing.Inconclusive, match=rf"raises {type(error).__name__}: .* `x` are moved by \S*\.$") as c:
        testing.check_vjp(function, lambda gy, x: (1.5 * gy * np.sqrt(x),), np.array([0.0, 2.0]))
    assert c.value.cause == "not finite"
    assert c.value.__cause__ is error


def test_a_matrix_at_the_end_of_the_domain_is_inconclusive():
    with pytest.raises(testing.Inconclusive) as caught:
        testing.check_vjp(np.linalg.cholesky, lambda gy, a: (0 * gy,), np.array([[1.0, 1.0], [1.0, 1 + 1e-15]]))
    assert isinstance(caught.value.__cause__, np.linalg.LinAlgError)


@pytest.mark.parametrize("x", [1.0, -1.0])
def test_a_vjp_that_raises_beside_the_point_does_not_crash_the_check(x):
    with pytest.raises(testing.Inconclusive) as caught:
        testing.check_vjp(
            lambda x: np.array(math.acos(x)), lambda gy, x: (np.array(0 * math.acos(x) * gy),), np.array(x)
        )
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_exception_at_the_point_itself_reaches_the_caller():
    error = NotConvergedError("here")
    with pytest.raises(NotConvergedError) as caught:
        testing.check_vjp(refusing(np.log, lambda x: x > 0, error), lambda gy, x: (gy / x,), np.array([-1.0]))
    assert caught.value is error


@pytest.mark.parametrize("x", [1e-3, 1e-13])
def test_steps_that_stay_inside_the_domain_are_enough(x):
    report = testing.check_vjp(
        refusing(np.log, lambda x: x > 0, ValueError()), lambda gy, x: (gy / x,), np.array([x, 1.0])
    )
    assert report.left_out == 0
