"""Optimizers and schedules beside PyTorch's."""

import inspect

import numpy as np
import pytest

from minires import nn, optim
from minires.autograd.tensor import Tensor

torch = pytest.importorskip("torch")

OPTIMISERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.01}),
]
SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5, 5]}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("OneCycleLR", {"max_lr": 0.2, "total_steps": 11}),
    ("OneCycleLR", {"max_lr": 0.2, "epochs": 2, "steps_per_epoch": 5, "pct_start": 0.25}),
]
# Both compute the same cosine or power, PyTorch partly as a recurrence: a few ulp a step.
RATE = {"rel": 1e-12, "abs": 1e-16}


def one_cycle(kind, optimizer, *args, **settings):
    return kind.OneCycleLR(optimizer, *args, cycle_momentum=False, **settings)


def schedules(name, ours, theirs, settings):
    extra = {"cycle_momentum": False} if name == "OneCycleLR" else {}
    kinds = getattr(optim, name), getattr(torch.optim.lr_scheduler, name)
    return [kind(o, **settings, **extra) for kind, o in zip(kinds, (ours, theirs), strict=True)]


@pytest.mark.parametrize(("name", "options"), OPTIMISERS)
@pytest.mark.parametrize(("schedule", "settings"), SCHEDULES)
def test_ten_steps_lead_to_the_same_place(name, options, schedule, settings):
    rng = np.random.default_rng(0)
    start = rng.standard_normal(5)
    p, q = nn.Parameter(start), torch.nn.Parameter(torch.tensor(start))
    ours, theirs = getattr(optim, name)([p], **options), getattr(torch.optim, name)([q], **options)
    our_schedule, their_schedule = schedules(schedule, ours, theirs, settings)
    for _ in range(10):
        g = rng.standard_normal(5)
        p.grad, q.grad = Tensor(g), torch.tensor(g)
        ours.step()
        theirs.step()
        our_schedule.step()
        their_schedule.step()
        assert our_schedule.get_last_lr() == pytest.approx(their_schedule.get_last_lr(), **RATE)
        assert np.abs(p.numpy() - q.detach().numpy()).max() <= 1e-11


def cycles(total, ours, theirs):
    """The rates of two cycles, from the first step to ``total``."""
    p, q = nn.Parameter(np.ones(1)), torch.nn.Parameter(torch.ones(1))
    theirs_optimizer = torch.optim.SGD([q], lr=1.0)
    one = one_cycle(optim, optim.SGD([p], lr=1.0), 0.2, total, **ours)
    other = one_cycle(torch.optim.lr_scheduler, theirs_optimizer, 0.2, total, **theirs)
    found = [(one.get_last_lr()[0], other.get_last_lr()[0])]
    for _ in range(total):
        theirs_optimizer.step()
        one.step()
        other.step()
        found.append((one.get_last_lr()[0], other.get_last_lr()[0]))
    return np.array(found).T


@pytest.mark.parametrize("total", [1, 2, 3, 10])
@pytest.mark.parametrize("pct_start", [0.0, 0.05, 0.3, 0.75])
def test_a_short_cycle_has_the_same_rates(total, pct_start):
    one, other = cycles(total, {"pct_start": pct_start}, {"pct_start": pct_start})
    assert one == pytest.approx(other, **RATE)


def test_a_cycle_whose_rise_is_over_at_once_has_the_rates_of_a_slightly_shorter_rise():
    # PyTorch divides zero by zero at exactly one step of rise: 0.1 · 10 − 1 = 0.
    with pytest.raises(ZeroDivisionError):
        cycles(10, {"pct_start": 0.1}, {"pct_start": 0.1})
    one, other = cycles(10, {"pct_start": 0.1}, {"pct_start": 0.1 - 1e-12})
    assert one == pytest.approx(other, rel=1e-9)  # the rise ends 1e-11 of a step earlier, the last rate is 4e-6 of 0.2


@pytest.mark.parametrize(("name", "settings"), SCHEDULES[:3])
def test_a_group_added_later_has_the_same_rates(name, settings):
    p, q = nn.Parameter(np.ones(1)), torch.nn.Parameter(torch.ones(1))
    ours, theirs = optim.SGD([p], lr=0.1), torch.optim.SGD([q], lr=0.1)
    pair = schedules(name, ours, theirs, settings)
    for step in range(9):
        if step == 4:
            ours.add_param_group({"params": nn.Parameter(np.ones(1)), "lr": 0.5})
            theirs.add_param_group({"params": torch.nn.Parameter(torch.ones(1)), "lr": 0.5})
        theirs.step()
        for schedule in pair:
            schedule.step()
        assert pair[0].get_last_lr() == pytest.approx(pair[1].get_last_lr(), **RATE)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "StepLR", "MultiStepLR", "CosineAnnealingLR", "OneCycleLR"])
def test_arguments_stand_where_pytorch_has_them_with_its_defaults(name):
    kind = getattr(torch.optim, name, None) or getattr(torch.optim.lr_scheduler, name)
    theirs, ours = inspect.signature(kind).parameters, inspect.signature(getattr(optim, name)).parameters
    positional = [p.name for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)[: len(positional)]
    differ = {key for key, p in ours.items() if p.default != theirs[key].default}
    assert differ == ({"cycle_momentum"} if name == "OneCycleLR" else set())
