"""PyTorch's states load unchanged, and the same names are missing and unexpected."""

import numpy as np
import pytest

from minires import nn
from minires.errors import CheckpointError

torch = pytest.importorskip("torch")


def ours():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))


def theirs():
    kinds = torch.nn
    return kinds.Sequential(
        kinds.Conv2d(3, 4, 3), kinds.BatchNorm2d(4), kinds.ReLU(), kinds.Flatten(), kinds.Linear(4, 2)
    )


def equal(net, state):
    return all(
        np.array_equal(value.numpy(), state[name].detach().to(torch.float64).numpy().astype(value.dtype))
        for name, value in net.state_dict().items()
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_state_of_pytorchs_is_loaded_as_it_is_and_cast_as_there(dtype):
    net, state = ours(), theirs().to(dtype).state_dict()
    assert net.load_state_dict(state) == ([], [])
    assert equal(net, state)
    assert net[0].weight.dtype == np.float32


def test_parameters_that_require_gradients_are_loaded():
    net, other = ours(), theirs()
    net.load_state_dict({**other.state_dict(), **dict(other.named_parameters())})
    assert equal(net, other.state_dict())


def test_loading_copies():
    net, state = ours(), theirs().state_dict()
    net.load_state_dict(state)
    before = net[0].weight.numpy().copy()
    state["0.weight"].zero_()
    assert np.array_equal(net[0].weight.numpy(), before)


def test_a_state_of_data_parallel_says_how_to_strip_its_prefix():
    with pytest.raises(CheckpointError, match=r"every name has 'module\.' in front, as nn\.DataParallel saves it"):
        ours().load_state_dict(torch.nn.DataParallel(theirs()).state_dict())


@pytest.mark.parametrize("value", [torch.zeros(4).to_sparse(), torch.zeros(4, device="meta")])
def test_a_tensor_without_ordinary_values_is_named(value):
    with pytest.raises(CheckpointError, match=r"0\.bias cannot be read as an array"):
        ours().load_state_dict({**theirs().state_dict(), "0.bias": value})


@pytest.mark.parametrize("seed", range(20))
def test_the_same_names_are_missing_and_unexpected(seed):
    rng = np.random.default_rng(seed)
    state = {name: value for name, value in theirs().state_dict().items() if rng.random() < 0.7}
    state.update({name: torch.zeros(1) for name in ("extra", "0.scale", "9.weight") if rng.random() < 0.5})
    state["1.weight"] = torch.ones(4)
    found, expected = ours().load_state_dict(state, strict=False), theirs().load_state_dict(dict(state), strict=False)
    assert sorted(found.missing_keys) == sorted(expected.missing_keys)
    assert sorted(found.unexpected_keys) == sorted(expected.unexpected_keys)
    assert found._fields == expected._fields
