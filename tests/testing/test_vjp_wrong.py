"""`check_vjp` catches every gradient of gradient_cases/wrong/; the profile thorough draws a hundred seeds."""

import os

import numpy as np
import pytest
from gradient_cases.wrong import WRONG

from minires import testing

SEEDS = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 3


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, SEEDS))])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_caught(name, seed):
    case = WRONG[name]
    function, vjp, *arrays = case(np.random.default_rng([seed, len(name)]))
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(function, vjp, *arrays, rng=seed, **case.options)
    assert not isinstance(caught.value, testing.Inconclusive)
