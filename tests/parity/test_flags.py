"""Layers whose flags, buffers, parameters or geometry change later agree with PyTorch's."""

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.autograd.op import no_grad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


def equip(net, kind):
    net.conv1, net.bn1 = kind.Conv2d(3, 4, 3, padding=1, bias=False), kind.BatchNorm2d(4)
    net.conv2, net.bn2 = kind.Conv2d(4, 4, 3, padding=1), kind.BatchNorm2d(4)
    net.relu, net.pool, net.drop, net.fc = kind.ReLU(), kind.MaxPool2d(2), kind.Dropout(0.0), kind.Linear(4, 2)


class Ours(nn.Module):
    """A residual block, a pool, and a head: what `chain` fuses, and what it does not."""

    def __init__(self):
        super().__init__()
        equip(self, nn)

    def forward(self, x):
        y = nn.chain(x, self.conv1, self.bn1, self.relu)
        y = nn.chain(y, self.conv2, self.bn2, nn.Add(y), self.relu)
        return self.fc(self.drop(self.pool(y)).mean((2, 3)))


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        equip(self, torch.nn)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)) + y)
        return self.fc(self.drop(self.pool(y)).mean((2, 3)))


def norm(change):
    return lambda rng, net: change(rng, getattr(net, rng.choice(["bn1", "bn2"])))


def assign(**values):
    def change(rng, module):
        for name, choices in values.items():
            setattr(module, name, choices[rng.integers(len(choices))])

    return change


def reshaped(rng, net):
    """Replace the weights by those of another number of channels in the second convolution, around it and after it."""
    for module, name, shape in (
        (net.conv1, "weight", (5, 3, 3, 3)), (net.conv2, "weight", (5, 5, 3, 3)), (net.conv2, "bias", (5,)),
        *((bn, name, (5,)) for bn in (net.bn1, net.bn2) for name in ("weight", "bias")), (net.fc, "weight", (2, 5)),
    ):  # fmt: skip
        put(module, name, rng.uniform(0.5, 1, shape))
    for bn in (net.bn1, net.bn2):
        bn.track_running_stats = False
        bn.running_mean = bn.running_var = None


def put(module, name, values):
    """Set a parameter to new values, in either library."""
    values = values.astype(np.float32)
    ours = isinstance(module, nn.Module)
    setattr(module, name, nn.Parameter(values) if ours else torch.nn.Parameter(torch.tensor(values)))


def replaced(rng, net):
    kind = nn if isinstance(net, nn.Module) else torch.nn
    setattr(net, rng.choice(["bn1", "bn2", "relu", "pool"]), kind.Identity())


CHANGES = {
    "training": norm(lambda rng, bn: bn.train(bool(rng.integers(2)))),
    "training of all": lambda rng, net: net.train(bool(rng.integers(2))),
    "tracking": norm(assign(track_running_stats=[False, True])),
    "no buffers": norm(assign(running_mean=[None], running_var=[None])),
    "no count": norm(assign(num_batches_tracked=[None])),
    "momentum": norm(assign(momentum=[None, 0.3, 0, 1])),
    "eps": norm(assign(eps=[1e-3, 0.5])),
    "affine": norm(assign(affine=[False, True])),
    "no weight": norm(assign(weight=[None])),
    "no bias": norm(assign(bias=[None])),
    "frozen": norm(lambda rng, bn: [p.requires_grad_(bool(rng.integers(2))) for p in bn.parameters()]),
    "frozen filters": lambda rng, net: net.conv1.weight.requires_grad_(False),
    "no bias of conv": lambda rng, net: assign(bias=[None])(rng, net.conv2),
    "bias of conv": lambda rng, net: put(net.conv1, "bias", rng.uniform(-1, 1, net.conv1.weight.shape[0])),
    "stride": lambda rng, net: assign(stride=[2, (1, 2)])(rng, net.conv1),
    "padding": lambda rng, net: assign(padding=[(2, 0), (0, 2), 3])(rng, net.conv1),
    "dilation": lambda rng, net: assign(dilation=[(1, 2)], padding=[2])(rng, net.conv1),
    "window": lambda rng, net: assign(kernel_size=[3, (2, 3)], padding=[1], stride=[1, None])(rng, net.pool),
    "no bias of head": lambda rng, net: assign(bias=[None])(rng, net.fc),
    "in place": lambda rng, net: assign(inplace=[True])(rng, net.relu),
    "dropout": lambda rng, net: assign(p=[1.0, 0.0])(rng, net.drop),
    "other weights": reshaped,
    "other modules": replaced,
}


def outcome(net, x, recorded):
    """Return (output, state, gradients), or None if the network raises."""
    ours = isinstance(net, nn.Module)
    try:
        if not recorded:
            with no_grad() if ours else torch.no_grad():
                y = net(x)
        else:
            y = net(x)
            (y * y).sum().backward()
    except (RuntimeError, ValueError, AttributeError):
        return None
    values = (lambda t: t.numpy()) if ours else (lambda t: t.detach().numpy())
    gradients = {name: values(p.grad) for name, p in net.named_parameters() if p.grad is not None}
    for p in net.parameters():
        p.grad = None
    return values(y), {name: values(value) for name, value in net.state_dict().items()}, gradients


@pytest.mark.parametrize("seed", range(40))
def test_a_network_whose_flags_change_goes_on_as_in_pytorch(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = Ours(), Theirs()
    ours.load_state_dict(theirs.state_dict())
    for _ in range(8):
        name, draws = rng.choice(list(CHANGES)), int(rng.integers(2**31))
        for net in (ours, theirs):
            try:
                CHANGES[name](np.random.default_rng(draws), net)
            except (AttributeError, TypeError):  # a layer that was replaced, a buffer that is gone
                return
        x = rng.standard_normal((3, 3, 7, 6)).astype(np.float32)
        recorded = bool(rng.integers(2))
        found, expected = outcome(ours, mr.tensor(x), recorded), outcome(theirs, torch.tensor(x), recorded)
        if expected is None:
            assert found is None
            return
        for one, other in zip(found, expected, strict=True):
            one, other = (part if isinstance(part, dict) else {"y": part} for part in (one, other))
            assert list(one) == list(other)
            for key in one:
                size = max(np.abs(other[key]).max(), 1)
                assert np.abs(one[key] - other[key]).max() <= 2e-4 * size, (name, key)
