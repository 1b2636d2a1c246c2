"""The lines for a function define it again in a fresh interpreter."""

import functools

import numpy as np
import pytest

import minires as mr
from minires.geometry import Geometry
from minires.testing.reproduce.definitions import definitions

FACTOR = 3


def helper(x):
    return FACTOR * x


def closure(stride, weights):
    def function(x, offset=2):
        """Uses names from around it."""
        return helper(x)[::stride] @ weights + offset

    return function


def lambda_that_calls_a_module():
    return lambda x: np.exp(x) if x.size > 1 else x.sum()


def pair_of_lambdas(scale):
    return (lambda x: helper(x) * scale, lambda gy, x: (gy * scale, x))


class Twice:
    """A class with a method that needs a function from around it."""

    @staticmethod
    def apply(x):
        return x + x

    @classmethod
    def call(cls, x):
        return cls.apply(helper(x))


class Scaled(mr.Op):
    def forward(self, x):
        return FACTOR * x


FUNCTIONS = {
    "a ufunc": np.square,
    "a function of a package": np.linalg.norm,
    "a function of this module": helper,
    "a closure": closure(2, np.arange(4.0)),
    "a lambda": pair_of_lambdas(5)[0],
    "a lambda that calls a module's function": lambda_that_calls_a_module(),
    "the second lambda of a line": pair_of_lambdas(5)[1],
    "a partial": functools.partial(helper),
    "a partial with arguments": functools.partial(np.linalg.norm, ord=1),
    "a classmethod": Twice.call,
}


def made_again(function):
    """Return the function that the lines define, without the names of this module."""
    names = {"np": np, "__name__": "fresh"}
    exec("\n".join(definitions(function=function)), names)
    return names["function"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_written_down_is_the_same_function(name):
    function, again = FUNCTIONS[name], made_again(FUNCTIONS[name])
    arguments = (np.arange(8.0), np.ones(3))[: 2 if "second" in name else 1]
    np.testing.assert_equal(again(*arguments), function(*arguments))


def test_an_operation_is_written_down_with_its_base():
    again = made_again(Scaled.apply)
    assert again(mr.tensor([1.0, 2.0])).numpy().tolist() == [3.0, 6.0]


def test_what_can_be_imported_is_imported():
    assert definitions(function=np.square) == ["from numpy import square as function"]
    assert definitions(f=np.linalg.norm, norm=np.linalg.norm) == [
        "from numpy.linalg import norm as f",
        "from numpy.linalg import norm",
    ]


def test_what_two_functions_share_is_written_once():
    lines = definitions(f=pair_of_lambdas(5)[0], g=helper)
    assert sum(line.startswith("FACTOR") for line in lines) == 1


def test_a_function_that_needs_another_meaning_of_a_name_is_left_to_the_reader():
    names = {"np": np, "__name__": "fresh"}
    exec("\n".join(definitions(f=pair_of_lambdas(5)[0], g=pair_of_lambdas(6)[0])), names)
    assert (names["f"](1.0), names["g"]) == (15.0, ...)


def wrapped(function):
    """Return a function that needs another one by the name ``function``, which snippets use."""
    return lambda x: function(x) + 1


def test_a_function_that_refers_to_another_of_its_own_name_is_left_to_the_reader():
    names = {"np": np, "__name__": "fresh"}
    exec("\n".join(definitions(function=wrapped(helper))), names)
    assert names["function"] is ...
    exec("\n".join(definitions(f=wrapped(helper))), names)
    assert names["f"](2.0) == 7.0


def test_what_cannot_be_written_down_is_left_to_the_reader():
    for value in (str.upper, object()):
        (line,) = definitions(function=value)
        assert line.startswith("function = ...  #")
        assert "put here what was checked" in line


def test_large_arrays_are_packed_and_very_large_ones_left_out():
    packed, left_out = (definitions(x=np.arange(n))[0] for n in (500, 50_000))
    names = {"np": np}
    exec(packed, names)
    assert names["x"].tolist() == list(range(500))
    assert left_out == "x = ...  # the array of shape (50000,) that was checked"


def test_records_are_written_as_the_call_that_makes_them():
    geometry = Geometry((2, 3), padding=(0, 1))
    lines = definitions(geometry=geometry)
    assert lines[0] == "from minires.geometry import Geometry"
    namespace = {}
    exec("\n".join(lines), namespace)
    assert namespace["geometry"] == geometry


def test_methods_of_a_class_without_source_are_all_left_to_the_reader():
    around = {"__name__": "__main__"}
    exec("class Layer:\n    def forward(self): pass\n    def backward(self): pass", around)
    layer = around["Layer"]()
    lines = definitions(function=layer.forward, vjp=layer.backward)
    assert [line.partition("  #")[0] for line in lines] == ["function = ...", "vjp = ..."]
