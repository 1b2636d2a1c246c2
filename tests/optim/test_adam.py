import numpy as np
import pytest

import minires as mr
from minires import nn, optim


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -1}, "lr must be a finite number that is not negative, got -1"),
        ({"eps": -1e-8}, "eps must be a finite number that is not negative, got -1e-08"),
        ({"eps": float("inf")}, "eps must be a finite number that is not negative, got inf"),
        ({"betas": (0.9, 1.0)}, r"betas\[1\] must be a number in \[0, 1\), got 1.0"),
        ({"betas": 0.9}, r"betas must be two numbers in \[0, 1\), got 0.9"),
        ({"betas": (0.9,)}, r"betas must be two numbers in \[0, 1\), got \(0.9,\)"),
    ],
)
@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
def test_impossible_options_are_named(make, options, text):
    with pytest.raises(ValueError, match=text):
        make([nn.Parameter(np.ones(1))], **options)


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
def test_the_first_step_hardly_depends_on_the_size_of_the_gradient(make):
    p = nn.Parameter(np.ones(2))
    p.grad = mr.tensor(np.array([1e-3, 1e3]))
    make([p], lr=0.5, weight_decay=0).step()
    # lr · g / (|g| + eps): eps takes 1e-8 / 1e-3 of it away.
    assert np.abs(p.numpy() - 0.5).max() <= 0.5 * 1e-5 + 1e-15
