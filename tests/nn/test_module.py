import copy
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

import minires as mr
from minires import nn
from minires.errors import GraphError


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
    handle = net.body.register_forward_hook(lambda module, inputs, y: seen.append(y.shape))
    last = net.fc.register_forward_hook(lambda module, inputs, y: y * 0.0)
    x = mr.tensor(np.ones((2, 1, 5, 5), np.float32))
    assert not net(x).numpy().any()
    handle.remove()
    handle.remove()
    last()
    assert net(x).numpy().any()
    assert seen == [(2, 2, 3, 3)]
    assert not net.fc.hooked


def test_a_hook_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match=r"a hook is a function of \(module, inputs, output\), not a int"):
        nn.ReLU().register_forward_hook(3)


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


def test_a_deep_copy_keeps_forward_hooks_and_has_them_to_itself():
    net, seen = nn.Sequential(nn.ReLU()), []
    handle = net[0].register_forward_hook(lambda module, inputs, y: seen.append(module))
    twin = copy.deepcopy(net)
    handle.remove()
    net(mr.tensor(1.0))
    twin(mr.tensor(1.0))
    assert seen == [twin[0]]


def test_a_hook_between_batch_norm_and_relu_sees_what_is_there():
    block, x = mr.models.BasicBlock(2, 2), mr.tensor(np.random.default_rng(0).standard_normal((2, 2, 4, 4)))
    block.to(dtype=np.float64)
    fused, seen = block(x).numpy(), []
    block.bn1.register_forward_hook(lambda module, inputs, y: seen.append(y))
    block.relu.register_forward_hook(lambda module, inputs, y: seen.append(y))
    # Inside the network nothing changes but the order of a few roundings of numbers of size one.
    assert np.abs(block(x).numpy() - fused).max() <= 1e-14
    assert [(y.numpy() < 0).any() for y in seen] == [True, False, False]


def test_inputs_can_be_passed_by_name():
    net, x = Net(), mr.tensor(np.ones((2, 1, 5, 5), np.float32))
    assert np.array_equal(net.eval()(x=x).numpy(), net(x).numpy())
    with pytest.raises(TypeError, match="does not define forward"):
        nn.Module()(x=x)


# Attributes


def test_parameters_buffers_and_modules_are_replaced_by_their_kind_alone():
    net, array = nn.BatchNorm2d(2), np.zeros(2, np.float32)
    holder = nn.Sequential(net)
    for owner, name, value, message in (
        (net, "weight", array, r"BatchNorm2d.weight is a Parameter: assign a Parameter or None, not a ndarray"),
        (net, "weight", mr.tensor(array), "assign a Parameter or None, not a Tensor"),
        (net, "weight", nn.ReLU(), "assign a Parameter or None, not a ReLU"),
        (net, "running_mean", array, "running_mean is a buffer: assign a Tensor or None, not a ndarray"),
        (net, "running_mean", nn.ReLU(), "assign a Tensor or None, not a ReLU"),
        (holder, "0", array, "0 is a Module: assign a Module or None, not a ndarray"),
    ):
        before = list(owner.state_dict())
        with pytest.raises(TypeError, match=message):
            setattr(owner, name, value)
        assert list(owner.state_dict()) == before
    net.running_mean, net.weight = mr.tensor(array), nn.Parameter(array)
    assert "running_mean" in dict(net.named_buffers())
    net.running_mean, net.weight = None, None
    assert list(net.state_dict()) == ["bias", "running_var", "num_batches_tracked"]
    net.running_mean = mr.tensor(array)
    assert "running_mean" in net.state_dict()


def test_a_buffer_can_become_a_parameter_and_be_deleted():
    norm = nn.BatchNorm2d(2)
    norm.running_mean = nn.Parameter(np.zeros(2, np.float32))
    assert "running_mean" in dict(norm.named_parameters())
    assert "running_mean" not in dict(norm.named_buffers())
    del norm.running_mean, norm.running_var
    assert list(norm.state_dict()) == ["weight", "bias", "num_batches_tracked"]
    with pytest.raises(AttributeError, match="has no attribute 'running_var'"):
        norm.running_var  # noqa: B018
    with pytest.raises(AttributeError):
        del norm.running_var


def test_a_buffer_is_a_tensor_under_a_name_of_its_own():
    linear, buffer = nn.Linear(2, 2), mr.tensor([1.0])
    with pytest.raises(TypeError, match="buffer 'a' must be a Tensor or None, got a ndarray"):
        linear.register_buffer("a", np.zeros(2))
    for name, message in (
        ("weight", "has an attribute 'weight' already"),
        ("forward", "has an attribute 'forward' already"),
        ("a.b", "without dots, not 'a.b'"),
        ("", "without dots"),
    ):
        with pytest.raises(KeyError, match=message):
            linear.register_buffer(name, buffer)
    assert list(linear.state_dict()) == ["weight", "bias"]
    linear.register_buffer("a", buffer)
    linear.register_buffer("a", None)
    linear.register_buffer("a", buffer)
    assert linear.a is buffer


def test_modules_are_added_and_found_by_name():
    net = Net()
    assert net.get_submodule("body.1") is net.body[1]
    assert net.get_submodule("") is net
    with pytest.raises(AttributeError, match=r"no module 'body\.9': there is none at its '9'"):
        net.get_submodule("body.9")
    relu = nn.ReLU()
    net.add_module("9", None)
    net.add_module("9", relu)
    assert net.get_submodule("9") is relu
    with pytest.raises(TypeError, match="must be a Module or None, got a function"):
        net.add_module("10", mr.functional.relu)
    for name in ("training", "forward", "a.b"):
        with pytest.raises(KeyError):
            net.add_module(name, relu)


def test_a_forgotten_super_init_is_explained():
    class Forgetful(nn.Module):
        def __init__(self):
            self.register_buffer("a", None)

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) first"):
        Forgetful()


# Shared modules


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.BatchNorm2d(2))
        self.b = self.a
        self.c = nn.Sequential(self.a[0], self.a)


def test_a_shared_module_is_met_once_but_saved_under_all_its_paths():
    net, met = Shared(), []
    assert [name for name, _ in net.named_modules()] == ["", "a", "a.0", "c"]
    assert list(net.modules()) == [net, net.a, net.a[0], net.c]
    assert [name for name, _ in net.named_children()] == ["a", "c"]
    assert list(net.children()) == [net.a, net.c]
    assert [name for name, _ in net.named_buffers()] == ["a.0." + n for n, _ in net.a[0].named_buffers()]
    assert len(list(net.parameters())) == 2
    assert net.apply(met.append) is net
    assert met == [net.a[0], net.a, net.c, net]
    paths = ["a.0", "b.0", "c.0", "c.1.0"]
    assert [name for name, _ in net.named_modules("net", remove_duplicate=False)] == [
        "net", "net.a", "net.a.0", "net.b", "net.b.0", "net.c", "net.c.0", "net.c.1", "net.c.1.0"
    ]  # fmt: skip
    assert list(net.state_dict()) == [f"{p}.{n}" for p in paths for n in net.a[0].state_dict()]
    net.load_state_dict(net.state_dict())


def test_shared_buffers_stay_shared():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    net[1].running_mean = net[0].running_mean
    assert len(list(net.buffers())) == 5
    net.to(np.float64)
    assert net[0].running_mean is net[1].running_mean
    assert net[0].running_mean.dtype == np.float64


# Freezing, gradients, text


def test_freezing_and_clearing_reach_every_parameter():
    net, x = Net(), mr.tensor(np.ones((2, 1, 5, 5), np.float32))
    assert net.body.requires_grad_(False) is net.body
    net(x).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is not None] == ["fc.weight", "fc.bias"]
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


def test_the_text_of_a_module_is_pytorchs_tree():
    assert (
        repr(Net())
        == """Net(
  (body): Sequential(
    (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    (1): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    (2): ReLU()
  )
  (fc): Linear(in_features=2, out_features=3, bias=True)
)"""
    )

    class Own(nn.Sequential):
        def extra_repr(self):
            return "depth=1"

    assert repr(Own(nn.ReLU())) == "Own(\n  depth=1\n  (0): ReLU()\n)"


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_copy_of_a_model_is_the_same_and_trains_alone(copied):
    net = mr.models.CifarResNet(8)
    net.fc.bias.requires_grad_(False)
    net.layer1.eval()
    twin, x = copied(net), mr.tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32))
    before = {name: t.numpy().copy() for name, t in net.state_dict().items()}
    assert list(before) == list(twin.state_dict())
    for (_, one), (_, other) in zip(net.named_parameters(), twin.named_parameters(), strict=True):
        assert type(other) is nn.Parameter
        assert (one.requires_grad, one.array.strides) == (other.requires_grad, other.array.strides)
    assert [m.training for m in net.modules()] == [m.training for m in twin.modules()]
    twin(x).sum().backward()
    with mr.no_grad():
        for p in twin.parameters():
            p -= p if p.grad is None else p.grad
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert any(not np.array_equal(t.numpy(), before[name]) for name, t in twin.state_dict().items())


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_copy_shares_inside_what_the_model_shares(copied):
    net = Net()
    net.tied = nn.Linear(2, 3)
    net.tied.weight, net.again = net.fc.weight, net.body
    net.missing = None
    net.register_buffer("none", None)
    twin = copied(net)
    assert twin.tied.weight is twin.fc.weight
    assert twin.again is twin.body
    assert twin.tied.weight is not net.fc.weight
    assert (twin.missing, twin.none) == (None, None)
    assert len(list(twin.parameters())) == len(list(net.parameters()))
    twin.extra = nn.Linear(1, 1)  # it goes on as a module does
    twin.none = mr.zeros(1)
    assert "none" in dict(twin.named_buffers())


def note(module, inputs, output):
    return output * 2.0


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_copy_has_the_forward_hooks_and_no_hooks_of_gradients(copied):
    net = nn.Sequential(nn.Linear(1, 1))
    handle = net[0].register_forward_hook(note)
    net[0].weight.register_hook(lambda gradient: gradient * 100.0)
    twin, x = copied(net), mr.ones(1, 1)
    handle.remove()
    assert twin(x).item() == 2 * net(x).item()
    twin(x).sum().backward()
    assert twin[0].weight.grad.item() == 2.0


def test_a_model_that_holds_a_computed_tensor_says_that_it_cannot_be_copied():
    net = Net()
    net.kept = net.fc.weight * 2.0
    for copied in (pickled, copy.deepcopy):
        with pytest.raises(GraphError, match=r"only a leaf can be .* x\.detach\(\)"):
            copied(net)


def test_a_model_goes_to_another_process():
    net = mr.models.CifarResNet(8)
    there = ForkingPickler.loads(ForkingPickler.dumps(net))
    assert all(np.array_equal(p.numpy(), q.numpy()) for p, q in zip(net.parameters(), there.parameters(), strict=True))


def test_parameters_may_be_a_modules_own_and_have_a_prefix():
    net = Net()
    assert list(net.parameters(recurse=False)) == list(net.buffers(recurse=False)) == []
    assert [name for name, _ in net.fc.named_parameters("fc", recurse=False)] == ["fc.weight", "fc.bias"]
    assert next(net.named_buffers(prefix="net"))[0] == "net.body.1.running_mean"
