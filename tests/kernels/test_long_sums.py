"""The error of a sum does not grow with its length: every kernel that adds up, in every set."""

import importlib

import numpy as np
import pytest

from minires import kernels
from minires.testing.rounding.cases.long_sums import LONG_SUMS, check_long_sum

SETS = {name: kernels.names_of(importlib.import_module(f"minires.kernels.{name}")) for name in kernels.NAMES}
# What these give is a sum of a few terms, or a difference of sums, whose error is beside theirs.
# fmt: off
SHORT = [
    "absolute", "adam_", "add", "add_", "amax", "amin", "argmax", "argmin", "batch_norm_act_inference",
    "batch_norm_grads_grads", "batch_norm_inference", "blend_", "broadcast_to", "clip", "clip_mask", "concatenate",
    "divide", "dropout", "equal", "exp", "follow_", "getitem", "greater", "greater_equal", "less", "less_equal",
    "log", "max_pool2d", "max_pool2d_gather", "max_pool2d_winners", "maximum", "maximum_mask", "minimum", "multiply",
    "narrow_", "negative", "not_equal", "pad", "power", "relu", "relu_grad", "reshape", "sgd_", "sigmoid", "sign",
    "split", "sqrt", "stack", "subtract", "tanh", "transpose", "unscale", "where",
]
# fmt: on


def test_every_kernel_has_a_long_sum_or_none_to_make():
    assert sorted([*LONG_SUMS, *SHORT]) == sorted({kernel for names in SETS.values() for kernel in names})


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
