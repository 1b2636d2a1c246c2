"""`check_vjp` passes every gradient of gradient_cases/right/; the profile thorough draws a hundred seeds."""

import os

import numpy as np
import pytest
from gradient_cases.right import RIGHT

from minires import testing

SEEDS = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 3


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, SEEDS))])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_passes(name, seed):
    case = RIGHT[name]
    function, vjp, *arrays = case(np.random.default_rng([seed, len(name)]))
    report = testing.check_vjp(function, vjp, *arrays, rng=seed, **{"deterministic": True, **case.options})
    assert report.resolution <= 1e-4
    assert str(report)
