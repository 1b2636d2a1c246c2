import numpy as np
import pytest
from gradient_cases import operations as ops
from hypothesis import given

from minires import testing
from minires.errors import DtypeError
from minires.testing import strategies


def batch_norm(x, gamma, beta):
    """Compute `ops.batch_norm` without np.var, which takes the absolute value of complex numbers."""
    centred = x - x.mean((0, 2, 3), keepdims=True)
    var = (centred * centred).mean((0, 2, 3), keepdims=True)
    return gamma[:, None, None] * centred / np.sqrt(var + 1e-5) + beta[:, None, None]


@given(strategies.shapes(min_side=0), strategies.seeds())
def test_an_elementwise_gradient_is_confirmed_to_the_last_digits(shape, seed):
    x = strategies.array(shape, seed)
    report = testing.check_complex_step(np.sin, lambda gy, x: (gy * np.cos(x),), x, rng=seed)
    assert report.resolution <= 1e-12
    assert report.method == "a complex step"


@given(strategies.seeds())
def test_batch_norm_is_confirmed_and_an_error_of_one_in_a_hundred_million_is_found(seed):
    x, gamma, beta = (strategies.array(shape, seed, stream=n) for n, shape in enumerate([(3, 2, 4, 4), (2,), (2,)]))
    testing.check_complex_step(batch_norm, ops.batch_norm_vjp, x, gamma, beta, rng=seed)
    with pytest.raises(testing.GradientError, match="`x`") as caught:
        testing.check_complex_step(
            batch_norm, lambda gy, *a: ops.batch_norm_vjp(gy, *a, var_term=1 + 1e-8), x, gamma, beta, rng=seed
        )
    assert not isinstance(caught.value, testing.Inconclusive)


@pytest.mark.parametrize("seed", range(5))
def test_the_wrong_element_is_named(seed):
    def vjp(gy, x):
        return (gy * np.cos(x) * np.where(x == x[2, 1], 1 + 1e-9, 1),)

    x = np.random.default_rng(seed).standard_normal((4, 3))
    with pytest.raises(testing.GradientError, match="complex step") as caught:
        testing.check_complex_step(np.sin, vjp, x, rng=seed)
    found = caught.value.finding
    assert found.index == (2, 1)
    assert found.claimed == pytest.approx(found.numerical * (1 + 1e-9), rel=1e-13)


def test_several_outputs_a_cache_and_integer_inputs_are_supported():
    def function(x, n):
        return (np.exp(x), np.arange(int(n)), 3 * x), x

    def vjp(gy, x):
        assert gy[1] is None
        return gy[0] * np.exp(x) + 3 * gy[2], None

    report = testing.check_complex_step(function, vjp, np.array([0.1, -2.0]), np.array(2), has_cache=True)
    assert [part.argument for part in report.inputs] == [0]


@pytest.mark.parametrize("function", [np.abs, lambda x: x.real + 0.0, lambda x: x * np.abs(x)])
def test_a_function_that_is_not_analytic_is_inconclusive_whatever_the_gradient(function):
    def slope(x):
        return (function(x + 1e-6) - function(x - 1e-6)) / 2e-6

    with pytest.raises(testing.Inconclusive, match="use check_vjp"):
        testing.check_complex_step(function, lambda gy, x: (gy * slope(x),), np.array([0.5, -2.0]))


def test_what_cannot_be_checked_is_inconclusive_or_refused():
    with pytest.raises(testing.Inconclusive, match="not finite"):
        testing.check_complex_step(np.sqrt, lambda gy, x: (gy * 0.5 / np.sqrt(x),), np.array([-1.0]))
    with pytest.raises(testing.Inconclusive, match="does not take complex numbers"):
        testing.check_complex_step(np.floor, lambda gy, x: (0 * gy,), np.array([0.5]))
    with pytest.raises(DtypeError, match="float32"):
        testing.check_complex_step(np.sin, lambda gy, x: (gy * np.cos(x),), np.ones(3, np.float32))


def test_rounding_that_two_moves_do_not_show_is_no_error():
    """One of these points needs more than two moves by an ulp to show how much a softmax of two numbers rounds."""

    def softmax(x):
        y = np.exp(x - x.real.max())
        return y / y.sum()

    def vjp(gy, x):
        y = softmax(x)
        return (y * (gy - np.sum(gy * y)),)

    for seed in range(300):
        point = np.random.default_rng(seed).standard_normal(2)
        assert testing.check_complex_step(softmax, vjp, point, rng=seed).resolution < 1e-10


def test_a_function_that_is_zero_everywhere_passes():
    """Its complex evaluation may leave h² in the real part, as log does: no other value, only rounding."""

    def log_softmax_of_one(x):
        centred = x - x.real
        return centred - np.log(np.exp(centred))

    report = testing.check_complex_step(log_softmax_of_one, lambda gy, x: (0 * gy,), np.array([0.3]))
    assert report.resolution < 1e-6
    with pytest.raises(testing.GradientError, match=r"(input 0|`x`|`a`) is wrong"):
        testing.check_complex_step(log_softmax_of_one, lambda gy, x: (1e-6 * gy,), np.array([0.3]))


def test_outputs_that_are_not_finite_only_excuse_the_elements_that_move_them():
    def log_vjp(gy, x):
        return (gy / x,)

    x = np.array([6.0, 2.0, 0.0])
    report = testing.check_complex_step(np.log, log_vjp, x)
    assert report.inputs[0].elements_left_out == ((2,),)
    assert report.inputs[0].outputs_left_out == {"not finite": 1}
    with pytest.raises(testing.GradientError, match=r"is nan at index \(2,\), where the function's slope is finite"):
        testing.check_complex_step(lambda x: np.log(x) + x.sum(), lambda gy, x: (gy / x + gy.sum(),), x)


def test_an_infinite_gradient_is_right_where_the_slope_grows_without_end():
    x = np.array([6.0, 0.0])
    report = testing.check_complex_step(np.sqrt, lambda gy, x: (0.5 * gy / np.sqrt(x),), x)
    assert report.inputs[0].elements_left_out == ((1,),)
    for slope in (np.inf, np.nan):
        with pytest.raises(testing.GradientError, match=r"at index \(1,\), where all outputs are finite"):
            testing.check_complex_step(np.square, lambda gy, x, s=slope: (gy * np.where(x == 0, s, 2 * x),), x)


@pytest.mark.parametrize("argnums", [0, 1, 2, None])
@pytest.mark.parametrize("seed", [8378, 37547])
def test_unchecked_inputs_move_too_when_rounding_is_measured(argnums, seed):
    """The variance of three numbers cancels; what it loses shows only if they move."""
    rng = np.random.default_rng(seed)
    x, gamma, beta = 1.3 + rng.standard_normal((3, 1, 1, 1)) / 2**20, rng.standard_normal(1), rng.standard_normal(1)
    for check in (testing.check_complex_step, testing.check_vjp):
        check(batch_norm, ops.batch_norm_vjp, x, gamma, beta, rng=seed, argnums=argnums)


def test_a_gradient_computed_in_float32_is_found():
    def cosine_in_float32(gy, x):
        return ((gy.astype(np.float32) * np.cos(x.astype(np.float32))).astype(np.float64),)

    with pytest.raises(testing.GradientError, match=r"(input 0|`x`|`a`) is wrong"):
        testing.check_complex_step(np.sin, cosine_in_float32, np.linspace(0.1, 1, 9))


def test_outputs_rounded_to_float32_inside_vjp_are_found():
    with pytest.raises(testing.GradientError, match=r"(input 0|`x`|`a`) is wrong"):
        testing.check_complex_step(np.sin, lambda gy, x: (gy.astype("f") * np.cos(x),), np.linspace(0.1, 1, 9))


@pytest.mark.parametrize("name", ["log", "sqrt", "reciprocal"])
def test_elements_of_many_sizes_are_moved_in_proportion(name):
    function = {"log": np.log, "sqrt": np.sqrt, "reciprocal": np.reciprocal}[name]
    slope = {"log": np.reciprocal, "sqrt": lambda x: 0.5 / np.sqrt(x), "reciprocal": lambda x: -1 / (x * x)}[name]
    x = 10.0 ** np.linspace(-100, 100, 9)
    testing.check_complex_step(function, lambda gy, x: (gy * slope(x),), x)


def test_a_slope_that_overflows_is_inconclusive():
    with pytest.raises(testing.Inconclusive, match="not finite"):
        testing.check_complex_step(np.exp, lambda gy, x: (gy * np.exp(x),), np.array([709.0]))


def test_a_slope_too_small_for_a_plain_difference_is_found_missing():
    with pytest.raises(testing.GradientError, match=r"(input 0|`x`|`a`) is wrong") as caught:
        testing.check_complex_step(lambda x: 1 + 1e-12 * x, lambda gy, x: (0 * gy,), np.array([0.3, 1.0]))
    assert not isinstance(caught.value, testing.Inconclusive)


def test_points_outside_the_domain_show_no_rounding():
    def vjp(gy, a):
        inverse = np.linalg.inv(a)
        return (inverse.T @ gy @ inverse.T,)  # the sign is wrong

    for seed in range(5):
        a = np.random.default_rng(seed).standard_normal((3, 3)) + 3 * np.eye(3)
        with pytest.raises(testing.GradientError, match=r"(input 0|`x`|`a`) is wrong"):
            testing.check_complex_step(np.linalg.inv, vjp, a, rng=seed)
