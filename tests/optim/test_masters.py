"""Parameters in float16: optimizers keep copies in float32, and round them."""

import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import CheckpointError, DtypeError

MAKERS = {
    "SGD": lambda p: optim.SGD(p, lr=2.0**-13),
    "momentum": lambda p: optim.SGD(p, lr=2.0**-14, momentum=0.5, weight_decay=0.25),
    "Adam": lambda p: optim.Adam(p, lr=2.0**-13),
    "AdamW": lambda p: optim.AdamW(p, lr=2.0**-13),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def parameter(dtype, values=(1.0, 2.0, -3.0)):
    return nn.Parameter(np.array(values, dtype))


def stepped(make, dtype, steps, gradient=1.0):
    p = parameter(dtype)
    optimizer = make([p])
    for _ in range(steps):
        p.grad = mr.tensor(np.full(3, gradient, dtype))
        optimizer.step()
    return p, optimizer


@makers
def test_steps_too_small_for_float16_add_up_to_those_of_float32(make):
    once, _ = stepped(make, np.float16, 1)
    assert once.numpy()[1] == 2  # half of what lies between neighbours there is 2⁻¹¹
    half, optimizer = stepped(make, np.float16, 40)
    single, _ = stepped(make, np.float32, 40)
    assert (half.numpy() == single.numpy().astype(np.float16)).all()
    assert (optimizer.state[0]["master"] == single.numpy()).all()
    assert {a.dtype for a in optimizer.state[0].values() if isinstance(a, np.ndarray)} == {np.dtype(np.float32)}


@makers
def test_a_state_continues_bit_for_bit_whichever_is_loaded_first(make):
    p, optimizer = stepped(make, np.float16, 7)
    saved, values = optimizer.state_dict(), p.numpy().copy()
    for model_first in (True, False):
        q = parameter(np.float16, (0, 0, 0))
        other = make([q])
        if model_first:
            q.assign_(values)
        other.load_state_dict(saved)
        q.assign_(values)
        q.grad = mr.tensor(np.ones(3, np.float16))
        other.step()
        expected, _ = stepped(make, np.float16, 8)
        assert (q.numpy() == expected.numpy()).all()


def test_a_parameter_that_was_changed_by_hand_takes_its_master_along():
    p, optimizer = stepped(MAKERS["SGD"], np.float16, 3)
    untouched = optimizer.state[0]["master"][2]
    p.assign_(np.array([5, np.nan, p.numpy()[2]], np.float16))
    p.grad = mr.tensor(np.zeros(3, np.float16))
    optimizer.step()
    np.testing.assert_array_equal(optimizer.state[0]["master"], np.array([5, np.nan, untouched], np.float32))


def test_a_gradient_of_a_float16_parameter_may_be_float32_and_no_other():
    p = parameter(np.float16)
    p.grad = mr.tensor(np.full(3, 2.0**-30, np.float32))
    optim.SGD([p], lr=2.0**29).step()
    assert p.numpy().tolist() == [0.5, 1.5, -3.5]
    for dtype, gradient in ((np.float16, np.float64), (np.float32, np.float16)):
        p = parameter(dtype)
        p.grad = mr.tensor(np.ones(3, gradient))
        with pytest.raises(DtypeError, match="the gradient of parameter 0"):
            optim.SGD([p], lr=1).step()


def test_float16_and_float32_parameters_go_together():
    half, single = parameter(np.float16), parameter(np.float32)
    optimizer = optim.SGD([half, single], lr=0.5, momentum=0.9)
    for p in (half, single):
        p.grad = mr.tensor(np.ones(3, p.dtype))
    optimizer.step()
    assert half.numpy().tolist() == single.numpy().tolist() == [0.5, 1.5, -3.5]
    assert [sorted(state) for state in optimizer.state.values()] == [["master", "velocity"], ["velocity"]]


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        ({"velocity": np.zeros(3, np.float16)}, "velocity of parameter 0 is float16 .* and needs float32"),
        ({"master": np.zeros(3, np.float32), "m": 0}, r"is \['master', 'm'\], but SGD keeps \['velocity'\]"),
        ({"master": np.zeros(3, np.float16)}, "master of parameter 0 is float16 .* and needs float32"),
        ({"master": np.zeros(2, np.float32)}, r"master of parameter 0 is float32 of shape \(2,\)"),
    ],
)
def test_a_saved_state_that_float16_could_not_have_kept_is_refused(kept, text):
    optimizer = optim.SGD([parameter(np.float16)], lr=1)
    with pytest.raises(CheckpointError, match=text):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: kept}})


@makers
def test_a_state_of_float32_continues_in_float16_by_masters_made_of_the_parameters(make):
    _, optimizer = stepped(make, np.float32, 7)
    p, q = parameter(np.float16), parameter(np.float32)
    half, single = make([p]), make([q])
    for other, x in ((half, p), (single, q)):
        other.load_state_dict(optimizer.state_dict())
        x.grad = mr.ones(3, dtype=x.dtype)
        other.step()
    assert (half.state[0].pop("master") == q.numpy()).all()
    np.testing.assert_equal(half.state_dict(), single.state_dict())
    assert (p.numpy() == q.numpy().astype(np.float16)).all()


@makers
def test_a_state_of_float16_continues_in_float32_without_its_masters(make):
    _, half = stepped(make, np.float16, 7)
    _, single = stepped(make, np.float32, 7)
    p = parameter(np.float32)
    optimizer = make([p])
    optimizer.load_state_dict(half.state_dict())
    np.testing.assert_equal(optimizer.state_dict(), {**single.state_dict(), "state": {0: dict(single.state[0])}})
    p.grad = mr.ones(3)
    optimizer.step()
    assert "master" not in optimizer.state[0]
