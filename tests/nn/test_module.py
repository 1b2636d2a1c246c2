import copy

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


def test_a_deep_copy_of_a_module_shares_nothing_with_it():
    net = Net()
    twin = copy.deepcopy(net)
    twin(mr.tensor(np.ones((2, 1, 5, 5), np.float32))).sum().backward()
    assert all(p.grad is None for p in net.parameters())
    assert all(isinstance(p, nn.Parameter) and p.grad is not None for p in twin.parameters())
    net.fc.weight.assign_(0.0)
    assert twin.fc.weight.numpy().any()
    with pytest.raises(GraphError, match=r"copy x\.detach\(\)"):
        copy.deepcopy(net.fc.weight * 2.0)


def test_a_hook_between_batch_norm_and_relu_sees_what_is_there():
    block, x = mr.models.BasicBlock(2, 2), mr.tensor(np.random.default_rng(0).standard_normal((2, 2, 4, 4)))
    block.to(dtype=np.float64)
    fused, seen = block(x).numpy(), []
    block.bn1.register_forward_hook(lambda module, inputs, y: seen.append(y))
    block.relu.register_forward_hook(lambda module, inputs, y: seen.append(y))
    # Inside the network nothing changes but the order of a few roundings of numbers of size one.
    assert np.abs(block(x).numpy() - fused).max() <= 1e-14
    assert [(y.numpy() < 0).any() for y in seen] == [True, False, False]


def test_batch_norm_has_pytorchs_options():
    x = mr.tensor(np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32))
    plain = nn.BatchNorm2d(2, affine=False, track_running_stats=False).eval()
    assert not list(plain.state_dict())
    assert abs(float(plain(x).mean())) <= 1e-6  # 96 float32 numbers of size one, by the batch's own mean
    mean = nn.BatchNorm2d(2, momentum=None)
    for scale in (1.0, 3.0):
        mean(x * scale)
    assert mean.running_mean.numpy() == pytest.approx(2 * x.numpy().mean((0, 2, 3)), rel=1e-5)
