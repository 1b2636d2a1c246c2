"""A forward pass and its gradient become a property test in one line."""

import functools
import unittest

import hypothesis
import numpy as np
import pytest
from hypothesis import Phase, example, given, is_hypothesis_test, settings
from hypothesis import strategies as st

import minires as mr
from minires import testing
from minires.kernels import reference
from minires.testing import property_test
from minires.testing import strategies as ms
from minires.testing.property_test import set_examples
from minires.testing.report import CAUSES

FEW = settings(max_examples=5, deadline=None, database=None)


def failure(test, *arguments, error=testing.GradientError):
    with pytest.raises(error) as info:
        test(*arguments)
    return str(info.value) + "\n" + "\n".join(getattr(info.value, "__notes__", []))


def double_vjp(gy, x):
    return 2 * gy


def softplus_vjp(gy, x):
    return gy / (1 + np.exp(-x))


@FEW
@testing.gradients(ms.arrays(), vjp=softplus_vjp)
def test_a_function_of_arrays_is_tested(x):
    return np.logaddexp(0, x)


test_a_ufunc_is_tested_in_one_line = testing.gradients(ms.arrays(), vjp=lambda gy, x: 2 * x * gy)(np.square)
test_a_lambda_is_tested_in_one_line = testing.gradients(ms.arrays())(lambda x: (x * x).sum())
test_a_partial_is_tested_in_one_line = testing.gradients(ms.arrays())(functools.partial(lambda n, x: n * x, 3.0))


@settings(FEW, max_examples=3)
@testing.gradients(ms.arrays((3, 2)), ms.arrays((2,)), order=2)
def test_a_function_of_tensors_is_tested_to_second_order(x, y):
    return x * y * y


@testing.gradients(ms.arrays(kinds="integers", dtype="float32"), vjp=double_vjp, exact=True)
def test_a_linear_function_is_tested_exactly_in_float32(x):
    assert x.dtype == np.float32
    return x + x


class TestClass:
    factor = 3.0

    @testing.gradients(ms.arrays())
    def test_a_method_sees_its_object(self, x):
        return x * self.factor

    @staticmethod
    @testing.gradients(ms.arrays())
    def test_a_static_method_is_tested(x):
        return x.exp()


class TestUnittest(unittest.TestCase):
    def setUp(self):
        self.factor = 3.0

    @testing.gradients(ms.arrays())
    def test_a_method_of_unittest_is_tested_after_set_up(self, x):
        return x * self.factor


@st.composite
def convolutions(draw):
    case = draw(ms.conv_cases(max_batch=2, max_channels=2))
    return draw(ms.arrays(case.x)), draw(ms.arrays(case.w)), case.geometry


def conv2d_vjp(gy, x, w, geometry):
    gx = reference.conv2d_input_grad(gy, w, geometry, x.shape[2:])
    return gx, reference.conv2d_weight_grad(gy, x, geometry)


@FEW
@testing.gradients(convolutions(), vjp=conv2d_vjp, deterministic=True)
def test_a_tuple_stands_for_several_arguments_and_a_geometry_is_passed_through(x, w, geometry):
    return reference.conv2d(x, w, geometry)


@FEW
@testing.gradients(convolutions())
def test_tensors_and_a_geometry_come_together(x, w, geometry):
    g = geometry
    return mr.functional.conv2d(x, w, None, g.stride, g.padding, g.dilation, g.groups)


@testing.gradients(st.integers(1, 3), ms.arrays(), vjp=lambda gy, n, x: (None, n * gy), argnums=1)
def test_argnums_counts_all_arguments(n, x):
    return n * x


@testing.gradients(ms.arrays((4,)), ms.arrays((3,), "integers", "int64"))
def test_integer_arrays_have_no_gradient(x, index):
    assert index.dtype == np.int64
    return x[mr.tensor(index.numpy() % 4)]


@testing.gradients(ms.arrays(), vjp=lambda gy, cache: gy * cache, has_cache=True, at_kinks="skip")
def test_options_reach_the_checker(x):
    return np.abs(x), np.sign(x)


def test_the_failure_shows_the_checkers_text_for_the_smallest_point():
    @testing.gradients(ms.arrays(), vjp=lambda gy, x: (2.002 if x.shape[1:2] >= (3,) else 2) * gy)
    def wide(x):
        return 2 * x

    text = failure(wide)
    assert "the gradient of `x` is wrong at index (0, " in text
    assert "claimed = 1.001 × numerical everywhere" in text
    assert "x=array(shape=(1, 3), seed=0)" in text or "x=array([[" in text
    assert "reshape((1, 3))" in text  # in the lines that reproduce it


@pytest.mark.long  # twenty seconds of shrinking
def test_the_failure_of_a_geometry_shows_the_smallest_one():
    def forgets_padding(gy, x, w, geometry):
        gx, gw = conv2d_vjp(gy, x, w, geometry)
        return (2 * gx if geometry.padding[1] > 1 else gx), gw

    @testing.gradients(convolutions(), vjp=forgets_padding)
    def conv2d(x, w, geometry):
        return reference.conv2d(x, w, geometry)

    text = failure(conv2d)
    assert "claimed = 2 × numerical everywhere" in text
    shown = "".join(text.partition("conv2d(\n")[2].split())
    assert "padding=(0,2)" in shown
    assert "dilation=(1,1)" in shown


def test_the_lines_that_reproduce_a_failure_do_so():
    def wrong_vjp(gy, n, x):
        return None, (n + 0.25) * gy

    @testing.gradients(st.integers(2, 5), ms.arrays(), vjp=wrong_vjp)
    def times(n, x):
        return n * x

    text = failure(times).partition("To reproduce:\n\n")[2].partition("\nFailing test case")[0]
    text = text.partition("\nFalsifying example")[0]
    assert "argument0 = 2" in text
    with pytest.raises(AssertionError):
        exec(text, {})


def test_the_traceback_leaves_the_checker_out():
    test = testing.gradients(ms.arrays(), vjp=lambda gy, x: gy)(np.square)
    with pytest.raises(testing.GradientError) as info:
        test()
    assert not [entry for entry in info.traceback if "verdict" in str(entry.path)]


def test_an_error_in_the_function_is_shown_where_it_is():
    def fails(x):
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError) as info:
        testing.gradients(ms.arrays(), vjp=double_vjp)(fails)()
    assert info.traceback[-1].name == "fails"


def test_the_result_is_a_hypothesis_test_in_the_users_file():
    made = testing.gradients(ms.arrays(), vjp=double_vjp)(lambda x: 2 * x)
    named = test_a_function_of_arrays_is_tested
    assert is_hypothesis_test(made)
    assert named.__name__ == "test_a_function_of_arrays_is_tested"
    assert made.__name__.isidentifier()
    assert {made.__module__, named.__module__} == {__name__}
    assert {made.__code__.co_filename, named.__code__.co_filename} == {__file__}


def settings_of(test):
    return test._hypothesis_internal_use_settings


def test_there_is_no_deadline_and_no_explanation_by_default():
    made = testing.gradients(ms.arrays())(lambda x: x)
    assert settings_of(made).deadline is None
    assert Phase.explain not in settings_of(made).phases
    assert settings_of(made).max_examples == settings.default.max_examples


def test_settings_of_a_test_override_the_option():
    made = testing.gradients(ms.arrays())(lambda x: x)
    set_examples(made, 10_000)
    assert settings_of(made).max_examples == 10_000
    set_examples(made, 25)
    assert (settings_of(made).max_examples, settings_of(made).deadline) == (25, None)
    above = FEW(testing.gradients(ms.arrays())(lambda x: x))
    below = testing.gradients(ms.arrays())(FEW(lambda x: x))
    for test in (above, below):
        set_examples(test, 10_000)
        assert settings_of(test) == FEW


def test_other_tests_are_left_alone():
    @settings(max_examples=7)
    @given(st.integers())
    def of_hypothesis(n):
        pass

    @given(st.integers())
    def without_settings(n):
        pass

    for test in (of_hypothesis, without_settings, settings_of, None):
        set_examples(test, 10_000)
    assert settings_of(of_hypothesis).max_examples == 7
    assert settings_of(without_settings).max_examples == settings.default.max_examples


@pytest.mark.parametrize("above", [True, False])
def test_examples_are_tried(above):
    seen = []

    def function(x):
        seen.append(x.shape)
        return 2 * x

    if above:
        test = example(np.ones((1, 7)))(testing.gradients(ms.arrays(), vjp=double_vjp)(function))
    else:
        test = testing.gradients(ms.arrays(), vjp=double_vjp)(example(np.ones((1, 7)))(function))
    test()
    assert seen[0] == (1, 7)


def test_a_user_can_draw_from_outside_with_fixed_values():
    made = testing.gradients(ms.arrays())(lambda x: x)
    assert made.hypothesis.fuzz_one_input(b"\0" * 100) is not None


REFUSED = {
    "no strategy": (lambda: testing.gradients(), "needs a strategy for each argument, in brackets"),
    "no brackets": (lambda: testing.gradients(np.square), "needs a strategy for each argument, in brackets"),
    "an unknown option": (lambda: testing.gradients(ms.arrays(), vjp=double_vjp, order=2), "check_vjp has .* 'order'"),
    "another's option": (lambda: testing.gradients(ms.arrays(), has_cache=True), "check_gradient has .* 'has_cache'"),
    "another verdict": (lambda: testing.gradients(ms.arrays(), inconclusive="pass"), "must be 'skip' or 'raise'"),
    "exact without vjp": (lambda: testing.gradients(ms.arrays(), exact=True), "exact=True needs a vjp"),
    "a class": (lambda: testing.gradients(ms.arrays())(TestClass), "a test of a function, not of TestClass"),
    "a number": (lambda: testing.gradients(ms.arrays())(3), "a test of a function, not of 3"),
    "a test": (lambda: testing.gradients(ms.arrays())(given(st.none())(lambda x: x)), "is a Hypothesis test already"),
    "too few arguments": (
        lambda: testing.gradients(ms.arrays(), ms.arrays())(lambda x: x),
        "takes 1 arguments, but there are 2 strategies",
    ),
    "a keyword": (
        lambda: testing.gradients(ms.arrays())(functools.partial(lambda x, *, tmp_path: x)),
        "needs 'tmp_path', which is not drawn: it cannot take pytest fixtures",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_invalid_arguments_raise_at_once(what):
    make, message = REFUSED[what]
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_coroutine_is_refused():
    async def function(x):
        return x

    with pytest.raises(TypeError, match="function is asynchronous"):
        testing.gradients(ms.arrays())(function)


def test_fixtures_raise_with_an_explanation():
    @testing.gradients(ms.arrays(), vjp=double_vjp)
    def function(x, tmp_path):
        return 2 * x

    text = failure(function, error=TypeError)
    assert "missing a required argument: 'tmp_path'" in text
    assert "cannot take anything else, such as pytest fixtures" in text


def relu_vjp(gy, x):
    return gy * (x > 0)


def relu(x):
    return np.maximum(x, 0)


test_kinks_and_ties_are_no_alarm = testing.gradients(ms.arrays(), vjp=relu_vjp)(relu)
test_a_flat_point_is_no_alarm = testing.gradients(ms.arrays(), vjp=lambda gy, x: gy / np.cosh(x) ** 2)(np.tanh)


@pytest.mark.parametrize("option", [{"inconclusive": "raise"}, {"at_kinks": "raise"}])
def test_inconclusive_points_fail_if_asked_to(option):
    text = failure(testing.gradients(ms.arrays(()), vjp=relu_vjp, **option)(relu), error=testing.Inconclusive)
    assert "a kink" in text
    assert "x=array(0.)" in text


def test_a_test_of_inconclusive_points_alone_does_not_pass():
    test = testing.gradients(ms.arrays((2,), kinds="integers"), vjp=lambda gy, x: 0 * gy)(np.floor)
    with pytest.raises((hypothesis.errors.Unsatisfiable, hypothesis.errors.FailedHealthCheck)):
        test()


def log_vjp(gy, x):
    return gy / x


test_points_outside_the_domain_are_no_alarm = FEW(testing.gradients(ms.arrays(), vjp=log_vjp)(np.log))
test_tensors_outside_the_domain_are_no_alarm = FEW(testing.gradients(ms.arrays(), order=2)(mr.functional.sqrt))

TEN = settings(FEW, max_examples=10)
MORE = {  # the tests above that draw few examples, with more; the convolutions draw 25
    "arrays": TEN(testing.gradients(ms.arrays(), vjp=softplus_vjp)(lambda x: np.logaddexp(0, x))),
    "tensors": TEN(testing.gradients(ms.arrays((3, 2)), ms.arrays((2,)), order=2)(lambda x, y: x * y * y)),
    "a convolution of arrays": testing.gradients(convolutions(), vjp=conv2d_vjp, deterministic=True)(
        lambda x, w, geometry: reference.conv2d(x, w, geometry)
    ),
    "a convolution of tensors": testing.gradients(convolutions())(
        lambda x, w, g: mr.functional.conv2d(x, w, None, g.stride, g.padding, g.dilation, g.groups)
    ),
    "arrays outside the domain": TEN(testing.gradients(ms.arrays(), vjp=log_vjp)(np.log)),
    "tensors outside the domain": TEN(testing.gradients(ms.arrays(), order=2)(mr.functional.sqrt)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_more_examples_pass_too(name):
    MORE[name]()


def test_an_error_inside_the_domain_is_found_among_points_outside():
    text = failure(testing.gradients(ms.arrays(()), vjp=lambda gy, x: 2 * gy / x)(np.log))
    assert "claimed = 2 × numerical everywhere" in text


def test_points_outside_the_functions_domain_fail_if_asked_to():
    test = testing.gradients(ms.arrays(()), vjp=log_vjp, inconclusive="raise")(np.log)
    assert "not finite" in failure(test, error=testing.Inconclusive)


@pytest.mark.parametrize("cause", CAUSES)
def test_inconclusive_causes_are_skipped(monkeypatch, cause):
    def check(function, vjp, x):
        if x < 0:
            raise testing.Inconclusive("cannot tell", cause)
        return testing.check_vjp(function, vjp, x)

    monkeypatch.setattr(property_test, "check_vjp", check)
    FEW(testing.gradients(ms.arrays(()), vjp=double_vjp)(lambda x: 2 * x))()
    test = FEW(testing.gradients(ms.arrays(()), vjp=double_vjp, inconclusive="raise")(lambda x: 2 * x))
    assert "cannot tell" in failure(test, error=testing.Inconclusive)


def test_a_function_that_is_not_repeatable_is_not_skipped():
    rng = np.random.default_rng(0)
    test = testing.gradients(ms.arrays(()), vjp=double_vjp)(lambda x: 2 * x + rng.random())
    assert "not repeatable" in failure(test, error=testing.GradientError)


def test_a_point_without_float_arrays_is_refused():
    text = failure(testing.gradients(st.integers(), vjp=double_vjp)(lambda n: n), error=TypeError)
    assert "no float array was drawn" in text
    text = failure(testing.gradients(ms.arrays(dtype="int64"))(lambda x: x), error=TypeError)
    assert "no float array was drawn" in text


def test_argnums_must_name_arrays():
    test = testing.gradients(st.integers(), ms.arrays(), vjp=lambda gy, n, x: gy, argnums=[0])(lambda n, x: x)
    assert "argnums has 0, but that argument is not an array" in failure(test, error=TypeError)


def test_argnums_may_be_an_integer_of_numpy():
    test = testing.gradients(st.just(2), ms.arrays(), vjp=lambda gy, n, x: n * gy, argnums=np.int64(1))
    FEW(test(lambda n, x: n * x))()
    test = testing.gradients(st.just(2), ms.arrays(), vjp=lambda gy, n, x: n * gy, argnums=2)(lambda n, x: n * x)
    assert "argnums has 2, but there are 2 inputs" in failure(test, error=ValueError)


def test_float32_is_refused_by_the_checker():
    test = testing.gradients(ms.arrays(dtype="float32"), vjp=double_vjp)(lambda x: 2 * x)
    assert "derivatives need float64" in failure(test, error=mr.errors.DtypeError)


def test_a_test_of_empty_arrays_alone_does_not_pass():
    test = testing.gradients(ms.arrays((0, 3)), vjp=double_vjp)(lambda x: 2 * x)
    with pytest.raises((hypothesis.errors.Unsatisfiable, hypothesis.errors.FailedHealthCheck)):
        test()
    assert "nothing was compared" in test._minires_set_aside["empty"]


def test_a_quarter_of_hypothesis_examples_is_drawn_unless_a_profile_says_otherwise():
    before = settings.get_current_profile_name()
    try:
        settings.load_profile("default")
        assert settings_of(testing.gradients(ms.arrays())(lambda x: x)).max_examples == 25
        settings.register_profile("own", max_examples=7)
        settings.load_profile("own")
        assert settings_of(testing.gradients(ms.arrays())(lambda x: x)).max_examples == 7
    finally:
        settings.load_profile(before)
