"""Optimizers and schedules agree with PyTorch's."""

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
    """Return the rates of two cycles, from the first step to ``total``."""
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


CHAINED = {
    "StepLR": lambda rng: {"step_size": int(rng.integers(1, 6)), "gamma": float(rng.choice([0, 0.1, 0.5, 1.1]))},
    "MultiStepLR": lambda rng: {"milestones": rng.integers(1, 30, rng.integers(5)).tolist(), "gamma": 0.5},
    "CosineAnnealingLR": lambda rng: {"T_max": int(rng.integers(1, 25)), "eta_min": float(rng.choice([0, 1e-3]))},
    "OneCycleLR": lambda rng: {"max_lr": float(rng.uniform(0.1, 2)), "total_steps": 61},
}


def optimizers(lrs):
    p, q = (
        [make() for _ in lrs] for make in (lambda: nn.Parameter(np.ones(1)), lambda: torch.nn.Parameter(torch.ones(1)))
    )
    return [
        kind([{"params": [p], "lr": lr} for p, lr in zip(params, lrs, strict=True)], lr=1.0)
        for kind, params in ((optim.SGD, p), (torch.optim.SGD, q))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_several_schedules_and_a_hand_lead_to_the_same_rates(seed):
    """Up to three schedules of up to three groups; now and then a rate is set, and all is saved and loaded."""
    rng = np.random.default_rng(seed)
    ours, theirs = optimizers(rng.uniform(0.01, 1, rng.integers(1, 4)).tolist())
    names = rng.choice(list(CHAINED), rng.integers(1, 4), p=[0.3, 0.3, 0.3, 0.1]).tolist()
    # A cycle last: PyTorch takes the rate at its start as the base of the schedules that are made later.
    made = [(name, CHAINED[name](rng)) for name in sorted(names, key=lambda name: name == "OneCycleLR")]
    pairs = [schedules(name, ours, theirs, settings) for name, settings in made]
    for _ in range(60):
        if rng.random() < 0.1:
            group, factor = rng.integers(len(ours.param_groups)), float(rng.choice([0.1, 0.5, 2.0]))
            base = rng.choice([1.0, theirs.param_groups[group]["lr"]])
            for optimizer in (ours, theirs):
                optimizer.param_groups[group]["lr"] = base * factor
        theirs.step()
        for one, other in pairs:
            one.step()
            other.step()
            if min(group["lr"] for group in theirs.param_groups) < 0:
                assert min(group["lr"] for group in ours.param_groups) == 0
                return  # where PyTorch's rate becomes negative
        if rng.random() < 0.05:
            states = [one.state_dict() for one, _ in pairs]
            ours, _ = optimizers([1.0 for _ in ours.param_groups])
            pairs = [
                (schedules(name, ours, torch.optim.SGD([torch.ones(1)]), settings)[0], other)
                for (name, settings), (_, other) in zip(made, pairs, strict=True)
            ]
            for (one, _), state in zip(pairs, states, strict=True):
                one.load_state_dict(state)
        found, expected = ([group["lr"] for group in optimizer.param_groups] for optimizer in (ours, theirs))
        # 1 + cos loses up to 60 · 24² · 2⁻⁵² relatively where T_max is 24, in PyTorch alone.
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-16)


def test_a_state_of_pytorchs_schedule_goes_on_here():
    ours, theirs = optimizers([0.1])
    one, other = schedules("StepLR", ours, theirs, {"step_size": 2, "gamma": 0.5})
    for _ in range(5):
        theirs.step()
        other.step()
    one.load_state_dict(other.state_dict())
    assert (one.last_epoch, one.get_last_lr()) == (5, other.get_last_lr())
