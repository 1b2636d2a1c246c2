"""Every kernel for CUDA arrays under all that the null device can look for, and within its rounding bound."""

import gc

import cupy
import numpy as np
import pytest

from minires.kernels import cuda
from minires.testing.rounding import cases


@pytest.mark.parametrize("kernel", cuda.__all__)
def test_a_kernel_is_within_its_rounding_bound_and_has_no_race(device, kernel):
    gc.collect()  # what lies about is compared, too
    with device.watching_races(), device.recording() as record:
        assert cases.survey("cuda", kernel, examples=15, device="cuda").left_out == 0
    own = [launch for launch in record.launches if not launch.kernel.startswith("cublas")]
    assert record.watched >= len(own) / 2  # others are too large


def test_sums_of_several_blocks_have_no_race(device):
    x = cupy.asarray(np.random.default_rng(0).standard_normal((5, 2, 24, 24)).astype("f4"))
    gamma = cupy.ones(2, "f4")
    with device.watching_races(), device.recording() as record:
        y, mean, _, inv_std = cuda.batch_norm(x, gamma, gamma, 1e-5)
        cuda.batch_norm_grads(y, x, gamma, mean, inv_std)
    grids = {launch.kernel: launch.grid for launch in record.launches}
    assert grids["statistics"] == grids["gradient_sums"] == (2, 3, 1)


def test_batch_norm_takes_more_channels_than_a_grid_has_rows(device, monkeypatch):
    monkeypatch.setattr(device, "execute", None)  # launches are looked at, and not made
    x, gamma = cupy.empty((3, 70_000, 1, 1), "f4"), cupy.empty(70_000, "f4")
    y, mean, _, inv_std = cuda.batch_norm(x, gamma, gamma, 1e-5)
    assert cuda.batch_norm_grads(y, x, gamma, mean, inv_std)[0].shape == x.shape
