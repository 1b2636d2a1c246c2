import inspect
import json
import re
import textwrap

import numpy as np
import pytest

import minires as mr
from minires import functional as F
from minires import nn, optim
from minires.errors import CheckpointError, DtypeError

RANGE = r"must be a number from 2\*\*-126 to 2\*\*126, so that float32 holds it and its inverse"


def parameter(*values, dtype=np.float32):
    return nn.Parameter(np.array(values, dtype))


def scaled_step(scaler, p, optimizer, gradient):
    """Make a step for a loss whose gradient by each element of p is ``gradient``."""
    optimizer.zero_grad()
    scaler.scale((p.to("float32") * gradient).sum()).backward()
    return scaler.step(optimizer)


def test_a_step_is_that_of_the_loss_without_the_scale():
    p, scaler = parameter(1.0, 2.0), optim.LossScaler()
    assert scaled_step(scaler, p, optim.SGD([p], lr=0.5), 0.25)
    assert p.numpy().tolist() == [0.875, 1.875]
    assert p.grad.numpy().tolist() == [0.25, 0.25]


@pytest.mark.parametrize("gradient", [float("inf"), float("nan")])
def test_an_infinite_or_nan_gradient_skips_the_step_and_halves_the_scale(gradient):
    p, scaler = parameter(1.0), optim.LossScaler()
    optimizer = optim.SGD([p], lr=0.5, momentum=0.9)
    assert not scaled_step(scaler, p, optimizer, gradient)
    scaler.update()
    assert (p.item(), optimizer.state, scaler.get_scale()) == (1.0, {}, 2.0**15)


def test_one_element_of_one_parameter_is_enough():
    a, b, scaler = parameter(1.0), parameter(1.0, 2.0, 3.0), optim.LossScaler()
    a.grad, b.grad = mr.ones((1,)), mr.tensor(np.array([1, np.inf, 1], np.float32))
    assert not scaler.step(optim.SGD([a, b], lr=1))
    assert (a.item(), b.numpy().tolist()) == (1.0, [1.0, 2.0, 3.0])


def test_the_scale_doubles_after_as_many_steps_without_an_overflow_in_between():
    p, scaler = parameter(1.0), optim.LossScaler(init_scale=8, growth_interval=3)
    optimizer, scales = optim.SGD([p], lr=0), []
    for gradient in (1, 1, 1, 1, 1, np.inf, 1, 1, 1):
        scaled_step(scaler, p, optimizer, gradient)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [8, 8, 16, 16, 16, 8, 8, 8, 16]


def test_the_scale_and_its_inverse_stay_normal_numbers_in_float32():
    p = parameter(0.0)
    for scaler, gradient in (
        (optim.LossScaler(2.0**126, growth_interval=1), 0),
        (optim.LossScaler(2.0**-126), np.inf),
    ):
        before = scaler.get_scale()
        for x in (before, 1 / before):
            assert np.finfo(np.float32).tiny <= np.float32(x) < np.inf
        p.grad = mr.tensor(np.array([gradient], np.float32))
        scaler.step(optim.SGD([p], lr=0))
        scaler.update()
        assert scaler.get_scale() == before


@pytest.mark.parametrize("lower", ["set", "loaded"])
def test_the_scale_grows_also_after_more_steps_than_a_lowered_interval(lower):
    p, scaler = parameter(1.0), optim.LossScaler(8, growth_interval=9)
    for _ in range(5):
        scaled_step(scaler, p, optim.SGD([p], lr=0), 1)
        scaler.update()
    if lower == "set":
        scaler.growth_interval = 3
    else:
        scaler.load_state_dict({**scaler.state_dict(), "growth_interval": 3})
    scaled_step(scaler, p, optim.SGD([p], lr=0), 1)
    scaler.update()
    assert (scaler.get_scale(), scaler.state_dict()["_growth_tracker"]) == (16, 0)


def test_an_update_needs_no_step_after_gradients_were_unscaled():
    p, scaler = parameter(1.0), optim.LossScaler(8)
    p.grad = mr.tensor(np.array([np.inf], np.float32))
    scaler.unscale_(optim.SGD([p], lr=1))
    scaler.update()
    assert scaler.get_scale() == 4


def test_the_loop_in_its_docstring_trains_in_float16():
    loop = textwrap.dedent(inspect.getdoc(optim.LossScaler).split("\n\n")[1])
    model = nn.Linear(3, 2).to(dtype="float16")
    batch = mr.ones((4, 3), dtype="float16"), mr.tensor(np.array([0, 1, 1, 1]))
    names = {"optim": optim, "F": F, "model": model, "batches": [batch] * 3}
    names["optimizer"] = optimizer = optim.SGD(model.parameters(), lr=0.1)
    exec(loop, names)
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert set(optimizer.state) == {0, 1}


def test_gradients_that_float16_loses_arrive_in_float32():
    p, scaler = parameter(1.0, dtype=np.float16), optim.LossScaler(2.0**10)
    tiny = 2.0**-30  # float16's least is 2⁻²⁴
    optimizer = optim.SGD([p], lr=2.0**26)
    optimizer.zero_grad()
    (p.to("float32") * tiny).sum().backward()
    assert p.grad.item() == 0
    assert scaled_step(scaler, p, optimizer, tiny)
    assert (p.grad.dtype, p.grad.item()) == (np.float32, tiny)
    assert p.item() == 1 - 2.0**-4


def test_a_loss_in_float16_is_scaled_in_float32():
    loss = mr.tensor(np.float16(2), requires_grad=True)
    scaled = optim.LossScaler().scale(loss)
    assert (scaled.dtype, scaled.item()) == (np.float32, 2.0**17)


def test_gradients_can_be_clipped_between_unscale_and_step():
    p, scaler = parameter(0.0), optim.LossScaler()
    optimizer = optim.SGD([p], lr=1)
    scaler.scale((p * 4.0).sum()).backward()
    scaler.unscale_(optimizer)
    assert p.grad.item() == 4
    p.grad = p.grad.clip(-1, 1)
    scaler.step(optimizer)
    assert p.item() == -1


def test_two_optimizers_share_a_scale_and_skip_each_for_itself():
    a, b, scaler = parameter(1.0), parameter(1.0), optim.LossScaler()
    first, second = optim.SGD([a], lr=1), optim.Adam([b], lr=1)
    assert not scaled_step(scaler, a, first, np.inf)
    assert scaled_step(scaler, b, second, 1)
    scaler.update()
    assert (a.item(), scaler.get_scale()) == (1, 2.0**15)
    assert b.item() < 1


# What goes wrong


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"init_scale": 0}, f"init_scale {RANGE}, got 0"),
        ({"init_scale": float("inf")}, f"init_scale {RANGE}, got inf"),
        ({"init_scale": float("nan")}, f"init_scale {RANGE}, got nan"),
        ({"init_scale": "8"}, f"init_scale {RANGE}, got '8'"),
        ({"init_scale": 1e300}, rf"init_scale {RANGE}, got 1e\+300"),
        ({"init_scale": 1e-50}, f"init_scale {RANGE}, got 1e-50"),
        ({"init_scale": 2**127}, f"init_scale {RANGE}, got {2**127}"),  # its inverse is subnormal
        ({"growth_factor": 1}, "growth_factor must be a finite number above 1, got 1"),
        ({"growth_factor": "2"}, "growth_factor must be a finite number above 1, got '2'"),
        ({"backoff_factor": 1}, "backoff_factor must be a number between 0 and 1, got 1"),
        ({"backoff_factor": 0}, "backoff_factor must be a number between 0 and 1, got 0"),
        ({"growth_interval": 0}, "growth_interval must be an integer of at least 1, got 0"),
        ({"growth_interval": 2.5}, "growth_interval must be an integer of at least 1, got 2.5"),
    ],
)
def test_impossible_options_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        optim.LossScaler(**options)
    names = {"init_scale": "scale"}
    saved = {**optim.LossScaler().state_dict(), **{names.get(name, name): value for name, value in options.items()}}
    scaler = optim.LossScaler(4)
    with pytest.raises(CheckpointError, match=f"does not fit: {text.replace('init_scale', 'scale')}"):
        scaler.load_state_dict(saved)
    assert scaler.state_dict() == optim.LossScaler(4).state_dict()


def test_calls_out_of_order_are_told():
    p, scaler = parameter(1.0), optim.LossScaler()
    optimizer = optim.SGD([p], lr=1)
    with pytest.raises(RuntimeError, match="no optimizer has stepped since the last update"):
        scaler.update()
    with pytest.raises(ValueError, match=r"no parameter of the optimizer SGD has a gradient: call scale\(loss\)"):
        scaler.step(optimizer)
    p.grad = mr.ones((1,))
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="the optimizer SGD has unscaled gradients already"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="unscale_: the optimizer SGD has stepped already"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"step: the optimizer SGD has stepped already; call update\(\)"):
        scaler.step(optimizer)
    scaler.update()
    scaler.step(optimizer)


@pytest.mark.parametrize(("loss", "error"), [(3.0, TypeError), (mr.tensor(np.array(3)), DtypeError)])
def test_a_loss_is_a_tensor_of_floats(loss, error):
    with pytest.raises(error, match="loss"):
        optim.LossScaler().scale(loss)


# State


def test_a_state_continues_in_json_too():
    p, scaler = parameter(0.0), optim.LossScaler(8, 4.0, 0.25, 2)
    scaled_step(scaler, p, optim.SGD([p], lr=0), 1)
    scaler.update()
    other = optim.LossScaler()
    other.load_state_dict(json.loads(json.dumps(scaler.state_dict())))
    for one in (scaler, other):
        scaled_step(one, p, optim.SGD([p], lr=0), 1)
        one.update()
        assert one.get_scale() == 32
    assert repr(other) == "LossScaler(scale=32.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=2)"


@pytest.mark.parametrize("saved", [{}, {"scale": 1.0}, None, [1.0]])
def test_what_is_no_state_is_refused(saved):
    with pytest.raises(CheckpointError, match="a loss scaler's state has"):
        optim.LossScaler().load_state_dict(saved)


def test_a_scale_can_be_set():
    scaler = optim.LossScaler()
    scaler.update(new_scale=4)
    assert scaler.get_scale() == 4
    for value in (-1, 1e300, 1e-50):
        with pytest.raises(ValueError, match=f"new_scale {RANGE}, got {re.escape(str(value))}"):
            scaler.update(value)
    assert scaler.get_scale() == 4


@pytest.mark.parametrize("act", [lambda s: s.step(3), lambda s: s.unscale_(nn.Linear(1, 1))])
def test_what_is_no_optimizer_is_refused(act):
    with pytest.raises(TypeError, match=r"(step|unscale_) needs an optimizer, not a (int|Linear)"):
        act(optim.LossScaler())
