import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import CheckpointError, GraphError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


KEYS = [
    "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "body.1.running_mean", "body.1.running_var",
    "body.1.num_batches_tracked", "fc.weight", "fc.bias",
]  # fmt: skip


def test_the_state_has_pytorchs_names_in_pytorchs_order():
    net = Net()
    assert list(net.state_dict()) == KEYS
    assert [n for n, _ in net.named_parameters()] == [k for k in KEYS if "running" not in k and "num_" not in k]


def test_a_state_goes_into_another_module():
    a, b = Net(), Net()
    for p in a.parameters():
        p.assign_(np.random.default_rng(0).standard_normal(p.shape).astype(np.float32))
    b.load_state_dict(a.state_dict())
    assert all(np.array_equal(x.numpy(), y.numpy()) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_state_that_does_not_fit_changes_nothing():
    net = Net()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    with pytest.raises(CheckpointError, match=r"missing \['fc.bias'\], unexpected \['extra'\]"):
        net.load_state_dict({**{k: v for k, v in state.items() if k != "fc.bias"}, "extra": np.zeros(1)})
    with pytest.raises(CheckpointError, match=r"fc.bias has shape \(4,\), but the module's is \(3,\)"):
        net.load_state_dict({**state, "fc.bias": np.zeros(4)})
    assert all(np.array_equal(before[k], v.numpy()) for k, v in net.state_dict().items())


def test_training_mode_reaches_every_module_and_decides_what_batch_norm_does():
    net, x = Net(), mr.tensor(np.random.default_rng(0).standard_normal((2, 1, 5, 5)).astype(np.float32))
    net(x)
    assert net.body[1].num_batches_tracked.item() == 1
    net.eval()
    assert not any(m.training for m in net.modules())
    net(x)
    assert net.body[1].num_batches_tracked.item() == 1


def test_forward_hooks_see_and_may_replace_outputs():
    net, seen = Net(), []
    remove = net.body.register_forward_hook(lambda module, inputs, y: seen.append(y.shape))
    net.fc.register_forward_hook(lambda module, inputs, y: y * 0.0)
    x = mr.tensor(np.ones((2, 1, 5, 5), np.float32))
    assert not net(x).numpy().any()
    remove()
    net(x)
    assert seen == [(2, 2, 3, 3)]


def test_to_converts_floats_and_leaves_counters():
    net = Net().to(dtype=np.float64)
    assert {t.dtype.name for t in net.parameters()} == {"float64"}
    assert net.body[1].num_batches_tracked.dtype == np.int64
    net(mr.tensor(np.ones((2, 1, 5, 5)))).sum().backward()
    with pytest.raises(GraphError, match="would lose gradients"):
        net.to(dtype=np.float32)
