"""`LossScaler` agrees with PyTorch's `GradScaler`."""

import inspect

import numpy as np
import pytest

import minires as mr
from minires import nn, optim

torch = pytest.importorskip("torch")


def pair(*arguments):
    return optim.LossScaler(*arguments), torch.amp.GradScaler("cpu", *arguments)


def test_names_and_defaults_of_the_options_are_pytorchs():
    ours = inspect.signature(optim.LossScaler).parameters
    theirs = inspect.signature(torch.amp.GradScaler).parameters
    assert list(ours) == [name for name in theirs if name not in ("device", "enabled")]
    assert all(parameter.default == theirs[name].default for name, parameter in ours.items())


# From 2⁸⁶ forty steps lead to 2¹²⁶ at most, where ours ends; PyTorch's has one more to grow.
@pytest.mark.parametrize("options", [(), (4.0, 3.0, 0.25, 2), (2.0**86, 2.0, 0.5, 1)])
def test_forty_steps_with_overflows_have_the_same_scales_and_parameters(options):
    rng, (ours, theirs) = np.random.default_rng(0), pair(*options)
    p, q = nn.Parameter(np.ones(3)), torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    one, other = optim.SGD([p], lr=0.1, momentum=0.9), torch.optim.SGD([q], lr=0.1, momentum=0.9)
    for _ in range(40):
        gradient = rng.standard_normal(3)
        gradient[0] = rng.choice([gradient[0], np.inf, np.nan], p=[0.8, 0.1, 0.1])
        one.zero_grad()
        other.zero_grad()
        ours.scale((p * mr.tensor(gradient)).sum()).backward()
        theirs.scale((q * torch.tensor(gradient)).sum()).backward()
        ours.step(one)
        theirs.step(other)
        ours.update()
        theirs.update()
        assert ours.get_scale() == theirs.get_scale()
        # PyTorch divides by multiplying with a float32, which errs by 2⁻²⁴ of each of 40 updates. None is above 3.
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=0, atol=40 * 3 * 2.0**-24)
    assert ours.state_dict() == theirs.state_dict()


def test_states_are_each_others():
    ours, theirs = pair(4.0, 3.0, 0.25, 7)
    saved = theirs.state_dict()
    other = optim.LossScaler()
    other.load_state_dict(saved)
    assert other.state_dict() == saved == ours.state_dict()
    theirs.load_state_dict(other.state_dict())
