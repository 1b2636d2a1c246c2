"""Every reference kernel on the double of CuPy: it refuses what a GPU would refuse."""

import numpy as np
import pytest
import strict_double
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strict_record import Waits, recording

from minires.device import device_of, is_array, xp_of
from minires.geometry import Geometry
from minires.kernels import reference
from minires.kernels.reference import arithmetic
from minires.testing import check_rounding
from minires.testing.layouts import copy_in_order
from minires.testing.rounding import cases
from minires.testing.strategies import array

EXAMPLES = settings(max_examples=max(10, settings.default.max_examples // 2))
WAITS = {  # a label out of range is an error, and to raise it somebody has to read; a mask knows the result's shape
    "cross_entropy": "bool",
    "cross_entropy_grad": "bool",
    "getitem": "a mask as an index",
    "getitem_grad": "a mask as an index",
}
IN_ANY_ORDER = ("amax", "amin", "mean", "sum", "var")  # of axes: NumPy keeps the operand's, CuPy takes C


pytestmark = pytest.mark.usefixtures("double_for_cupy")


def each(function, kind, value):
    """Return ``value`` with the arrays of a type in its lists and tuples replaced."""
    if type(value) is kind:
        return function(value)
    return type(value)(each(function, kind, item) for item in value) if type(value) in (list, tuple) else value


def on_double(kernel):
    """Return a kernel that computes on the double, and returns results like NumPy's except for their values."""

    def call(*arguments):
        expected = kernel(*each(copy_in_order, np.ndarray, arguments))
        moved = []

        def move(array):
            moved.append((array, strict_double.ndarray(copy_in_order(array))))
            return moved[-1][1]

        with recording() as record:
            results = kernel(*each(move, np.ndarray, arguments))
        assert set(record.waits) <= {WAITS.get(kernel.__name__)}
        in_order = kernel.__name__ not in IN_ANY_ORDER
        assert described(results, strict_double.ndarray, in_order) == described(expected, np.ndarray, in_order)
        for given_array, there in moved:  # what the kernel has written
            given_array[...] = there.host
        return each(lambda array: array.host, strict_double.ndarray, results)

    return call


def described(results, kind, in_order):
    """Return class, dtype, shape and count of NaNs of each result and, if asked for, its memory order."""

    def describe(y):
        nans = np.isnan(y.host if isinstance(y, strict_double.ndarray) else y).sum()  # so is memory never written
        strides = [stride for stride, n in zip(y.strides, y.shape, strict=True) if n > 1 and y.size]
        return type(y) is kind, y.dtype, y.shape, nans, strides if in_order else None

    return [y if y is None else describe(y) for y in (results if isinstance(results, tuple) else [results])]


@pytest.mark.parametrize("kernel", reference.__all__)
@EXAMPLES
@given(data=st.data())
def test_a_kernel_needs_nothing_that_cupy_lacks(kernel, data):
    case, function = data.draw(cases.cases(kernel)), getattr(reference, kernel)
    check_rounding(case.function(on_double(function)), case.function(function), *case.arguments)


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        ("getitem_grad", (array((4,), 0), np.array([1, 1, 0, 1]), (2,))),  # elements read several times
        ("getitem_grad", (array((), 0), (), ())),  # no axes
        ("broadcast_to", (array((3,), 0), (2, 3))),  # its result must not be written to
        ("amax_share", (np.array([1.0, np.nan, np.nan]), None)),
        ("max_pool2d_winners", (np.full((1, 1, 2, 2), np.nan), Geometry((2, 2)))),
        ("sum", (np.array([[1, 2], [3, 4]]), None)),
        ("sigmoid", (np.array([-1e4, 0.0, 1e4]),)),
    ],
)
def test_a_kernel_needs_nothing_that_cupy_lacks_at_its_corners_either(kernel, arguments):
    function = getattr(reference, kernel)
    here, there = function(*arguments), on_double(function)(*arguments)
    assert_array_equal(there, here)


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        ("cross_entropy", (array((2, 3), 0), np.array([0, 2]), 0.0, -100, "mean")),
        ("cross_entropy_grad", (array((2,), 0), array((2, 3), 0), np.array([0, 2]), 0.0, -100, "none")),
        ("getitem", (array((3,), 0), np.array([True, False, True]))),
        ("getitem_grad", (array((2,), 0), np.array([True, False, True]), (3,))),
    ],
)
def test_the_kernels_that_may_wait_do(kernel, arguments):
    assert kernel in WAITS
    with pytest.raises(Waits):
        getattr(reference, kernel)(*each(strict_double.ndarray, np.ndarray, arguments))


def test_the_double_is_an_array_on_a_device_for_all_that_asks():
    x = strict_double.cupy.zeros(3)
    assert xp_of(x) is strict_double.cupy
    assert device_of(x) == "cuda:0"
    assert is_array(x)


# Kernels that NumPy forgives


def relu_by_a_host_array(x):
    return xp_of(x).maximum(x, np.zeros(x.shape, x.dtype))


def relu_that_asks_first(x):
    return reference.relu(x) if (x < 0).any() else x


def relu_of_some(x):
    y = reference.relu(x)
    y[x < 0] = 0
    return y


def relu_in_cs_order(x):
    return xp_of(x).maximum(x, 0)


def relu_with_a_mask(x):
    xp = xp_of(x)
    return xp.multiply(x, 1, out=xp.zeros_like(x), where=x > 0)


def relu_that_leaves_holes(x):
    xp = xp_of(x)
    y = xp.empty_like(x)
    xp.copyto(y, x, where=x > 0)
    return y


def relu_of_a_scalar(x):
    y = reference.relu(x)
    y *= arithmetic.greater(reference.sum(reference.absolute(x)), 0).item()
    return y


@pytest.mark.parametrize(
    "kernel",
    [
        relu_by_a_host_array,
        relu_that_asks_first,
        relu_of_some,
        relu_in_cs_order,
        relu_with_a_mask,
        relu_that_leaves_holes,
        relu_of_a_scalar,
    ],
    ids=lambda kernel: kernel.__name__,
)
def test_a_kernel_that_numpy_forgives_is_seen(kernel):
    x = array((3, 4), 0, dtype="float32", order="F")
    if kernel is not relu_that_leaves_holes:  # what NumPy finds there may be anything
        check_rounding(kernel, reference.relu, x)
    with pytest.raises((AssertionError, TypeError, ValueError)):
        check_rounding(on_double(kernel), reference.relu, x)
