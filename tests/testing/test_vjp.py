"""The arguments and messages of `check_vjp`; test_vjp_right and test_vjp_wrong test its verdicts."""

import numpy as np
import pytest

from minires import testing
from minires.errors import DtypeError, ShapeError
from minires.testing.report import KINK


def product_vjp(gy, x, y):
    return gy * y, gy * x


X, Y = np.array([1.0, -2.0, 0.5]), np.array([3.0, 0.25, -1.0])


def test_the_report_says_what_was_tried():
    report = testing.check_vjp(np.multiply, product_vjp, X, Y)
    assert isinstance(report, testing.GradientReport)
    assert [r.argument for r in report.inputs] == [0, 1]
    assert report.resolution < 1e-10
    assert report.left_out == 0
    assert report.nonrepeatability == 0
    assert " (3,): 2 directions" in str(report)


def test_the_budget_is_130_evaluations_per_input_and_direction():
    calls = []
    report = testing.check_vjp(lambda x: calls.append(0) or np.sin(x), lambda gy, x: (gy * np.cos(x),), X)
    assert len(calls) <= 130 * report.inputs[0].directions
    assert report.evaluations <= len(calls)


def test_equal_seeds_make_equal_checks():
    reports = [testing.check_vjp(np.multiply, product_vjp, X, Y, rng=seed) for seed in (5, 5, 6)]
    assert reports[0] == reports[1]
    assert reports[0].inputs != reports[2].inputs


def test_a_generator_may_give_the_seed():
    report = testing.check_vjp(np.multiply, product_vjp, X, Y, rng=np.random.default_rng(3))
    assert testing.check_vjp(np.multiply, product_vjp, X, Y, rng=report.seed) == report


def test_the_given_arrays_are_not_modified():
    x = X.copy()
    x.flags.writeable = False
    testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), x)
    np.testing.assert_array_equal(x, X)


def test_argnums_chooses_the_inputs():
    def vjp(gy, x, y):
        return gy * y, None

    assert len(testing.check_vjp(np.multiply, vjp, X, Y, argnums=0).inputs) == 1
    assert len(testing.check_vjp(np.multiply, vjp, X, Y, argnums=[-2]).inputs) == 1
    with pytest.raises(testing.GradientError, match=r"of (input 1|`x2`)"):
        testing.check_vjp(np.multiply, vjp, X, Y, argnums=[1])
    with pytest.raises(ValueError, match="argnums has 2, but there are 2 inputs"):
        testing.check_vjp(np.multiply, vjp, X, Y, argnums=2)


def test_a_function_may_return_a_cache():
    report = testing.check_vjp(
        lambda x: (np.tanh(x), np.tanh(x)), lambda gy, y: (gy * (1 - y * y),), X, has_cache=True, deterministic=True
    )
    assert report.resolution < 1e-9


def test_a_cache_that_is_changed_by_vjp_is_an_error():
    def vjp(gy, y):
        np.multiply(y, y, out=y)
        return (gy * (1 - y),)

    with pytest.raises(testing.GradientError, match="cache in place"):
        testing.check_vjp(lambda x: (np.tanh(x), np.tanh(x)), vjp, X, has_cache=True)


def test_a_function_without_the_promised_cache_is_an_error():
    with pytest.raises(testing.GradientError, match="must return"):
        testing.check_vjp(np.sin, lambda gy, c: (gy * c,), X, has_cache=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.complex128])
def test_floats_other_than_float64_raise(dtype):
    with pytest.raises(DtypeError, match="need float64"):
        testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), X.astype(dtype))


def test_float32_is_allowed_for_unchecked_inputs():
    testing.check_vjp(lambda x, y: x * y, lambda gy, x, y: (gy * y, None), X, Y.astype(np.float32), argnums=0)


def test_a_float32_result_of_float64_inputs_is_refused():
    with pytest.raises(DtypeError, match="returns float32"):
        testing.check_vjp(lambda x: x.astype(np.float32), lambda gy, x: (gy.astype(float),), X)


def test_a_function_whose_shape_depends_on_values_is_refused():
    with pytest.raises(ShapeError, match="changed from"):
        testing.check_vjp(lambda x: x[x > 1], lambda gy, x: (np.zeros_like(x),), np.array([1.0 + 1e-9, 0.5]))


def test_summation_in_changing_order_is_measured_and_reported():
    noise = np.random.default_rng(0)

    def function(x):
        return np.sin(x) * (1 + 1e-14 * noise.random())

    report = testing.check_vjp(function, lambda gy, x: (gy * np.cos(x),), X)
    assert 0 < report.nonrepeatability < 1e-13
    assert "not repeatable" in str(report)
    with pytest.raises(testing.GradientError, match="not repeatable"):
        testing.check_vjp(function, lambda gy, x: (gy * np.cos(x),), X, deterministic=True)


def test_a_random_function_is_inconclusive():
    noise = np.random.default_rng(0)
    with pytest.raises(testing.Inconclusive, match="fix its random numbers"):
        testing.check_vjp(lambda x: x * noise.random(), lambda gy, x: (gy,), X)


def test_elements_on_a_kink_are_left_out_and_counted():
    x = np.array([0.0, 1.0, -1.0, 2.0])
    report = testing.check_vjp(np.abs, lambda gy, x: (gy * np.sign(x),), x)
    assert report.inputs[0].outputs_left_out == {KINK: 1}
    assert report.left_out == 1
    with pytest.raises(testing.Inconclusive, match="kink") as caught:
        testing.check_vjp(np.abs, lambda gy, x: (gy * np.sign(x),), x, at_kinks="raise")
    assert caught.value.cause == KINK


def test_the_element_that_puts_a_sum_on_a_kink_is_found():
    x = np.random.default_rng(0).standard_normal((20, 30))
    x[7, 11] = 0
    report = testing.check_vjp(lambda x: np.abs(x).sum(), lambda gy, x: (gy * np.sign(x),), x)
    assert report.inputs[0].elements_left_out == ((7, 11),)


def test_a_point_with_all_elements_on_kinks_is_inconclusive():
    with pytest.raises(testing.Inconclusive, match="kink"):
        testing.check_vjp(np.abs, lambda gy, x: (gy * np.sign(x),), np.zeros(3))


def test_an_unknown_rule_for_kinks_is_refused():
    with pytest.raises(ValueError, match="'ignore'"):
        testing.check_vjp(np.abs, lambda gy, x: (gy * np.sign(x),), X, at_kinks="ignore")


def test_a_median_of_equal_numbers_is_a_kink_though_it_is_smooth_along_every_line():
    def vjp(gy, x):
        g = np.zeros_like(x)
        g[np.argsort(x, kind="stable")[1]] = gy
        return (g,)

    with pytest.raises(testing.Inconclusive, match="kink"):
        testing.check_vjp(lambda x: np.sort(x)[1], vjp, np.zeros(3))


def test_an_infinite_slope_that_the_function_has_is_left_out():
    x = np.array([0.0, 1.0, 4.0])
    report = testing.check_vjp(np.sqrt, lambda gy, x: (gy * 0.5 / np.sqrt(x),), x)
    assert report.inputs[0].elements_left_out == ((0,),)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_element_that_is_not_finite_is_left_out(value):
    def vjp(gy, x):
        return (np.where(np.isfinite(x), gy * (1 - np.tanh(x) ** 2), 5.0 * gy),)

    report = testing.check_vjp(np.tanh, vjp, np.array([value, 1.0]), at_kinks="raise")
    assert report.inputs[0].elements_left_out == ((0,),)
    assert report.compared == 1


def test_infinite_elements_alone_are_inconclusive():
    with pytest.raises(testing.Inconclusive, match="not finite"):
        testing.check_vjp(np.tanh, lambda gy, x: (gy * (1 - np.tanh(x) ** 2),), np.array([np.inf, -np.inf]))


def test_a_right_gradient_that_jumps_at_a_kink_is_not_called_wrong():
    x = np.array([1.0, 2.0, 3.0])
    report = testing.check_vjp(lambda x: np.maximum(x, 1) ** 2, lambda gy, x: (2 * x * gy * (x > 1),), x)
    assert report.inputs[0].elements_left_out == ()
    assert report.left_out == 1


def test_the_text_about_a_gradient_that_is_not_finite_names_the_element():
    x = np.array([1.0, 0.0, -4.0])
    with pytest.raises(testing.GradientError, match=r"gradient of (input 0|`x`) is nan at index \(1,\)"):
        testing.check_vjp(np.abs, lambda gy, x: (gy * x / np.abs(x),), x)


def test_the_traceback_of_a_wrong_gradient_leaves_the_checker_out():
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(np.sin, lambda gy, x: (gy,), X)
    assert [entry.name for entry in caught.traceback][1:] == ["checked"]
    assert caught.traceback[-1].ishidden(caught)


def test_the_resolution_is_not_finer_than_rounding():
    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    def vjp(gy, x):
        s = softmax(x)
        return (s * (gy - (gy * s).sum()),)

    x = np.array([0.3, -0.2, -1e9])
    moved = testing.check_vjp(softmax, vjp, x[:2]).resolution
    assert (
        1e-15 < testing.check_vjp(softmax, vjp, x).resolution < 100 * moved
    )  # an output that stands still tells nothing
    assert testing.check_vjp(lambda x: 0 * x, lambda gy, x: (0 * gy,), x).resolution > 1e-15


@pytest.mark.parametrize("nested", [lambda x: (x, (x,)), lambda x: (x, [x, 2 * x]), lambda x: [((x,),)]])
def test_a_tuple_of_tuples_is_no_output(nested):
    with pytest.raises(DtypeError, match="function must return an array or a flat tuple of arrays, got a tuple with a"):
        testing.check_vjp(nested, lambda gy, x: (gy,), np.ones(3))


def test_a_tuple_of_arrays_is_no_gradient():
    with pytest.raises(testing.GradientError, match="the gradient of `x` is a tuple of arrays, expected an array"):
        testing.check_vjp(lambda x, y: x + y, lambda gy, x, y: ((gy, (gy,)), gy), np.ones(3), np.ones(3))
