import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import CheckpointError, DeviceError, DtypeError, GraphError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def test_a_parameter_can_be_made_frozen():
    frozen = nn.Parameter(np.zeros(2, np.float32), requires_grad=False)
    assert not frozen.requires_grad
    assert nn.Parameter(frozen).requires_grad
    with pytest.raises(DtypeError, match="only floating-point tensors have gradients, not int64"):
        nn.Parameter(np.zeros(2, np.int64))


# to(): moving and converting


def test_to_converts_floats_and_leaves_counters():
    net = Net().to(dtype=np.float64)
    assert {t.dtype.name for t in net.parameters()} == {"float64"}
    assert net.body[1].running_mean.dtype == np.float64
    assert net.body[1].num_batches_tracked.dtype == np.int64


@pytest.mark.parametrize(
    ("args", "options"),
    [((np.float64,), {}), (("float64",), {}), (("cpu", np.float64), {}), ((None, np.float64), {}),
     ((), {"dtype": np.float64, "device": "cpu"}), (("cpu",), {"dtype": np.float64})],
)  # fmt: skip
def test_to_tells_devices_and_dtypes_apart_as_tensors_do(args, options):
    net = Net()
    net.body[1].num_batches_tracked.assign_(2**53 + 1)  # which no float64 is
    assert net.to(*args, **options) is net
    assert {t.dtype.name for t in [*net.parameters(), net.body[1].running_var]} == {"float64"}
    assert net.body[1].num_batches_tracked.item() == 2**53 + 1


def test_to_keeps_the_parameters_that_fit_already():
    net = Net()
    before, buffers = list(net.parameters()), list(net.buffers())
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    seen = []
    net.fc.weight.register_hook(lambda g: seen.append(g.shape))
    net(mr.tensor(np.ones((2, 1, 5, 5), np.float32))).sum().backward()
    for wanted in ((), ("cpu",), (np.float32,), ("cpu", "float32")):
        net.to(*wanted)
    assert all(a is b for a, b in zip(net.parameters(), before, strict=True))
    assert all(a is b for a, b in zip(net.buffers(), buffers, strict=True))
    bias = net.fc.bias.numpy().copy()
    optimizer.step()  # it holds the parameters, with their gradients
    assert not np.array_equal(net.fc.bias.numpy(), bias)
    assert seen == [(3, 2)]


def test_to_keeps_parameters_frozen_shared_and_watched():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net[0].bias.requires_grad_(False)
    seen = []
    handle = net[1].weight.register_hook(lambda g: seen.append(g.dtype.name))
    net.to(np.float64)
    assert net[0].weight is net[1].weight
    assert [p.requires_grad for p in (net[0].weight, net[0].bias, net[1].bias)] == [True, False, True]
    x = mr.tensor(np.ones((1, 2)))
    net(x).sum().backward()
    assert seen == ["float64"]
    assert net[0].bias.grad is None
    net.zero_grad()
    handle()
    net(x).sum().backward()
    assert seen == ["float64"]


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (("float99",), DtypeError, "'float99' is "),
        ((np.int64,), DtypeError, "floating-point numbers; it cannot be converted to int64"),
        (("cuda:x",), DeviceError, "'cuda:x' is not one of"),
    ],
)
def test_to_refuses_what_is_neither_device_nor_float_and_changes_nothing(wanted, error, message):
    for net in (Net(), nn.Sequential()):
        before = list(net.parameters())
        with pytest.raises(error, match=message):
            net.to(*wanted)
        assert all(a is b for a, b in zip(net.parameters(), before, strict=True))


def test_to_does_not_lose_gradients():
    net = Net()
    net(mr.tensor(np.ones((2, 1, 5, 5), np.float32))).sum().backward()
    with pytest.raises(GraphError, match="would lose gradients"):
        net.to(dtype=np.float64)
    assert {t.dtype.name for t in net.parameters()} == {"float32"}
    net.zero_grad()
    assert net.to(dtype=np.float64).fc.weight.dtype == np.float64


# Loading what does not fit


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.0, 0.0, 0.0], "fc.bias is a list, but a state holds tensors and arrays"),
        (None, "fc.bias is a NoneType"),
        (1.0, "fc.bias is a float"),
        (np.float32(1.0), r"fc.bias has shape \(\), but the module's is \(3,\)"),
        (np.array([0.0, 1e300, 0.0]), r"fc.bias holds 1e\+300, which is out of range for the module's float32"),
        (np.zeros(3, complex), "fc.bias has dtype complex128"),
        (np.array(["a", "b", "c"]), "fc.bias has dtype <U1"),
        (np.array([None] * 3), "fc.bias has dtype object"),
    ],
)
def test_a_value_that_does_not_fit_is_a_checkpoint_error_and_changes_nothing(value, message):
    net = Net()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    with pytest.raises(CheckpointError, match=message):
        net.load_state_dict({**state, "fc.bias": value})
    assert all(np.array_equal(before[k], v.numpy()) for k, v in net.state_dict().items())


def test_a_state_is_a_mapping():
    for state in ([("a", 1)], "fc.bias", None):
        with pytest.raises(TypeError, match="a state is a dictionary"):
            Net().load_state_dict(state)


def test_values_of_a_wider_dtype_are_rounded_and_infinities_pass():
    net = nn.Linear(1, 3)
    net.load_state_dict({"bias": np.array([1 / 3, np.inf, np.nan])}, strict=False)
    assert np.array_equal(net.bias.numpy(), np.array([1 / 3, np.inf, np.nan], np.float32), equal_nan=True)


def test_an_integer_out_of_range_is_refused():
    norm = nn.BatchNorm2d(2)
    with pytest.raises(
        CheckpointError, match="holds 18446744073709551615, which is out of range for the module's int64"
    ):
        norm.load_state_dict({"num_batches_tracked": np.uint64(2**64 - 1)}, strict=False)
    norm.load_state_dict({"num_batches_tracked": np.int64(7)}, strict=False)
    assert norm.num_batches_tracked.item() == 7


def test_values_that_are_this_modules_own_can_be_exchanged():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    a, b = (net[i].weight.numpy().copy() for i in (0, 1))
    net.load_state_dict({"0.weight": net[1].weight, "1.weight": net[0].weight}, strict=False)
    assert np.array_equal(net[0].weight.numpy(), b)
    assert np.array_equal(net[1].weight.numpy(), a)
