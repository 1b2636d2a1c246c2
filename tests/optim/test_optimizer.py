import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import DeviceError, DtypeError, GraphError, ShapeError


def parameter(*values, dtype=np.float64):
    return nn.Parameter(np.array(values, dtype))


def with_gradient(*values, dtype=np.float64):
    p = parameter(*values, dtype=dtype)
    p.grad = mr.tensor(np.ones(len(values), dtype))
    return p


MAKERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


# What an optimizer takes


def test_a_single_parameter_outside_a_list_is_an_error():
    with pytest.raises(TypeError, match=r"params is a single Parameter: put it in a list, \[parameter\]"):
        optim.SGD(parameter(1.0, 2.0), 0.1)


def test_a_group_may_hold_a_single_parameter_outside_a_list():
    p = with_gradient(1.0, 2.0)
    optimizer = optim.SGD([{"params": p}], lr=0.5)
    optimizer.step()
    assert optimizer.param_groups[0]["params"] == [p]
    assert p.numpy().tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        (lambda p: np.zeros(2), TypeError, r"params must be a list of tensors.*not a ndarray"),
        (lambda p: {"w": p}, TypeError, r"params is a dictionary with \['w'\]; give its values, or a list of groups"),
        (lambda p: "w", TypeError, "params must be a list of tensors.*not a str"),
        (lambda p: nn.Linear(2, 2).parameters, TypeError, "params must be a list of tensors.*not a method: call it"),
        (lambda p: {p}, TypeError, "params must be a list of tensors.*not a set"),
        (lambda p: nn.Linear(2, 2), TypeError, r"such as model\.parameters\(\), not a Linear"),
        (lambda p: nn.Sequential(nn.Linear(2, 2)), TypeError, "parameter 0 of group 0 is a Linear, not a tensor"),
        (lambda p: [p, np.zeros(2)], TypeError, r"parameter 1 of group 0 is a ndarray.*nn\.Parameter\(array\)"),
        (lambda p: [("w", p)], TypeError, r"parameter 0 of group 0 is a tuple.*not model\.named_parameters\(\)"),
        (lambda p: [p, 2 * p], GraphError, r"parameter 1 of group 0 was computed \(op=Multiply\)"),
        (lambda p: [p.detach().reshape(2, 1)], GraphError, "parameter 0 of group 0 is a view of another tensor"),
        (lambda p: [{"params": [p]}, p], TypeError, "group 1 is a Parameter; expected a dictionary"),
        (lambda p: [p, {"params": [p]}], TypeError, "parameter 1 of group 0 is a dict, not a tensor"),
        (lambda p: [{"params": np.zeros(2)}], TypeError, '"params" of group 0 must be a list.*not a ndarray'),
        (lambda p: [{"lr": 0.1}], ValueError, r"group 0 has no \"params\", only \['lr'\]; add the list"),
        (lambda p: [{"params": [p], "lt": 0.1}], ValueError, r"group 0 has the unknown options \['lt'\]; known are"),
        (lambda p: [p, p], ValueError, "parameter 1 of group 0 is parameter 0 of group 0 again"),
        (
            lambda p: [{"params": p}, {"params": p}],
            ValueError,
            "0 of group 1 is parameter 0 of group 0 again",
        ),
        (lambda p: [], ValueError, "needs at least one parameter"),
    ],
)
def test_what_a_step_could_not_change_is_refused_by_name(params, error, text):
    with pytest.raises(error, match=text):
        optim.SGD(params(parameter(1.0, 2.0)), lr=0.1)


def test_groups_have_their_own_options():
    a, b = with_gradient(1.0), with_gradient(1.0)
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.25}], lr=0.5)
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 0.75)


@makers
def test_a_group_can_be_added_and_begins_its_own_state(make):
    a, b, alone = with_gradient(1.0), with_gradient(1.0), with_gradient(1.0)
    optimizer, other = make([a]), make([alone])
    optimizer.step()
    group = {"params": b}
    optimizer.add_param_group(group)
    assert group == {"params": b}
    optimizer.step()
    other.step()
    assert b.item() == alone.item() != a.item()
    assert sorted(optimizer.state) == [0, 1]


@pytest.mark.parametrize(
    ("group", "error", "text"),
    [
        ([], TypeError, "group 1 is a list"),
        ({"lr": 1}, ValueError, 'group 1 has no "params"'),
        ({"params": [np.zeros(1)]}, TypeError, "parameter 0 of group 1"),
        ({"params": [parameter(1.0)], "lr": -1}, ValueError, "lr must be a finite number that is not negative, got -1"),
    ],
)
def test_a_group_that_does_not_fit_is_not_added(group, error, text):
    optimizer = optim.SGD([parameter(1.0)], lr=0.1)
    with pytest.raises(error, match=text):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1


def test_a_representation_tells_the_options_of_each_group():
    a, b = parameter(1.0), parameter(2.0)
    assert repr(optim.Adam([a, b])) == "Adam(2 parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0)"
    assert repr(optim.SGD([{"params": a}, {"params": b, "lr": 0.5}], 0.1)) == (
        "SGD(\n"
        "  group 0: 1 parameter, lr=0.1, momentum=0, dampening=0, weight_decay=0, nesterov=False\n"
        "  group 1: 1 parameter, lr=0.5, momentum=0, dampening=0, weight_decay=0, nesterov=False\n"
        ")"
    )


# Gradients and steps


def test_gradients_are_set_to_none_or_where_there_are_any_to_zeros():
    a, b = with_gradient(1.0, 2.0, dtype=np.float32), parameter(3.0)
    optimizer = optim.SGD([a, b])
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.numpy().tolist() == [0, 0]
    assert a.grad.dtype == np.float32
    assert b.grad is None
    optimizer.zero_grad()
    assert a.grad is None


def test_a_parameter_without_a_gradient_stays():
    a, b = with_gradient(1.0), parameter(1.0)
    optim.SGD([a, b], lr=0.5).step()
    assert (a.item(), b.item()) == (0.5, 1.0)


@makers
@pytest.mark.parametrize(
    ("gradient", "error", "text"),
    [
        (np.ones(2), TypeError, "is a ndarray; set .grad to a tensor, or None"),
        (mr.ones((3,), dtype=np.float64), ShapeError, r"is float64 of shape \(3,\) on cpu, but the parameter is float"),
        (mr.ones((1,), dtype=np.float64), ShapeError, r"is .*\(1,\) on cpu, but the parameter is .*\(2,\) on cpu"),
        (mr.ones((2,), dtype=np.float32), DtypeError, "is float32 .* but the parameter is float64 .* nothing was"),
    ],
)
def test_a_step_with_a_gradient_that_does_not_fit_changes_nothing(make, gradient, error, text):
    a, b = with_gradient(1.0, 2.0), with_gradient(1.0, 2.0)
    optimizer = make([{"params": a}, {"params": b}])
    optimizer.step()
    values, state = a.numpy().copy(), optimizer.state_dict()
    b.grad = gradient
    with pytest.raises(error, match=f"the gradient of parameter 0 of group 1 {text}"):
        optimizer.step()
    assert np.array_equal(a.numpy(), values)
    assert np.array_equal(b.numpy(), values)
    np.testing.assert_equal(optimizer.state_dict(), state)


def test_a_gradient_on_another_device_is_an_error(monkeypatch):
    a, b = with_gradient(1.0), with_gradient(2.0)
    elsewhere = b.grad.array.base
    monkeypatch.setattr("minires.optim.checks.device_of", lambda array: "cuda:0" if array.base is elsewhere else "cpu")
    optimizer = optim.Adam([a, b])
    with pytest.raises(DeviceError, match=r"parameter 1 of group 0 is float64 .* on cuda:0, but .* on cpu"):
        optimizer.step()
    assert (a.item(), b.item(), optimizer.state) == (1.0, 2.0, {})


def test_a_step_with_kernels_of_another_device_changes_nothing():
    p = with_gradient(1.0)
    optimizer = optim.Adam([p])
    with mr.kernels.using("cuda"), pytest.raises(DeviceError):
        optimizer.step()
    assert optimizer.state == {}


def test_integers_are_not_updated():
    p = mr.tensor(np.ones(2, np.int64))
    p.grad = mr.tensor(np.ones(2, np.int64))
    with pytest.raises(DtypeError, match=r"parameter 0 of group 0 is int64 .*optimizers update floating-point numbers"):
        optim.SGD([p]).step()


def test_an_option_set_out_of_range_stops_the_step_before_it_begins():
    a, b = with_gradient(1.0), with_gradient(1.0)
    optimizer = optim.SGD([{"params": a}, {"params": b}], lr=0.1)
    optimizer.param_groups[1]["lr"] = None
    with pytest.raises(ValueError, match="lr must be a finite number that is not negative, got None"):
        optimizer.step()
    assert a.item() == 1.0


def test_an_option_that_was_taken_away_stops_the_step_before_it_begins():
    p = with_gradient(1.0)
    optimizer = optim.SGD([p], lr=0.1)
    del optimizer.param_groups[0]["lr"]
    with pytest.raises(ValueError, match=r"group 0 has no \['lr'\] any more; set them again"):
        optimizer.step()
    assert p.item() == 1.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numpy_numbers_are_options_and_make_the_same_steps(dtype):
    found = []
    for number, pair in ((float, tuple), (np.float32, np.array), (np.float64, list)):
        p, q = (with_gradient(1.0, 2.0, dtype=dtype) for _ in range(2))
        a = optim.SGD([p], number(0.25), number(0.5), weight_decay=number(0.125))
        b = optim.Adam([q], number(0.25), pair([0.5, 0.75]), number(0.125), number(0.125))
        for optimizer in (a, b, a, b):
            optimizer.step()
        assert (p.dtype, q.dtype) == (dtype, dtype)
        found.append((p.numpy().tolist(), q.numpy().tolist(), b.param_groups[0]["betas"][0]))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("lr", "shown"), [(np.array([0.1]), "array"), (mr.tensor(0.1), "tensor")])
def test_a_rate_in_an_array_is_told_how_to_be_a_number(lr, shown):
    with pytest.raises(ValueError, match=rf"lr must be a finite number .*, got {shown}\(.*\); take its \.item\(\)"):
        optim.SGD([parameter(1.0)], lr)


def test_a_twin_that_shares_the_memory_of_a_parameter_is_refused():
    p = nn.Parameter(np.ones(2, np.float32))
    with pytest.raises(ValueError, match="parameter 1 of group 0 is parameter 0 of group 0 again"):
        optim.SGD([p, p.detach().requires_grad_()])


def test_a_parameter_in_read_only_memory_stops_a_step_before_anything_is_changed():
    p = nn.Parameter(np.ones(2, np.float32))
    fixed = mr.Tensor(np.frombuffer(np.ones(2, np.float32).tobytes(), np.float32)).requires_grad_()
    optimizer = optim.SGD([{"params": [p]}, {"params": [fixed]}], lr=0.1, momentum=0.9)
    for parameter in (p, fixed):
        parameter.grad = mr.ones(2)
    with pytest.raises(ValueError, match="WRITEABLE"):
        optimizer.step()
    assert p.numpy().tolist() == [1, 1]
    assert "velocity" not in optimizer.state[0]


class Failing(mr.kernels.KernelSet):
    """Kernels of which those of the optimizers have no memory left."""

    def wrapped(self, kernel, function):
        def fails(*arguments, **options):
            raise MemoryError

        return fails if kernel in ("sgd_", "adam_") else function


@pytest.mark.parametrize("make", [lambda ps: optim.SGD(ps, 0.1, 0.9, 0.5), lambda ps: optim.Adam(ps, 0.1)])
def test_a_step_that_fails_in_its_kernel_is_no_step(make):
    results = []
    for fails in (False, True):
        p = nn.Parameter(np.ones(2, np.float32))
        p.grad = mr.ones(2)
        optimizer = make([p])
        if fails:
            with mr.kernels.using(Failing("fast")), pytest.raises(MemoryError):
                optimizer.step()
        optimizer.step()
        results.append(p.numpy().tolist())
    assert results[0] == results[1]


def test_a_parameter_frozen_between_forward_and_backward_does_not_move():
    net = nn.Linear(2, 1)
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = net.weight.numpy().copy(), net.bias.numpy().copy()
    loss = net(mr.tensor(np.ones((3, 2), np.float32))).sum()
    net.weight.requires_grad = False
    loss.backward()
    optimizer.step()
    assert np.array_equal(net.weight.numpy(), before[0])
    assert not np.array_equal(net.bias.numpy(), before[1])
