import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import DeviceError, DtypeError, GraphError


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


def test_to_keeps_the_hooks_of_a_frozen_parameter():
    net, seen = nn.Linear(2, 2), []
    net.weight.register_hook(lambda g: seen.append(g.dtype.name))
    net.requires_grad_(False).to(np.float64).requires_grad_()
    net(mr.tensor(np.ones((1, 2)))).sum().backward()
    assert seen == ["float64"]
