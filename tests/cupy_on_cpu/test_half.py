"""Kernels in float16 on CUDA: stored in half precision, computed in float32 or better."""

import cupy
import numpy as np
import pytest
from cupy_backends.cuda.libs import cublas
from hypothesis import given, settings
from hypothesis import strategies as st

from minires.geometry import Geometry
from minires.kernels import choose, cuda
from minires.testing.cupy_on_cpu import DeviceFault, to_device
from minires.testing.rounding import cases

EXAMPLES = settings(max_examples=max(5, settings.default.max_examples // 5))


@pytest.mark.parametrize("kernel", [name for name in cuda.__all__ if name != "unscale"])  # which gives float32
@EXAMPLES
@given(data=st.data())
def test_a_kernel_is_within_the_rounding_bound_of_float16(kernel, data):
    # What a batch norm makes of means far from zero is left out: its bound in float16 is infinite.
    cases.check_kernel("cuda", kernel, data.draw(cases.cases(kernel)), "cuda", np.float16)


def test_the_kernels_of_cuda_take_float16_and_the_references_what_is_complex():
    x = cupy.zeros(3)
    assert [choose(x.astype(dtype)).name for dtype in ("e", "f", "d")] == ["cuda"] * 3
    assert choose(x.astype("D")).name == choose(x.astype("i")).name == choose(np.zeros(3, "e")).name == "reference"


# Sums of these are 4224, which is a float16. Added up in float16 the ones stop at 2048, whose neighbour is 2050.

SIZE = (64, 128)
NUMBERS = np.where(np.arange(8192) < 4096, 1, 2.0**-5).astype("e")
TOTAL = 4096 + 4096 / 32
POINTWISE = Geometry((1, 1))
AROUND = Geometry(SIZE, padding=(63, 127))  # as many windows as taps: each meets the only pixel of a 1×1 image


def numbers(*shape):
    return to_device(NUMBERS.reshape(shape))


def ones(*shape):
    return cupy.ones(shape, "e")


def neutral():
    """A gamma, mean and inv_std that change nothing."""
    return ones(1), cupy.zeros(1, "e"), ones(1)


SUMS = {
    "conv2d": lambda: cuda.conv2d(numbers(1, 8192, 1, 1), ones(1, 8192, 1, 1), POINTWISE),
    "conv2d_input_grad": lambda: cuda.conv2d_input_grad(numbers(1, 1, *SIZE), ones(1, 1, *SIZE), AROUND, (1, 1)),
    "conv2d_weight_grad": lambda: cuda.conv2d_weight_grad(numbers(1, 1, *SIZE), ones(1, 1, *SIZE), POINTWISE),
    "max_pool2d_grad": lambda: cuda.max_pool2d_grad(
        numbers(1, 1, *SIZE), cuda.max_pool2d_winners(ones(1, 1, 1, 1), AROUND)[1], AROUND, (1, 1)
    ),
    "avg_pool2d": lambda: 8192 * cuda.avg_pool2d(numbers(1, 1, *SIZE), Geometry(SIZE)).astype("f"),
    "avg_pool2d_grad": lambda: 8192 * cuda.avg_pool2d_grad(numbers(1, 1, *SIZE), AROUND, (1, 1)).astype("f"),
    "adaptive_avg_pool2d": lambda: 8192 * cuda.adaptive_avg_pool2d(numbers(1, 1, *SIZE), (1, 1)).astype("f"),
    "adaptive_avg_pool2d_grad": lambda: cuda.adaptive_avg_pool2d_grad(numbers(1, 1, *SIZE), (1, 1)),
    "mean of a batch norm": lambda: 8192 * cuda.batch_norm(numbers(8192, 1, 1, 1), *neutral()[:2], 1e-5)[1].astype("f"),
    "gbeta of a batch norm": lambda: cuda.batch_norm_grads(numbers(8192, 1, 1, 1), ones(8192, 1, 1, 1), *neutral())[2],
    "ggamma of a batch norm": lambda: cuda.batch_norm_grads(numbers(8192, 1, 1, 1), ones(8192, 1, 1, 1), *neutral())[1],
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_not_made_in_float16(name):
    assert np.add.accumulate(NUMBERS)[-1] == 2048
    assert SUMS[name]().ravel().get() == [TOTAL]


def test_convolutions_in_several_parts_are_added_in_float32(monkeypatch):
    monkeypatch.setattr("minires.kernels.cuda.conv._COLUMNS", 2)  # an image at a time
    gw = cuda.conv2d_weight_grad(numbers(8192, 1, 1, 1), ones(8192, 1, 1, 1), POINTWISE)
    assert gw.dtype == np.float16
    assert gw.ravel().get() == [TOTAL]


def test_a_product_with_sums_in_float16_is_refused_by_what_stands_for_cublas(device):
    with pytest.raises(DeviceFault, match="sums in float16"):
        cublas.gemmEx(*[0] * 17, cublas.CUBLAS_COMPUTE_16F, 99)


def test_the_exponentials_of_a_cross_entropy_are_not_added_in_float16():
    loss = cuda.cross_entropy(cupy.zeros((1, 8192), "e"), cupy.zeros(1, "q"), 0.0, -100, "mean")
    assert loss == np.log(8192).astype("e")


def test_what_float16_holds_none_of_is_a_number_of_a_step_still():
    """Adam's eps, 1e-8, is 0 in float16, and 0 / 0 no number."""
    p, g, m, v = ones(3), *(cupy.zeros(3, "e") for _ in range(3))
    cuda.adam_([p], [g], [m], [v], 1, 1e-3)
    assert (p == 1).all()
