import numpy as np
import pytest

from minires import nn, optim
from minires.autograd.tensor import Tensor
from minires.errors import CheckpointError


def parameter(values):
    return nn.Parameter(np.asarray(values, np.float64))


def descend(optimizer, p, gradients):
    for g in gradients:
        p.grad = Tensor(np.asarray(g, np.float64))
        optimizer.step()
    return p.numpy().copy()


def test_momentum_accumulates_as_in_pytorch():
    p = parameter([1.0])
    v, x = 0.0, 1.0
    optimizer = optim.SGD([p], lr=0.5, momentum=0.5, weight_decay=0.25)
    for i, g in enumerate([1.0, 2.0, 4.0]):
        d = g + 0.25 * x
        v = d if i == 0 else 0.5 * v + d
        x -= 0.5 * v
        assert descend(optimizer, p, [[g]]).tolist() == [x]  # powers of two: exact


def test_groups_have_their_own_options():
    a, b = parameter([1.0]), parameter([1.0])
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.25}], lr=0.5)
    a.grad = b.grad = Tensor(np.ones(1))
    optimizer.step()
    assert (a.item(), b.item()) == (0.5, 0.75)
    optimizer.zero_grad()
    assert a.grad is None
    optimizer.step()
    assert a.item() == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD([p], lr=0.1, momentum=0.9, nesterov=True),
        lambda p: optim.Adam([p], lr=0.1, weight_decay=0.1),
        lambda p: optim.AdamW([p], lr=0.1),
    ],
)
def test_a_saved_state_continues_bit_for_bit(make):
    gradients = np.random.default_rng(0).standard_normal((6, 3))
    p, q = parameter(np.zeros(3)), parameter(np.zeros(3))
    straight = descend(make(p), p, gradients)
    first = make(q)
    descend(first, q, gradients[:3])
    second = make(q)
    second.load_state_dict(first.state_dict())
    assert np.array_equal(descend(second, q, gradients[3:]), straight)


def test_a_state_of_another_optimiser_is_refused():
    p, q = parameter(np.zeros(3)), parameter(np.zeros(4))
    saved = optim.Adam([p])
    descend(saved, p, [np.ones(3)])
    with pytest.raises(CheckpointError, match="saved m of parameter 0 does not fit"):
        optim.Adam([q]).load_state_dict(saved.state_dict())
    with pytest.raises(CheckpointError, match="saved groups hold"):
        optim.SGD([p], lr=0.1).load_state_dict(saved.state_dict())


def test_schedules_follow_their_formulas():
    def rates(make, steps):
        schedule = make(optim.SGD([parameter([0.0])], lr=1.0))
        found = schedule.get_last_lr()
        for _ in range(steps):
            schedule.step()
            found += schedule.get_last_lr()
        return found

    assert rates(lambda o: optim.StepLR(o, 2, 0.5), 4) == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert rates(lambda o: optim.MultiStepLR(o, [1, 3], 0.5), 3) == [1.0, 0.5, 0.5, 0.25]
    assert rates(lambda o: optim.CosineAnnealingLR(o, 2), 2) == pytest.approx([1.0, 0.5, 0.0], abs=1e-16)
    cycle = rates(lambda o: optim.OneCycleLR(o, 2.0, 10), 9)
    assert cycle[0] == pytest.approx(2.0 / 25, rel=1e-14)
    assert max(cycle) == cycle[2] == pytest.approx(2.0, rel=1e-14)
    assert cycle[-1] == pytest.approx(2.0 / 25 / 1e4, rel=1e-9)


def test_impossible_options_are_named():
    with pytest.raises(ValueError, match=r"lr must not be negative, got -1"):
        optim.SGD([parameter([0.0])], lr=-1)
    with pytest.raises(ValueError, match="at least one parameter"):
        optim.Adam([])
    with pytest.raises(ValueError, match=r"betas must lie in \[0, 1\)"):
        optim.Adam([parameter([0.0])], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="Nesterov momentum needs"):
        optim.SGD([parameter([0.0])], lr=1, nesterov=True)
