"""Training in float16 on CUDA, with masters in float32 and a scaled loss."""

from collections import Counter

import numpy as np
import pytest
from half_training import half_is_close, training

import minires as mr
from minires import nn, optim
from minires.device import asnumpy, device_of


def parameters(*dtypes):
    ps = [nn.Parameter(mr.ones((3, 5), dtype=dtype, device="cuda")) for dtype in dtypes]
    for p in ps:
        p.grad = mr.ones(p.shape, dtype=p.dtype, device="cuda")
    return ps


def test_three_steps_of_resnet20_in_float16_have_float32s_losses():
    losses, model, optimizer, scaler = training(np.float16, "cuda")
    half_is_close(losses)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float16)}
    assert all(state["master"].dtype == np.float32 for state in optimizer.state.values())
    assert scaler.get_scale() == 2.0**10


def test_an_overflow_halves_the_scale_and_skips_the_step():
    _, model, optimizer, scaler = training(np.float16, "cuda", steps=1, init_scale=2.0**30)
    _, untrained, _, _ = training(np.float16, "cuda", steps=0)
    assert scaler.get_scale() == 2.0**29
    assert optimizer.state == {}
    for p, q in zip(model.parameters(), untrained.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_updates_smaller_than_float16_sees_add_up():
    (p,) = parameters(np.float16)
    optimizer = optim.SGD([p], lr=2.0**-14)
    for _ in range(64):
        optimizer.step()
    assert (p.numpy() == 1 - 64 * 2.0**-14).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_state_saved_on_the_cpu_continues_there(dtype):
    there, here = parameters(dtype)[0], nn.Parameter(mr.ones((3, 5), dtype=dtype))
    here.grad = mr.ones((3, 5), dtype=dtype)
    first, second = (optim.Adam([p], lr=2.0**-6) for p in (here, there))
    first.step()
    second.load_state_dict(first.state_dict())
    arrays = {name: value for name, value in second.state[0].items() if name != "step"}
    assert {device_of(array) for array in arrays.values()} == {"cuda:0"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(asnumpy(array), first.state[0][name])
    second.step()
    first.load_state_dict(second.state_dict())
    assert {device_of(first.state[0][name]) for name in arrays} == {"cpu"}


def test_a_scaled_step_waits_once_and_takes_few_launches(device):
    ps = parameters(*[np.float16] * 80, np.float32)
    optimizer, scaler = optim.SGD(ps, lr=1, momentum=0.9), optim.LossScaler()
    for _ in range(2):  # the first makes masters and velocities
        for p in ps:
            p.grad = mr.ones(p.shape, dtype=p.dtype, device="cuda")
        with device.recording() as record:
            scaler.step(optimizer)
            scaler.update()
        assert record.synchronisations == 1
    started = Counter(launch.kernel for launch in record.launches)
    assert {name: started[name] for name in ("unscale", "follow", "update", "narrow")} == {
        "unscale": 2,
        "follow": 1,
        "update": 2,
        "narrow": 1,
    }
    assert sum(started.values()) <= 10
