"""A failure says where the gradient is wrong, by how much, what it looks like, and how to reproduce it."""

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from minires import testing


def finding_of(function, vjp, *arrays, **options):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(function, vjp, *arrays, **options)
    return caught.value.finding


def one_wrong(gy, x):
    g = 2 * x * gy
    g[3, 2] *= 1.01
    return (g,)


@pytest.mark.parametrize("seed", range(5))
def test_the_wrong_element_is_found(seed):
    x = np.random.default_rng(seed).standard_normal((50, 40))
    found = finding_of(np.square, one_wrong, x, rng=seed)
    assert (found.argument, found.index) == (0, (3, 2))
    assert found.claimed == pytest.approx(1.01 * found.numerical, rel=1e-9)
    assert abs(found.claimed - found.numerical) > found.bound > 0


def test_the_second_of_two_inputs_is_named():
    x, y = np.random.default_rng(0).standard_normal((2, 6))
    found = finding_of(np.multiply, lambda gy, x, y: (gy * y, gy * x * (np.arange(6) != 4)), x, y)
    assert (found.argument, found.index, found.claimed) == (1, (4,), 0)


def flipped(gy, x):
    return (-2 * x * gy,)


def doubled(gy, x):
    return (4 * x * gy,)


def zero(gy, x):
    return (None,)


def mirrored(gy, x):
    return ((2 * x * gy)[:, ::-1, ::-1],)


def swapped(gy, x):
    return ((2 * x * gy).swapaxes(1, 2),)


def only_inside(gy, x):
    g = np.zeros_like(x)
    g[:, 1:-1, 1:-1] = (2 * x * gy)[:, 1:-1, 1:-1]
    return (g,)


HINTS = {
    flipped: "sign is flipped",
    doubled: "claimed = 2 × numerical",
    zero: "claimed gradient is zero",
    mirrored: "mirrored",
    swapped: "swapped",
    only_inside: "padding",
}


@pytest.mark.parametrize("vjp", HINTS, ids=lambda vjp: vjp.__name__)
def test_a_known_pattern_gets_a_hint(vjp):
    x = np.random.default_rng(1).standard_normal((2, 5, 5))
    assert HINTS[vjp] in finding_of(np.square, vjp, x).hint


def cached(x):
    return np.sin(x), np.cos(x)


def cached_vjp(gy, cache):
    return (1.001 * gy * cache,)


def pair_of_outputs(x, n):
    return x[:n], 2 * x


def pair_vjp(gy, x, n):
    g = 2 * gy[1]
    g[: int(n)] -= gy[0]
    return g, None


def annotated(scale):
    def function(x: np.ndarray) -> np.ndarray:
        return scale * x * x

    def vjp(gy: np.ndarray, x: np.ndarray) -> Sequence[np.ndarray]:
        return (scale * x * gy,)

    return function, vjp


CASES = {
    "element": (np.square, one_wrong, {}, np.random.default_rng(0).standard_normal((6, 4))),
    "large": (np.square, one_wrong, {}, np.random.default_rng(0).standard_normal((20, 40))),
    "scalar": (np.square, doubled, {}, np.array(0.7)),
    "cache": (cached, cached_vjp, {"has_cache": True}, np.array([0.1, 1.0])),
    "annotations": (*annotated(0.5), {}, np.array([0.5, 1.0])),
    "tuple": (pair_of_outputs, pair_vjp, {}, np.array([0.5, 1.0, 2.0]), np.array(2)),
}


def run(snippet):
    """Return the output of a snippet in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_the_snippet_fails_in_a_fresh_interpreter(name):
    function, vjp, options, *arrays = CASES[name]
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(function, vjp, *arrays, **options)
    finding = caught.value.finding
    assert finding.snippet in str(caught.value)
    code, text = run(finding.snippet)
    assert code == 1
    assert "AssertionError" in text
    shown = [float(word) for word in text.splitlines()[0].split()[1::2]]
    assert shown[0] == pytest.approx(finding.claimed, rel=1e-12)
    assert abs(shown[1] - finding.numerical) < abs(shown[0] - shown[1]) / 2


def test_the_snippet_passes_with_the_right_gradient():
    x = np.random.default_rng(0).standard_normal((6, 4))
    snippet = finding_of(np.square, one_wrong, x).snippet
    assert "*= 1.01" in snippet
    assert run(snippet.replace("*= 1.01", "*= 1.0"))[0] == 0


def test_the_text_holds_input_index_both_derivatives_bound_and_step():
    x = np.random.default_rng(0).standard_normal((6, 4))
    text = str(finding_of(np.square, one_wrong, x))
    for part in (
        "the gradient of ",
        "(3, 2)",
        "claimed by vjp",
        "numerical",
        "allowed",
        "measured noise",
        "steps around",
    ):
        assert part in text


class Layer:
    """Remembers its input, as many a layer does."""

    def __init__(self, weight, options):
        self.weight, self.options = weight, options

    def forward(self, x):
        self.x = x
        return self.options["scale"] * (x @ self.weight) ** 2

    def backward(self, gy, x):
        return 2.02 * self.options["scale"] * (gy * (self.x @ self.weight)) @ self.weight.T


X = np.array([0.5, -1.0, 2.0])
h = d = gy = 3.0


def test_the_snippet_of_a_layers_methods_asks_for_the_layer():
    layer = Layer(np.arange(1.0, 7.0).reshape(3, 2), {"scale": np.array(0.5)})
    finding = finding_of(layer.forward, layer.backward, np.array([[0.5, -1.0, 2.0]]))
    assert "function = ...  # Layer.forward: put here what was checked" in finding.snippet
    filled_in = finding.snippet.replace("function = ...", "function = layer.forward")
    filled_in = filled_in.replace("vjp = ...", "vjp = layer.backward")
    with pytest.raises(AssertionError):
        exec(filled_in, {"layer": layer})


def test_the_snippets_own_names_do_not_clash_and_small_errors_are_shown():
    finding = finding_of(lambda x: np.sin(x) * h * d * gy, lambda g, x: (g * np.cos(x) * h * d * gy * (1 + 3e-10),), X)
    code, text = run(finding.snippet)
    assert (code, "AssertionError" in text) == (1, True)


@pytest.mark.parametrize("check", [testing.check_exact, testing.check_complex_step])
def test_exact_and_complex_checks_have_a_snippet_too(check):
    with pytest.raises(testing.GradientError) as caught:
        check(lambda x: 2.0 * x, lambda gy, x: (3.0 * gy,), np.array([1.0, 2.0]))
    code, text = run(caught.value.finding.snippet)
    assert (code, "AssertionError" in text) == (1, True)


def affine(x, w, b):
    return np.tanh(x @ w) + b


def affine_vjp(gy, x, w, b):
    g = gy * (1 - np.tanh(x @ w) ** 2)
    gw = x.T @ g
    gw[0] *= 1.01
    gw[2, 1] = 0
    return g @ w.T, gw, 2 * gy.sum(0)


def failure(function, vjp, *arrays, **options):
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(function, vjp, *arrays, **options)
    return caught.value


def test_the_message_counts_wrong_elements_tells_of_other_inputs_and_ends_with_the_verdict():
    rng = np.random.default_rng(0)
    error = failure(affine, affine_vjp, rng.standard_normal((4, 5)), rng.standard_normal((5, 4)), np.zeros(4))
    lines = str(error).splitlines()
    assert lines[0] == "the gradient of `w` is wrong at index (2, 1)"
    assert "  wrong          : 5 of 20 elements of `w`: (0, 0), (0, 1), (0, 2), (0, 3), …" in lines
    assert "  other inputs   : `x` passed; `b` wrong as well" in lines
    assert lines[-1].startswith("# the gradient of `w` is wrong at index (2, 1): 0 instead of -0.4574")
    assert error.finding.hint == ""  # 1.01 does not hold for (2, 1)


def test_few_wrong_elements_of_many_are_counted_and_a_hint_holds_for_all_of_them():
    def vjp(gy, x):
        g = 2 * x * gy
        g[[7, 9], [3, 9]] *= 1.5
        return g

    x = np.random.default_rng(0).standard_normal((40, 50))
    finding = failure(np.square, vjp, x).finding
    assert finding.wrong.startswith("2 of 2000 elements of ")
    assert finding.wrong.endswith(": (7, 3), (9, 9)")
    assert finding.hint.startswith("claimed = 1.5 × numerical at every wrong element")


def test_if_very_many_elements_are_wrong_some_are_looked_at():
    x = np.random.default_rng(0).standard_normal((40, 50))
    finding = failure(np.square, lambda gy, x: 3 * x * gy, x).finding
    assert finding.wrong.startswith("64 of 64 elements of ")
    assert "that were looked at (it has 2000)" in finding.wrong
    assert "claimed = 1.5 × numerical everywhere" in finding.hint


SCALE = np.where(np.arange(5) == 0, 1e4, 1.0)


NO_HINTS = {
    "one element": lambda g: np.where(np.arange(25).reshape(5, 5) == 7, 1.5 * g, g),
    "two factors": lambda g: g * np.where(np.arange(5) == 3, 1.01, 1.02),
    "a small element's other factor": lambda g: g * np.where(np.arange(5) == 0, 1.01, 1.02),
    "a corner": lambda g: g * np.where(np.arange(25).reshape(5, 5) % 24 == 0, [1.1, 1, 1, 1, 1.2], 1.0),
    "mirrored but for one": lambda g: np.where(np.arange(25).reshape(5, 5) == 7, 0, g[::-1, ::-1]),
}


@pytest.mark.parametrize("name", NO_HINTS)
def test_a_hint_that_does_not_hold_for_every_wrong_element_is_not_given(name):
    x = np.random.default_rng(3).standard_normal((5, 5)) * SCALE
    assert failure(np.sin, lambda gy, x: NO_HINTS[name](np.cos(x) * gy), x / 10).finding.hint == ""


def test_an_error_at_one_input_is_not_hidden_by_another_that_is_inconclusive():
    x, y = np.array([-1.0, -2.0]), np.array([1.0, 2.0])

    def vjp(gy, x, y):
        with np.errstate(all="ignore"):
            return gy[0] / x, 2.5 * gy[1]

    error = failure(lambda x, y: (np.floor(x), 2 * y), vjp, x, y)
    assert not isinstance(error, testing.Inconclusive)
    assert "`y` is wrong" in str(error)


def test_an_inconclusive_input_is_reported_with_the_inputs_that_passed():
    x, y = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    error = failure(lambda x, y: 2 * x.sum() + np.floor(y).sum(), lambda gy, x, y: (2 * gy * np.ones(2), None), x, y)
    assert isinstance(error, testing.Inconclusive)
    assert str(error).endswith("Other inputs: `x` passed.")
