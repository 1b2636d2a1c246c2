"""The double of CuPy refuses what it must refuse, and computes the rest."""

import inspect

import numpy as np
import pytest
import strict_double
from differences import HOST, each_product, each_row, each_wait, is_expected, outcome
from strict_double import cupy
from strict_record import Waits, recording


@each_row
def test_the_double_does_as_the_table_says(row):
    ours = outcome(row.code, cupy)
    assert ours is row.double if isinstance(row.double, type) else is_expected(row, ours) == (row.double is None), ours


@each_wait
def test_a_hidden_wait_is_refused_and_counted_where_it_is_allowed(code, expected):
    assert outcome(code, cupy) is Waits
    with recording() as record:
        assert outcome(code, cupy) == outcome(code, np)
    assert len(record.waits) == expected


@each_product
def test_operands_that_are_copied_before_a_product_are_counted(shapes, code, expected, unknown):
    with recording() as record:
        code(cupy, *(cupy.ones(shape, "f4") for shape in shapes))
    assert len(record.copies) == (0 if unknown else expected.count("copy"))


def test_memory_that_was_never_written_is_seen():
    y = cupy.empty((3, 5), "f4")
    y[:, :4] = cupy.asarray(HOST)
    assert np.isnan(y.host[:, 4]).all()
    assert (cupy.empty(3, "i4").host == -1).all()


@pytest.mark.parametrize("name", ["array", "asanyarray", "asarray", "asnumpy"])
def test_functions_that_take_host_arrays_have_cupys_parameters(name):
    own = inspect.signature(strict_double.OWN[name]).parameters.values()
    known = strict_double.signature(strict_double.MANIFEST["functions"][name]).parameters.values()
    assert [(p.name, p.kind) for p in own] == [(p.name, p.kind) for p in known]
