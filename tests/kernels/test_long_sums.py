"""The error of a sum does not grow with its length: every kernel that adds up, in every set."""

import importlib

import numpy as np
import pytest

from minires import kernels
from minires.functional.elementwise import Elementwise
from minires.testing.catalogue.complete import differentiable_operations
from minires.testing.rounding.cases.long_sums import LONG_SUMS, check_long_sum

SETS = {name: kernels.names_of(importlib.import_module(f"minires.kernels.{name}")) for name in kernels.NAMES}
# Kernels of elementwise operations add up no elements.
ELEMENTWISE = {op.kernel for op in differentiable_operations() if issubclass(op, Elementwise)}
# These kernels compute a sum of a few terms, or a difference of sums whose error is beside theirs.
# fmt: off
SHORT = [
    "adam_", "add_", "amax", "amin", "argmax", "argmin", "batch_norm_act_inference", "batch_norm_grads_grads",
    "batch_norm_inference", "blend_", "broadcast_to", "clip_mask", "concatenate", "dropout", "equal", "follow_",
    "getitem", "greater", "greater_equal", "less", "less_equal", "max_pool2d", "max_pool2d_gather",
    "max_pool2d_winners", "maximum_mask", "minimum", "narrow_", "not_equal", "pad", "relu", "relu_grad", "reshape",
    "sgd_", "sign", "split", "stack", "subtract", "transpose", "unscale", "where",
]
# fmt: on


def test_every_kernel_has_a_long_sum_or_none_to_make():
    assert sorted([*LONG_SUMS, *SHORT, *ELEMENTWISE]) == sorted({kernel for names in SETS.values() for kernel in names})


@pytest.mark.parametrize("kernel", sorted(LONG_SUMS))
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_long_sum_of_the_reference_is_right_in_its_last_digits(kernel, dtype):
    check_long_sum("reference", kernel, dtype=dtype)


@pytest.mark.parametrize("kernel", [kernel for kernel in SETS["fast"] if kernel in LONG_SUMS])
def test_a_long_sum_of_a_fast_kernel_is_right_in_its_last_digits(kernel):
    check_long_sum("fast", kernel)


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", sorted(LONG_SUMS))
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_long_sum_on_the_gpu_is_right_in_its_last_digits(kernel, dtype):
    check_long_sum("cuda", kernel, "cuda", dtype)
