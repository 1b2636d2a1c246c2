"""Every kernel for CUDA arrays passes all checks of the fake device, and is within its rounding bound."""

import gc
import pathlib
import re
from unittest import mock

import cupy
import numpy as np
import pytest

from minires.geometry import Geometry
from minires.kernels import KernelSet, cuda, reference
from minires.kernels.cuda import columns
from minires.testing.rounding import cases


def never_waiting(device, kernel):
    """Return the kernel with a check that its calls never wait for the device."""

    def called(*arguments):
        with device.recording() as record:
            result = kernel(*arguments)
        assert record.synchronisations == 0
        return result

    return called


@pytest.mark.parametrize("kernel", cuda.__all__)
def test_a_kernel_is_within_its_rounding_bound_has_no_race_and_never_waits(device, kernel):
    gc.collect()  # what lies about is compared, too
    watched = mock.patch.object(KernelSet, "wrapped", lambda self, name, function: never_waiting(device, function))
    with device.watching_races(), device.recording() as record, watched:
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


@pytest.mark.parametrize("wants_shortcut", [True, False])
def test_a_gradient_passes_where_the_output_is_nan_as_in_the_reference(wants_shortcut):
    rng = np.random.default_rng(0)
    gy, y, x = rng.standard_normal((3, 2, 3, 4, 4))
    y[0, 1, 2, 2] = np.nan
    gamma, mean, inv_std = rng.uniform(0.5, 2, (3, 3))
    expected = reference.batch_norm_act_grads(gy, y, x, gamma, mean, inv_std, True, wants_shortcut)
    arrays = map(cupy.asarray, (gy, y, x, gamma, mean, inv_std))
    found = cuda.batch_norm_act_grads(*arrays, True, wants_shortcut)
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            np.testing.assert_allclose(one.get(), other, rtol=1e-12, atol=1e-12)


def test_batch_norm_takes_more_channels_than_a_grid_has_rows(device, monkeypatch):
    monkeypatch.setattr(device, "execute", None)  # launches are looked at, and not made
    x, gamma = cupy.empty((3, 70_000, 1, 1), "f4"), cupy.empty(70_000, "f4")
    y, mean, _, inv_std = cuda.batch_norm(x, gamma, gamma, 1e-5)
    assert cuda.batch_norm_grads(y, x, gamma, mean, inv_std)[0].shape == x.shape


def test_columns_may_be_more_than_an_int_counts(monkeypatch):
    assert [columns._index_type(count) for count in (2**31 - 1, 2**31)] == ["int", "long long"]
    rng, geometry = np.random.default_rng(0), Geometry((3, 2), stride=(2, 1), padding=(1, 1), groups=2)
    x, w = (cupy.asarray(rng.standard_normal(shape)) for shape in ((2, 4, 5, 6), (6, 2, 3, 2)))
    y = cuda.conv2d(x, w, geometry)
    found = y, *cuda.conv2d_grads(y, x, w, geometry)
    monkeypatch.setattr(columns, "_index_type", lambda count: "long long")
    longer = cuda.conv2d(x, w, geometry), *cuda.conv2d_grads(y, x, w, geometry)
    for a, b in zip(found, longer, strict=True):
        assert (a == b).all()


def test_no_sum_depends_on_which_thread_comes_first():
    sources = [path.read_text(encoding="utf-8") for path in pathlib.Path(cuda.__file__).parent.glob("*.py")]
    assert set(re.findall(r"\batomic\w+(?=\()", "".join(sources))) == {"atomicExch"}  # of a flag
