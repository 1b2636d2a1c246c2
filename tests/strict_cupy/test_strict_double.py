"""The double of CuPy refuses what it is there to refuse, and computes the rest."""

import inspect

import numpy as np
import pytest
import strict_double
from planted import (
    AGREED,
    CHANGED,
    LET_PASS,
    REFUSED,
    WAITING,
    memory_that_was_never_written,
    name_of,
    outcome,
)
from strict_double import cupy
from strict_record import Undefined, Waits, recording


def on_numpy(function):
    return outcome(function, np, np.asarray)


def on_double(function):
    return outcome(function, cupy, lambda array: array.host)


@pytest.mark.parametrize("mistake", REFUSED, ids=name_of)
def test_what_cupy_refuses_is_refused(mistake):
    with pytest.raises((TypeError, AttributeError, ValueError)):
        mistake(cupy)


@pytest.mark.parametrize("mistake", CHANGED, ids=name_of)
def test_what_cupy_gives_otherwise_than_numpy_is_seen(mistake):
    assert on_double(mistake) not in ("raises", on_numpy(mistake))


def test_memory_that_was_never_written_is_seen():
    assert memory_that_was_never_written(cupy).host.all()
    assert (cupy.empty(3, "i4").host == -1).all()


@pytest.mark.parametrize("mistake", WAITING, ids=name_of)
def test_a_hidden_wait_is_refused_and_counted_where_it_is_allowed(mistake):
    with pytest.raises(Waits):
        mistake(cupy)
    with recording() as record:
        assert on_double(mistake) == on_numpy(mistake)
    assert record.waits


@pytest.mark.parametrize("mistake", LET_PASS, ids=name_of)
def test_what_cupy_lets_pass_is_refused(mistake):
    with pytest.raises((IndexError, ValueError, Undefined)):
        mistake(cupy)


@pytest.mark.parametrize("use", AGREED, ids=name_of)
def test_what_cupy_does_as_numpy_is_done(use):
    assert on_double(use) == on_numpy(use) != "raises"


def test_operands_that_are_copied_before_a_product_are_counted():
    x, stack = cupy.ones((4, 6), "f4"), cupy.ones((2, 3, 4), "f4")
    with recording() as record:
        x.T @ x
        x[:, ::2].T @ x
        stack.swapaxes(1, 2) @ stack
    assert record.copies == [(3, 4), (2, 4, 3)]


@pytest.mark.parametrize("name", ["array", "asanyarray", "asarray", "asnumpy"])
def test_functions_that_take_host_arrays_have_cupys_parameters(name):
    own = inspect.signature(strict_double.OWN[name]).parameters.values()
    known = strict_double.signature(strict_double.MANIFEST["functions"][name]).parameters.values()
    assert [(p.name, p.kind) for p in own] == [(p.name, p.kind) for p in known]
