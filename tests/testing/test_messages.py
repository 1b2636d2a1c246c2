"""The error messages for invalid arguments, functions and gradients."""

import functools

import numpy as np
import pytest
from hypothesis import strategies as st

import minires as mr
from minires import testing
from minires.errors import DtypeError
from minires.testing import strategies as ms

X, W = np.array([0.5, 1.0]), np.array([[1.0, 2.0], [3.0, 4.0]])


def product(x, w):
    return x @ w


def vjp_that_returns(*values):
    return lambda gy, x, w: values[0] if len(values) == 1 else values


WRONG = {
    "nothing": (vjp_that_returns(None), r"2 gradients, one for each of `x` and `w`.*NoneType: does it lack a return"),
    "one of two": (vjp_that_returns((W @ X,)), r"one for each of `x` and `w` \(None for one that is zero\), got 1"),
    "an array for two": (vjp_that_returns(X), r"one for each of `x` and `w` .*, got a numpy.ndarray"),
    "a dictionary": (vjp_that_returns({"x": X}), "got a dict"),
    "a number": (vjp_that_returns(2.0), "got a float"),
    "a scalar": (vjp_that_returns(1.0, W), r"the gradient of `x` has shape \(\), expected \(2,\)"),
    "a batch": (vjp_that_returns(W, W), r"`x` has shape \(2, 2\), expected \(2,\): sum over the axes along which"),
    "another shape": (vjp_that_returns(X, W.ravel()), r"`w` has shape \(4,\), expected \(2, 2\): reshape it"),
    "float32": (vjp_that_returns(X.astype("f"), W), "`x` has dtype float32, expected float64: cast it"),
    "an object": (vjp_that_returns("gx", W), "the gradient of `x` is a str, expected an array of float64"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_invalid_gradient_raises_with_what_is_expected(name):
    vjp, text = WRONG[name]
    with pytest.raises(testing.GradientError, match=text):
        testing.check_vjp(product, vjp, X, W)


FUNCTIONS = {
    "nothing": (lambda x: None, {}, DtypeError, "function returns None: does it lack a return statement"),
    "integers": (lambda x: (x > 0).astype(int), {}, DtypeError, "function returns no float array: are they integers"),
    "a dictionary": (lambda x: {"y": x}, {}, DtypeError, r"returns a dict, expected an array .* has_cache=True"),
    "a cache": (lambda x: (x, {"x": x}), {}, DtypeError, r"returns a tuple with a dict, expected an array of floats"),
    "float32": (lambda x: x.astype("f"), {}, DtypeError, "function returns float32 for float64 inputs"),
    "no cache": (np.sin, {"has_cache": True}, testing.GradientError, r"must return \(y, cache\), got a numpy.ndarray"),
    "two caches": (lambda x: (x, x, x), {"has_cache": True}, testing.GradientError, "got a tuple of 3: return both"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_whose_value_has_no_gradient_raises_with_the_value(name):
    function, options, error, text = FUNCTIONS[name]
    with pytest.raises(error, match=text):
        testing.check_vjp(function, lambda gy, x: gy, X, **options)


@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
def test_a_function_that_is_not_callable_raises(check):
    with pytest.raises(TypeError, match=r"function must be callable, got a numpy\.ndarray: give function, vjp, then"):
        check(X, np.sin, lambda gy, x: gy)
    with pytest.raises(TypeError, match=r"vjp must be callable, got a numpy.ndarray"):
        check(np.sin, X, X)


def product_with_cache(x, w):
    return x @ w, (x, w)


CALLS = {
    "two gy": (product, lambda gs, gc, x, w: gs, {}, r"\(gy, x, w\), but it takes \(gs, gc, x, w\): missing"),
    "too few": (np.dot, lambda gy, a: gy, {}, r"3 arguments, vjp\(gy, .*\), but it takes \(gy, a\): too many"),
    "no cache": (product_with_cache, lambda gy: gy, {"has_cache": True}, r"2 arguments, vjp\(gy, cache\), but it take"),
}  # fmt: skip


@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
@pytest.mark.parametrize("name", CALLS)
def test_a_vjp_of_another_number_of_arguments_raises_with_how_it_is_called(check, name):
    function, vjp, options, text = CALLS[name]
    with pytest.raises(testing.GradientError, match=text):
        check(function, vjp, X, W, **options)


@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
def test_a_function_of_another_number_of_arguments_raises_with_how_it_is_called(check):
    text = (
        r"function is called with 1 argument, one for each array, but it takes \(x, w\): .* 'w'; give an array for each"
    )
    with pytest.raises(TypeError, match=text):
        check(product, lambda gy, x, w: (gy, gy), X)
    with pytest.raises(TypeError, match=text):
        testing.check_gradient(product, mr.tensor(X))


def test_with_an_argument_that_is_no_array_the_call_counts_it():
    test = testing.gradients(st.just(2), ms.arrays((3,)), vjp=lambda gy, x: gy)(lambda n, x: n * x)
    with pytest.raises(testing.GradientError, match=r"3 arguments, vjp\(gy, n, x\), but it takes \(gy, x\)"):
        test()


def test_a_type_error_inside_a_function_or_vjp_is_raised_as_it_is():
    def other(x, w, b):
        return x @ w + b

    for function, vjp in ((lambda x, w: other(x, w), vjp_that_returns(X, W)), (product, lambda *all: other(*all[1:]))):
        with pytest.raises(TypeError, match=r"^.*other\(\) missing 1 required positional argument: 'b'$"):
            testing.check_vjp(function, vjp, X, W)


def test_a_wrapper_that_adds_an_argument_is_called_as_it_is():
    @functools.wraps(product)  # its signature is (x, w)
    def doubled(x):
        return product(x, W)

    testing.check_vjp(doubled, lambda gy, x: gy @ W.T, X)


@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
@pytest.mark.parametrize(("x", "function"), [(np.zeros((0, 3)), lambda x: 2 * x), (X, lambda x: 2 * x[:0])])
def test_a_report_on_empty_arrays_says_that_nothing_was_compared(check, x, function):
    report = check(function, lambda gy, x: 2 * gy if gy.shape == x.shape else 0 * x, x)
    assert report.compared == 0
    assert str(report).startswith("nothing was compared: the inputs or the outputs have no element")
    assert check(lambda x: 2 * x, lambda gy, x: 2 * gy, np.ones(3)).compared == 3
