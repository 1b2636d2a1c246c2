"""CuPy behaves as the table of differences says; and cases that the table does not contain."""

import cupy
import pytest
from cupy._core import _routines_linalg
from cupy_backends.cuda.libs import cublas
from differences import each_row, is_expected, outcome

from minires.cupy_on_cpu import DeviceFault


@each_row
def test_cupy_does_as_the_table_says_and_numpy_otherwise(row):
    ours = outcome(row.code, cupy)
    assert is_expected(row, ours), ours


def test_an_assignment_to_one_place_twice_is_a_race(device):
    y, places = cupy.zeros(4, "f4"), cupy.array([0, 0, 2])
    with device.watching_races():
        y[cupy.array([0, 1, 2])] = cupy.arange(3, dtype="f4") + 1
        with pytest.raises(DeviceFault, match="a race"):
            y[places] = cupy.arange(3, dtype="f4") + 4
        cupy.add.at(y, places, cupy.ones(3, "f4"))  # by atomics


def test_products_round_to_tf32_only_if_they_are_told_to(device, monkeypatch):
    asked, product = [], cublas.gemmEx

    def gemm(*arguments):
        asked.append(arguments[17])  # the cublasComputeType
        product(*arguments)

    monkeypatch.setattr(cublas, "gemmEx", gemm)
    x, float32, fast_tf32, undecided = cupy.ones((2, 2), "f4"), 68, 77, 0
    before = _routines_linalg.get_compute_type("f4")
    try:
        for setting in (None, "0", "1"):
            monkeypatch.delenv("CUPY_TF32", raising=False)
            if setting is not None:
                monkeypatch.setenv("CUPY_TF32", setting)
            _routines_linalg.set_compute_type("f4", undecided)
            cupy.matmul(x, x)
    finally:
        _routines_linalg.set_compute_type("f4", before)
    assert asked == [float32, float32, fast_tf32]
