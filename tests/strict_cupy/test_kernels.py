"""Every reference kernel on the double of CuPy: what a GPU would refuse is refused where there is none."""

import sys

import numpy as np
import pytest
import strict_double
from hypothesis import given, settings
from hypothesis import strategies as st

from minires.kernels import reference
from minires.testing import check_rounding
from minires.testing.layouts import copy_in_order
from minires.testing.rounding import cases

EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 2))
WAITING = {
    "cross_entropy": "a label out of range is an error, and somebody has to read the labels to raise it",
    "cross_entropy_grad": "as above",
    "getitem": "how many elements a mask picks is the shape of the result",
    "getitem_grad": "as above",
}


@pytest.fixture(autouse=True, scope="module")
def cupy():
    """The double, in the place of CuPy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", strict_double.cupy)
        yield strict_double.cupy


def each(function, kind, value):
    """``value`` with the arrays of a kind in its lists and tuples replaced."""
    if type(value) is kind:
        return function(value)
    return type(value)(each(function, kind, item) for item in value) if type(value) in (list, tuple) else value


def on_double(kernel):
    """A kernel of NumPy's arrays that computes on the double, and writes into its arguments what the double's did."""

    def call(*arguments):
        pairs = []

        def move(array):
            pairs.append((array, strict_double.ndarray(copy_in_order(array))))
            return pairs[-1][1]

        results = kernel(*each(move, np.ndarray, arguments))
        assert not isinstance(results, np.ndarray)
        for array, there in pairs:
            array[...] = there.host
        return each(lambda array: array.host, strict_double.ndarray, results)

    return call


@pytest.mark.parametrize("kernel", reference.__all__)
@EXAMPLES
@given(data=st.data())
def test_a_kernel_needs_nothing_that_cupy_lacks(kernel, data):
    case, function = data.draw(cases.cases(kernel)), getattr(reference, kernel)
    there, here = case.function(on_double(function)), case.function(function)
    if kernel in WAITING:
        with strict_double.recording():
            check_rounding(there, here, *case.arguments)
    else:
        check_rounding(there, here, *case.arguments)
