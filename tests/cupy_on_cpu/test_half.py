"""Kernels in float16 on CUDA: stored in float16, computed in float32 or wider."""

import itertools

import cupy
import numpy as np
import pytest
from cupy_backends.cuda.libs import cublas
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minires.cupy_on_cpu import DeviceFault, to_device
from minires.geometry import Geometry
from minires.kernels import choose, cuda
from minires.kernels.cuda.product import multiply
from minires.testing.rounding import RoundingError, cases

EXAMPLES = settings(max_examples=max(5, settings.default.max_examples // 5))


@pytest.mark.parametrize("kernel", [name for name in cuda.__all__ if name != "unscale"])  # which gives float32
@EXAMPLES
@given(data=st.data())
def test_a_kernel_is_within_the_rounding_bound_of_float16(kernel, data):
    # What a batch norm makes of means far from zero is left out: its bound in float16 is infinite.
    try:
        cases.check_kernel("cuda", kernel, data.draw(cases.cases(kernel)), "cuda", np.float16)
    except RoundingError as error:
        assume("no element of the reference has a finite bound" not in str(error))  # a sum of 2048 numbers has none
        raise


def test_the_kernels_of_cuda_take_float16_and_the_references_what_is_complex():
    x = cupy.zeros(3)
    assert [choose(x.astype(dtype)).name for dtype in ("e", "f", "d")] == ["cuda"] * 3
    assert choose(x.astype("D")).name == choose(x.astype("i")).name == choose(np.zeros(3, "e")).name == "reference"


# 4224 in all, which is a float16. Added up in float16 the ones stop at 2048, whose neighbour is 2050.
NUMBERS = np.where(np.arange(8192) < 4096, 1, 2.0**-5).astype("e")


def test_convolutions_in_several_parts_are_added_in_float32(monkeypatch):
    monkeypatch.setattr("minires.kernels.cuda.columns._COLUMNS", 2)  # an image at a time
    x = to_device(NUMBERS.reshape(8192, 1, 1, 1))
    gw = cuda.conv2d_weight_grad(x, cupy.ones_like(x), Geometry((1, 1)))
    assert gw.dtype == np.float16
    assert gw.ravel().get() == [4224]


def test_a_product_with_sums_in_float16_is_refused_by_what_stands_for_cublas(device):
    with pytest.raises(DeviceFault, match="sums in float16"):
        cublas.gemmEx(*[0] * 17, cublas.CUBLAS_COMPUTE_16F, 99)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("out", ["e", "f"])
def test_products_of_halves_are_cublass_whatever_way_they_lie(device, groups, out):
    rng = np.random.default_rng(0)
    for I, K, J in itertools.product([1, 3], [1, 5], [1, 4]):
        a, b = rng.integers(-3, 4, (groups, I, K)).astype("e"), rng.integers(-3, 4, (groups, K, J)).astype("e")
        ways = itertools.product(*[[to_device(x), to_device(x.swapaxes(1, 2).copy()).swapaxes(1, 2)] for x in (a, b)])
        for x, y in [*ways, (to_device(a.repeat(2, 2))[..., ::2], to_device(b))]:
            result = cupy.empty((groups, I, J), out)
            with device.recording() as record:
                multiply(x, y, result)
            assert [launch.kernel for launch in record.launches][-1].startswith("cublasGemm")
            np.testing.assert_array_equal(result.get(), a @ b)


def test_what_float16_holds_none_of_is_a_number_of_a_step_still():
    """Adam's eps, 1e-8, is 0 in float16, and 0 / 0 is NaN."""
    p, g, m, v = cupy.ones(3, "e"), *(cupy.zeros(3, "e") for _ in range(3))
    cuda.adam_([p], [g], [m], [v], 1, 1e-3)
    assert (p == 1).all()
