import numpy as np
import pytest

import minires as mr
from minires import nn, optim


def test_momentum_accumulates_as_in_pytorch():
    p = nn.Parameter(np.ones(1))
    v, x = 0.0, 1.0
    optimizer = optim.SGD([p], lr=0.5, momentum=0.5, weight_decay=0.25)
    for i, g in enumerate([1.0, 2.0, 4.0]):
        d = g + 0.25 * x
        v = d if i == 0 else 0.5 * v + d
        x -= 0.5 * v
        p.grad = mr.tensor(np.array([g]))
        optimizer.step()
        assert p.item() == x  # powers of two: exact


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -1}, "lr must be a finite number that is not negative, got -1"),
        ({"lr": float("nan")}, "lr must be a finite number that is not negative, got nan"),
        ({"lr": float("inf")}, "lr must be a finite number that is not negative, got inf"),
        ({"lr": 10**400}, "lr must be a finite number that is not negative, got 10000"),
        ({"lr": "fast"}, "lr must be a finite number that is not negative, got 'fast'"),
        ({"momentum": -0.1}, "momentum must be a finite number that is not negative, got -0.1"),
        ({"weight_decay": -0.1}, "weight_decay must be a finite number that is not negative, got -0.1"),
        ({"weight_decay": float("inf")}, "weight_decay must be a finite number that is not negative, got inf"),
        ({"dampening": None}, "dampening must be a finite number, got None"),
        ({"dampening": float("inf")}, "dampening must be a finite number, got inf"),
        ({"nesterov": True}, "Nesterov momentum needs a momentum above 0 .* got momentum 0 and dampening 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.5}, "got momentum 0.9 and dampening 0.5"),
    ],
)
def test_impossible_options_are_named_also_in_a_group(options, text):
    p = nn.Parameter(np.ones(1))
    with pytest.raises(ValueError, match=text):
        optim.SGD([p], **options)
    with pytest.raises(ValueError, match=text):
        optim.SGD([{"params": [p], **options}])
