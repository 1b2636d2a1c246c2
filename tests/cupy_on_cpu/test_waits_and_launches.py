"""Costs that only a GPU has: where a program waits for the device, and what matrix products launch."""

import cupy
import numpy as np
from differences import HOST, each_product, each_row, each_wait, outcome


@each_wait
def test_what_makes_a_program_wait_is_counted(device, code, expected):
    assert outcome(code, cupy) == outcome(code, np)
    a = cupy.asarray(HOST)
    with device.recording() as record:
        code(cupy, a)
    assert record.synchronisations == expected


@each_row
def test_nothing_else_waits_but_for_an_error(device, row):
    with device.recording() as record:
        result = outcome(lambda xp, a: row.code(xp, a) is None, cupy)
    assert isinstance(result, type) or record.synchronisations == 0


SHORT = {"cublas": "product", "cupy_copy": "copy", "cupy_mat_ptrs": "pointers"}


@each_product
def test_what_products_launch_is_counted_and_their_values_are_numpys(device, shapes, code, expected, unknown):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-4, 5, shape).astype("f4") for shape in shapes)
    there = cupy.asarray(x), cupy.asarray(y)
    with device.recording() as record:
        result = code(cupy, *there)
    names = [launch.kernel for launch in record.launches]
    assert [next((SHORT[start] for start in SHORT if name.startswith(start)), name) for name in names] == expected
    assert np.array_equal(result.get(), code(np, x, y))
