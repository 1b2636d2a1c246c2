import re

import numpy as np
import pytest

import minires as mr
from minires import models, nn, optim
from minires.errors import CheckpointError, GraphError


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.fc = nn.Linear(2, classes)


def values(net):
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}


def same(a, b):
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


def refused(net, state, **options):
    """Return the text of the error that loading raises; check that loading changed nothing."""
    before = values(net)
    with pytest.raises(CheckpointError) as told:
        net.load_state_dict(state, **options)
    assert same(values(net), before)
    return str(told.value)


# What loading gives back


def test_loading_returns_the_names_that_are_not_in_both():
    net = Net()
    state = {**values(net), "extra": np.zeros(1)}
    del state["fc.weight"]
    found = net.load_state_dict(state, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["fc.weight"], ["extra"])
    missing, unexpected = net.load_state_dict(values(net))
    assert missing == unexpected == []


def test_a_state_may_lack_counts_of_batches_which_stay_as_they_are():
    net = Net()
    net.body[1].num_batches_tracked.assign_(7)
    state = {name: value + 1 for name, value in values(net).items() if "num_batches" not in name}
    for strict in (True, False):
        assert net.load_state_dict(state, strict=strict) == ([], [])
    assert net.body[1].num_batches_tracked.item() == 7
    assert same({k: v for k, v in values(net).items() if k in state}, state)


def test_a_class_says_which_of_its_buffers_a_state_may_lack():
    class Counted(nn.Module):
        optional_buffers = ("seen",)

        def __init__(self):
            super().__init__()
            self.register_buffer("seen", mr.tensor([3.0]))
            self.register_buffer("kept", mr.tensor([4.0]))

    net = nn.Sequential(Counted())
    net.load_state_dict({"0.kept": np.ones(1)})
    assert (net[0].seen.item(), net[0].kept.item()) == (3.0, 1.0)
    assert "missing ['0.kept']" in refused(net, {"0.seen": np.ones(1)})


# Messages


def test_everything_that_does_not_fit_is_told_at_once():
    net = Net()
    state = {**values(Net(5)), "body.0.bias": None, "extra": np.zeros(1)}
    del state["body.1.weight"]
    text = refused(net, state)
    for part in (
        "the state does not fit Net; nothing was changed",
        "fc.weight: (5, 2) in the state, (3, 2) in the model; fc.bias: (5,) in the state, (3,) in the model",
        "body.0.bias is a NoneType",
        "missing ['body.1.weight']",
        "unexpected ['extra']",
    ):
        assert part in text
    assert "missing" not in refused(net, state, strict=False)


def test_a_head_of_another_size_can_be_left_out_as_the_message_says():
    net, state = models.resnet20(), models.resnet20(num_classes=100, seed=1).state_dict()
    text = refused(net, state)
    left_out = eval(re.search(r"not in (\[.*?\])", text)[1])
    found = net.load_state_dict({k: v for k, v in state.items() if k not in left_out}, strict=False)
    assert found == (["fc.weight", "fc.bias"], [])
    assert np.array_equal(net.conv1.weight.numpy(), state["conv1.weight"].numpy())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "student."])
def test_a_prefix_before_every_name_is_told_with_the_way_to_strip_it(prefix):
    net, state = Net(), {prefix + name: value + 1 for name, value in values(Net()).items()}
    text = refused(net, state)
    assert f"every name has {prefix!r} in front" in text
    net.load_state_dict(eval(re.search(r"load_state_dict\((\{.*\})\)", text)[1], {"state": state}))
    assert np.array_equal(net.fc.weight.numpy(), state[prefix + "fc.weight"])
    assert f"some names have {prefix!r} in front" in refused(net, {**state, "epoch": np.zeros(1)})


def test_a_prefix_that_the_model_has_is_told_with_the_way_to_add_it():
    net, state = nn.Sequential(Net()), values(Net())
    text = refused(net, state)
    net.load_state_dict(eval(re.search(r"load_state_dict\((\{.*\})\)", text)[1], {"state": state}))
    assert np.array_equal(net[0].fc.weight.numpy(), state["fc.weight"])


def test_a_state_inside_a_dictionary_is_told():
    assert "load_state_dict(state['state_dict'])" in refused(Net(), {"state_dict": values(Net()), "epoch": 3})


def test_of_many_names_the_first_ten_are_shown():
    text = refused(models.resnet20(), {"x": np.zeros(1)})
    assert "'layer1.0.conv1.weight'] and " in text or re.search(r"missing \['conv1\.weight', .*\] and \d+ more", text)


def test_a_state_of_which_no_name_fits_is_not_passed_over_in_silence():
    state = {f"module.{name}": value for name, value in values(Net()).items()}
    with pytest.warns(
        UserWarning, match=r"no name of the state is the module's, such as 'body\.0\.weight'; every.*strip"
    ):
        found = Net().load_state_dict(state, strict=False)
    assert found.unexpected_keys == list(state)
    assert Net().load_state_dict({}, strict=False).unexpected_keys == []


# Values


class Foreign:
    """A tensor with the methods of PyTorch's."""

    def __init__(self, array, wide=None):
        self.array, self.wide = array, wide

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return Foreign(self.wide)

    def numpy(self):
        if self.array is None:
            raise TypeError("got unsupported ScalarType BFloat16")
        return self.array


class Protocol:
    def __array__(self, *_, **__):
        return np.full(3, 2.0, np.float32)


@pytest.mark.parametrize(
    "value",
    [
        np.full(3, 2.0),
        np.full(3, 2.0, np.float16),
        np.full(3, 2),
        mr.tensor([2.0, 2.0, 2.0]),
        Foreign(np.full(3, 2.0, np.float32)),
        Foreign(None, np.full(3, 2.0, np.float32)),
        Protocol(),
    ],
)
def test_values_are_tensors_or_arrays_of_any_library(value):
    net = Net()
    net.load_state_dict({**values(net), "fc.bias": value})
    assert net.fc.bias.numpy().tolist() == [2, 2, 2]
    assert net.fc.bias.dtype == np.float32


def test_a_number_in_an_array_of_one_is_a_number():
    net = Net()
    net.load_state_dict({**values(net), "body.1.num_batches_tracked": np.array([5])})
    assert net.body[1].num_batches_tracked.item() == 5


def test_a_buffer_that_cannot_be_written_leaves_all_others_as_they_were():
    class Repeating(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("broadcast", mr.Tensor(np.broadcast_to(np.float32(1), (2,))))

    net = Repeating()
    before = values(net)
    with pytest.raises(GraphError, match="one number in memory"):
        net.load_state_dict({name: value + 1 for name, value in before.items()})
    assert same(values(net), before)


def test_of_two_values_for_shared_memory_the_last_stays():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.load_state_dict({**values(net), "0.weight": np.zeros((2, 2)), "1.weight": np.ones((2, 2))})
    assert net[0].weight.numpy().tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.0, 0.0, 0.0], "fc.bias is a list, but a state holds tensors and arrays"),
        (None, "fc.bias is a NoneType"),
        (1.0, "fc.bias is a float"),
        (np.float32(1.0), r"fc.bias: \(\) in the state, \(3,\) in the model"),
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


@pytest.mark.parametrize("state", [{0: np.ones(2)}, {b"fc.bias": np.ones(3)}])
def test_a_state_whose_paths_are_no_strings_is_refused_in_words(state):
    with pytest.raises(TypeError, match=r"the paths of a state are strings, got .*: is this the state of an optimizer"):
        Net().load_state_dict(state)


def test_the_state_of_an_optimizer_is_told_as_such():
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    assert "it is an optimizer's: optimizer.load_state_dict(state)" in refused(net, optimizer.state_dict())
    saved = {"optimizer": optimizer.state_dict(), "network": values(net)}
    assert "load_state_dict(state['network'])" in refused(net, saved)


def test_a_conversion_is_told_in_the_words_of_the_library_and_only_where_nothing_is_lost():
    torch = pytest.importorskip("torch")
    net = nn.BatchNorm2d(2)
    count = {**values(net), "num_batches_tracked": np.array(1.0)}
    assert "convert it, .astype('int64')" in refused(net, count)
    count["num_batches_tracked"] = mr.tensor(1.0)
    assert "convert it, .numpy().astype('int64')" in refused(net, count)
    count["num_batches_tracked"] = torch.tensor(1.0)
    assert "convert it, .to(torch.int64)" in refused(net, count)
    for weight in (np.ones(2, np.complex64), torch.ones(2, dtype=torch.complex64)):
        text = refused(net, {**values(net), "weight": weight})
        assert "complex64, but the module's is float32: a conversion would lose the imaginary part" in text
