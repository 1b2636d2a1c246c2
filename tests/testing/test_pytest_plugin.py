"""The plugin costs nothing and sets the number of examples, and failures read well. Each test runs pytest."""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from minires.testing import pytest_plugin

PLAIN = """
def test_nothing(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("minires")
"""

# Without Hypothesis' own plugin, which imports Hypothesis whether a test uses it or not.
LOADED = """
import sys
import pytest

assert pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *sys.argv[1:]]) == 0
print("loaded:", *sorted(sys.modules))
"""

GRADIENTS = """
import numpy as np
import pytest
from hypothesis import given, settings
from minires import testing
from minires.testing import strategies as ms

def double_vjp(gy, x):
    return 2 * gy

few = ms.arrays((2,), kinds="integers")

@testing.gradients(few, vjp=double_vjp)
def test_right(x):
    return 2 * x

test_line = testing.gradients(few, vjp=double_vjp, exact=True)(lambda x: 2 * x)

class TestGroup:
    @pytest.mark.parametrize("_", [])
    def test_of_another_kind(self, _):
        pass

    @testing.gradients(few)
    def test_method(self, x):
        return x * 2.0

@settings(max_examples=3, deadline=None)
@testing.gradients(few, vjp=double_vjp)
def test_settled(x):
    return 2 * x

@given(few)
def test_of_hypothesis(x):
    assert x.shape == (2,)

@testing.gradients(ms.arrays(), vjp=lambda gy, x: 2.002 * gy)
def test_wrong(x):
    return 2 * x

@testing.gradients(ms.arrays(), vjp=double_vjp)
def test_with_fixture(x, tmp_path):
    return 2 * x
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest on a file in a separate folder."""

    def run(source, *arguments, program=("-m", "pytest", "-p", "no:cacheprovider")):
        (tmp_path / "test_user.py").write_text(source, encoding="utf-8")
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "HYPOTHESIS_", "CI"))}
        command = [sys.executable, *program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        return done.stdout + done.stderr

    return run


def drawn(output):
    """Return how many examples each test passed, from Hypothesis' statistics."""
    parts = re.split(r"^test_user\.py::([\w:]+):$", output, flags=re.MULTILINE)[1:]
    numbers = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        numbers[name.rpartition("::")[2]] = sum(map(int, re.findall(r"(\d+) passing", text)))
    return numbers


def test_the_entry_point_is_the_plugin():
    (found,) = [point for point in entry_points(group="pytest11") if point.name == "minires"]
    assert found.load() is pytest_plugin


def test_a_bare_run_of_pytest_imports_neither_numpy_nor_hypothesis_nor_the_rest_of_minires(run):
    output = run(PLAIN, program=("-c", LOADED))
    modules = set(output.partition("loaded:")[2].split())
    assert {name for name in modules if name.partition(".")[0] == "minires"} == {
        *("minires", "minires.lazy", "minires.testing", "minires.testing.pytest_plugin")
    }
    assert not {"numpy", "hypothesis", "cupy", "safetensors"} & modules


def test_a_run_with_the_option_imports_no_more(run):
    output = run(PLAIN, "--minires-gradients=thorough", program=("-c", LOADED))
    assert not {"numpy", "hypothesis", "minires.testing.property_test"} & set(output.partition("loaded:")[2].split())


def test_quick_sets_the_examples_of_gradient_tests_alone(run):
    output = run(
        GRADIENTS, "-v", "--minires-gradients=quick", "--hypothesis-show-statistics", "-k", "not wrong and not fixture"
    )
    assert "minires: gradients quick, 10 examples each" in output
    assert "5 passed" in output
    assert drawn(output) == {
        "test_right": 10,
        "test_line": 10,
        "test_method": 10,
        "test_settled": 3,
        "test_of_hypothesis": 100,
    }
    for name in ("test_right", "test_line", "TestGroup::test_method"):
        assert re.search(rf"^test_user\.py::{name} PASSED", output, flags=re.MULTILINE)  # and in no other file


@pytest.mark.long
def test_without_the_option_nothing_is_said_and_the_profile_decides(run):
    output = run(GRADIENTS, "--hypothesis-show-statistics", "-k", "right or settled")
    assert "minires: gradients" not in output
    assert drawn(output) == {"test_right": 25, "test_settled": 3}


@pytest.mark.long
def test_gradient_tests_run_where_the_plugin_is_not_loaded(run):
    output = run(GRADIENTS, "-p", "no:minires", "-k", "right or line or method")
    assert "3 passed" in output
    assert "--minires-gradients" not in run(PLAIN, "-p", "no:minires", "--help")
    assert "quick 10" in run(PLAIN, "--help").partition("--minires-gradients={quick,default,thorough}")[2]


def test_an_option_without_gradient_tests_gives_a_warning(run):
    assert "no gradient test was collected" in run(PLAIN, "--minires-gradients=quick")
    assert "no gradient test was collected" not in run(GRADIENTS, "--minires-gradients=quick", "-k", "settled")


def test_an_unknown_level_is_refused(run):
    assert "invalid choice: 'endless'" in run(GRADIENTS, "--minires-gradients=endless")


def test_a_failure_shows_the_checkers_text_at_the_smallest_array_and_nothing_of_the_checker(run):
    output = run(GRADIENTS, "-k", "wrong or fixture")
    assert "2 failed" in output
    wrong = output.partition("_ test_wrong _")[2].partition("_ test_with_fixture _")[0]
    assert "GradientError: the gradient of `x` is wrong at index ()" in wrong
    assert "claimed = 1.001 × numerical everywhere" in wrong
    assert "To reproduce:" in wrong
    assert "x=array(0.12573022)," in wrong
    assert "def test_wrong(x):" in wrong
    assert "minires/testing" not in wrong.replace("\\", "/")
    fixture = output.partition("_ test_with_fixture _")[2]
    assert "TypeError: test_with_fixture: missing a required argument: 'tmp_path'" in fixture


NOWHERE = """
import numpy as np
from minires import testing
from minires.testing import strategies as ms

@testing.gradients(ms.arrays((2,)), vjp=lambda gy, x: gy)
def test_nowhere(x):
    return np.log(-1 - x * x)

class TestNowhere:
    @testing.gradients(ms.arrays((2,), kinds="integers"), vjp=lambda gy, x: 0 * gy)
    def test_on_a_kink(self, x):
        return np.floor(x)
"""


@pytest.mark.long
def test_a_test_without_any_point_that_can_be_checked_fails_and_says_why(run):
    output = run(NOWHERE, "--minires-gradients=quick")
    assert "2 failed" in output
    nowhere, _, kink = output.partition("_ test_nowhere _")[2].partition("_ TestNowhere.test_on_a_kink _")
    assert "A point was set aside: the gradient of `x` could be neither confirmed nor refuted: the fun" in nowhere
    assert "Choose inputs inside the function's domain." in nowhere
    assert "Choose inputs away from kinks and ties." in kink


CHECKS = """
import numpy as np
import pytest
import minires as mr
from minires import testing

X = np.array([1.0, 2.0])

class Wrong(mr.Op):
    def forward(self, x):
        return x

    def backward(self, gy):
        return (3 * gy,)

def wrong(gy, x):
    return 3 * gy

def fails(x):
    raise ZeroDivisionError("here")

def test_vjp():
    testing.check_vjp(np.positive, wrong, X)

def test_exact():
    testing.check_exact(np.positive, wrong, X)

def test_complex_step():
    testing.check_complex_step(np.positive, wrong, X)

def test_gradient():
    testing.check_gradient(Wrong.apply, mr.tensor(X))

@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
def test_argument(check):
    check(np.positive, wrong, [1, 2])

def test_array():
    testing.check_gradient(Wrong.apply, X)

def test_returned():
    testing.check_gradient(lambda x: x.numpy(), mr.tensor(X))

def test_function():
    testing.check_vjp(fails, wrong, X)
"""


def test_a_traceback_holds_the_users_lines_alone(run):
    output = run(CHECKS, "--tb=long")
    assert "10 failed" in output
    assert not re.findall(r"^.*minires/testing.*\.py:.*$", output.replace("\\", "/"), flags=re.MULTILINE)
    assert len(re.findall(r"^>       (testing\.)?check", output, flags=re.MULTILINE)) == 10
    assert '>       raise ZeroDivisionError("here")' in output
