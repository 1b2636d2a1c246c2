"""The error of a sum does not grow with its length: the kernels for CUDA."""

import numpy as np
import pytest

from minires.testing.rounding.cases.long_sums import LONG_SUMS, check_long_sum


@pytest.mark.parametrize("kernel", sorted(LONG_SUMS))
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_long_sum_on_cuda_is_right_in_its_last_digits(kernel, dtype):
    check_long_sum("cuda", kernel, "cuda", dtype)
