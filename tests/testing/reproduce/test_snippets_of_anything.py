"""For any function, a check gives its verdict, and the snippet below "To reproduce" compiles."""

import enum
import functools
import importlib.util
import itertools
import linecache
import types

import numpy as np
import pytest

from minires import testing
from minires.testing.differences import localise
from minires.testing.reproduce import snippet
from minires.testing.reproduce.definitions import definitions
from minires.testing.reproduce.literals import compiles
from minires.testing.reproduce.source import source_of


def sine(x):
    return np.sin(x)


def doubled(function):
    """Decorator: double the result."""

    @functools.wraps(function)
    def around(*arguments):
        return 2 * function(*arguments)

    return around


@doubled
def decorated(x):
    return np.sin(x)


class Callable_:
    def __call__(self, x):
        return np.sin(x)

    @staticmethod
    def static(x):
        return np.sin(x)

    @classmethod
    def of_class(cls, x):
        return np.sin(x)


class Slots:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale

    def forward(self, x):
        return np.sin(self.scale * x)


class Compiled:
    """Like the wrapper of a compiler: it has no code and no other attribute."""

    def __call__(self, x):
        return np.sin(x)

    def __getattribute__(self, name):
        if name == "__class__":
            return object.__getattribute__(self, name)
        raise AttributeError(f"no {name} here")


class Hostile:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


class Colour(enum.IntEnum):
    RED = 2


class Shouting(str):
    def __repr__(self):
        return "<shouting>"


CYCLE = [1.0]
CYCLE.append(CYCLE)
NESTED = functools.reduce(lambda inner, _: [inner], range(2000), object())
OBJECTS = {
    "a builtin": len,
    "lambdas in a dict": {"f": lambda x: np.sin(x), len: lambda x: np.cos(x)},
    "lambdas of a comprehension": [lambda x, n=n: n * x for n in range(2)],
    "two lambdas of one line": (lambda x: [-n for n in x], lambda x: [n + 1 for n in x]),
    "a generator": (n for n in range(3)),
    "an iterator": itertools.count(),
    "a cycle": CYCLE,
    "a deep nest": NESTED,
    "not a number": float("nan"),
    "numbers": [np.float64("inf"), 1j, complex("nan"), np.float32(0.1), -0.0, 10**5000],
    "an enumeration": Colour.RED,
    "a string with a repr": Shouting("a"),
    "a slice": (slice(None, 3), Ellipsis, b"\0", range(3), frozenset({1})),
    "keys": {(1, 2): 3, len: 4, None: 5, "a b": 6},
    "structured": np.zeros(2, [("a", float), ("b", int)]),
    "strings": np.array(["a", "\n"]),
    "objects": np.array([None, len], object),
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
    "swapped": np.arange(3, dtype=">f8"),
    "complex": np.array([complex("nan+1j"), 1j]),
    "empty": np.zeros((0, 3)),
    "no dimension": np.array(3.0),
    "huge": np.zeros(30_000),
    "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
    "a class": Callable_,
    "a module of a strange name": types.ModuleType("a-module"),
    "a hostile object": Hostile(),
    "a namespace": types.SimpleNamespace(sin=np.sin, inner=types.SimpleNamespace(f=lambda x: x)),
    "a random generator": np.random.default_rng(0),
    "a partial with odd keywords": functools.partial(dict, **{"a b": 1}),
}


def around(thing):
    """Return a function that needs an object."""

    def function(x):
        _ = thing
        return np.sin(x)

    return function


def executed(name):
    names = {"np": np}
    exec(f"def {name}(x): return np.sin(x)", names)
    return names[name]


FUNCTIONS = {
    "a ufunc": np.sin,
    "a lambda": lambda x: np.sin(x),
    "a lambda of a call": (lambda f: f)(lambda x: np.sin(x)),
    "a nested function": around(3),
    "a partial": functools.partial(np.multiply, 2.0),
    "a partial of a lambda": functools.partial(lambda n, x: n * np.sin(x), 2.0),
    "a partial of a method": functools.partial(Callable_().__call__),
    "an instance": Callable_(),
    "a bound method": Slots(2.0).forward,
    "a static method": Callable_.static,
    "a class method": Callable_.of_class,
    "a cached function": functools.lru_cache(lambda x: np.sin(x)),
    "a function without code": Compiled(),
    "a decorated function": decorated,
    "an executed function": executed("from_nowhere"),
    "a name that is not ASCII": executed("größe"),
    "a comprehension": lambda x: np.array([np.sin(n) for n in x]),
    "a vectorized function": np.vectorize(np.sin, otypes=[float]),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_function_that_needs_anything_is_written_down_as_far_as_that_goes(name):
    lines = definitions(function=around(OBJECTS[name]), vjp=OBJECTS[name])
    assert compiles("\n".join(lines))
    assert "vjp" in "\n".join(lines)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_the_function_the_verdict_comes_and_its_snippet_compiles(name):
    function = FUNCTIONS[name]
    if isinstance(function, functools._lru_cache_wrapper):
        cached = function
        function = lambda x: cached.__wrapped__(x)  # noqa: E731 (arrays have no hash)
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(function, lambda gy, x: 9 * gy, np.array([0.5, 1.0]))
    assert caught.value.finding.index is not None
    assert compiles(caught.value.finding.snippet)
    assert "9 * gy" in caught.value.finding.snippet


def test_numbers_strings_and_arrays_are_the_same_again():
    for name in ("numbers", "a slice", "keys", "strings", "swapped", "complex", "empty", "no dimension"):
        lines = definitions(again=OBJECTS[name])
        if "..." not in "\n".join(lines):
            names = {"np": np}
            exec("\n".join(lines), names)
            np.testing.assert_equal(names["again"], OBJECTS[name])
            assert type(names["again"]) is type(OBJECTS[name])


def test_what_a_decorator_adds_is_not_lost():
    names = {"np": np}
    exec("\n".join(definitions(checked=decorated)), names)
    assert names["checked"](1.0) == 2 * np.sin(1.0)


def test_source_that_was_edited_since_is_not_what_was_checked(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(
        "f = lambda x: 2 * x\ndef g(x):\n    return 2 * x\nclass C:\n    def m(self, x):\n        return 2 * x\n"
    )
    spec = importlib.util.spec_from_file_location("edited", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert source_of(module.f) == "lambda x: 2 * x"
    assert source_of(module.g) == "def g(x):\n    return 2 * x"
    path.write_text(path.read_text().replace("2 *", "3.5 *"))
    linecache.checkcache()
    assert source_of(module.f) is None
    assert source_of(module.g) is None
    path.write_text("(")
    linecache.checkcache()
    assert source_of(module.g) is None


def test_two_lambdas_of_one_line_are_told_apart_by_their_arguments_alone():
    first, second = OBJECTS["two lambdas of one line"]
    assert source_of(first) is source_of(second) is None
    second, third = (lambda x: -x, lambda x, y: x + y)
    assert source_of(second) == "lambda x: -x"
    assert source_of(third) == "lambda x, y: x + y"


@pytest.mark.parametrize("broken", ["_functions", "_program"])
def test_an_error_in_the_report_does_not_take_the_verdicts_place(monkeypatch, broken):
    def fails(*arguments):
        raise SyntaxError("a report that fails")

    monkeypatch.setattr(snippet, broken, fails)
    with pytest.raises(testing.GradientError, match=r"is wrong at index \(0,\)"):
        testing.check_vjp(np.sin, lambda gy, x: 9 * gy, np.array([0.5, 1.0]))
    with pytest.raises(testing.GradientError, match="is wrong at index"):
        testing.check_exact(lambda x: 2 * x, lambda gy, x: 9 * gy, np.array([1.0, 2.0]))
    with pytest.raises(testing.GradientError, match="is wrong at index"):
        testing.check_complex_step(np.sin, lambda gy, x: 9 * gy, np.array([0.5, 1.0]))


def test_an_error_while_the_place_is_looked_for_does_not_take_the_verdicts_place(monkeypatch):
    def fails(*arguments):
        raise OSError("the function refuses parts of a direction")

    monkeypatch.setattr(localise, "look_at", fails)
    with pytest.raises(testing.GradientError, match="is wrong along a random direction"):
        testing.check_vjp(np.sin, lambda gy, x: 9 * gy, np.array([0.5, 1.0]))
