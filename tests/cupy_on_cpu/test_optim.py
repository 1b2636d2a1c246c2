from collections import Counter

import numpy as np
import pytest

from minires.cupy_on_cpu import to_device
from minires.kernels import cuda, reference

STEPS = {
    "sgd_": lambda kernels, ps, gs, a, b: kernels.sgd_(ps, gs, a, 0.1, 0.9, 0.0, 0.01),
    "sgd_ without momentum": lambda kernels, ps, gs, a, b: kernels.sgd_(ps, gs, None, 0.1),
    "adam_": lambda kernels, ps, gs, a, b: kernels.adam_(ps, gs, a, b, 2, 0.1, weight_decay=0.01),
}


def drawn(shapes):
    """Return parameters, gradients and two lists of state, on the host."""
    rng = np.random.default_rng(0)
    return [[rng.random(shape, "f4") for shape in shapes] for _ in range(4)]


def launches(record):
    return Counter(launch.kernel for launch in record.launches)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("count", [1, 80, 161])
def test_eighty_parameters_take_one_launch(device, name, count):
    sizes = np.random.default_rng(1).permutation([(n * 397) % 9000 for n in range(count)])
    sizes[count // 2] = 2 * 4096  # the end of a block is the end of a parameter
    host = drawn([(int(n),) for n in sizes])
    there = [[to_device(array) for array in arrays] for arrays in host]
    with device.recording() as record:
        STEPS[name](cuda, *there)
    STEPS[name](reference, *host)
    assert launches(record) == {"update": -(-int((sizes > 0).sum()) // 80)}
    for arrays, expected in zip(there, host, strict=True):
        for a, b in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("other", range(4))
def test_arrays_in_several_memory_orders_are_copied_first(device, name, other):
    host = drawn([(3, 4), (3, 4)])
    host[other][0] = np.asfortranarray(host[other][0])
    there = [[to_device(array) for array in arrays] for arrays in host]
    with device.recording() as record:
        STEPS[name](cuda, *there)
    STEPS[name](reference, *host)
    assert launches(record)["update"] == 1
    for arrays, expected in zip(there, host, strict=True):
        for a, b in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=1e-6)


def test_a_parameter_with_gaps_keeps_them(device):
    host = drawn([(3, 8)])
    there = [[to_device(array)[:, ::2] for array in arrays] for arrays in host]
    STEPS["adam_"](cuda, *there)
    expected = [[array[:, ::2] for array in arrays] for arrays in host]
    STEPS["adam_"](reference, *expected)
    for (a,), (b,) in zip(there, expected, strict=True):
        np.testing.assert_allclose(a.get(), b, rtol=1e-6)


def test_parameters_in_a_kernels_own_order_take_the_launch_too(device):
    host = drawn([(4, 3, 2, 2)])
    there = [[to_device(array.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1)) for array in a] for a in host]
    assert not there[0][0].flags.c_contiguous
    with device.recording() as record:
        STEPS["sgd_"](cuda, *there)
    STEPS["sgd_"](reference, *host)
    assert launches(record) == {"update": 1}
    np.testing.assert_allclose(there[0][0].get(), host[0][0], rtol=1e-6)
