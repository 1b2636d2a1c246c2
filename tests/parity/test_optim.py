"""Optimisers and schedules beside PyTorch's."""

import numpy as np
import pytest

from minires import nn, optim
from minires.autograd.tensor import Tensor

torch = pytest.importorskip("torch")

OPTIMISERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.01}),
]
SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5]}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("OneCycleLR", {"max_lr": 0.2, "total_steps": 11}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMISERS)
@pytest.mark.parametrize(("schedule", "settings"), SCHEDULES)
def test_ten_steps_lead_to_the_same_place(name, options, schedule, settings):
    rng = np.random.default_rng(0)
    start = rng.standard_normal(5)
    p, q = nn.Parameter(start), torch.nn.Parameter(torch.tensor(start))
    ours, theirs = getattr(optim, name)([p], **options), getattr(torch.optim, name)([q], **options)
    extra = {"cycle_momentum": False} if schedule == "OneCycleLR" else {}
    our_schedule = getattr(optim, schedule)(ours, **settings)
    their_schedule = getattr(torch.optim.lr_scheduler, schedule)(theirs, **settings, **extra)
    for _ in range(10):
        g = rng.standard_normal(5)
        p.grad, q.grad = Tensor(g), torch.tensor(g)
        ours.step()
        theirs.step()
        our_schedule.step()
        their_schedule.step()
        # Both recur over a cosine or a power: a few ulp a step.
        assert our_schedule.get_last_lr() == pytest.approx(their_schedule.get_last_lr(), rel=1e-12, abs=1e-16)
        assert np.abs(p.numpy() - q.detach().numpy()).max() <= 1e-11
