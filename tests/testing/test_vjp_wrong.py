"""Every gradient of gradient_cases/wrong.py is caught by `check_vjp`."""

import numpy as np
import pytest
from gradient_cases.wrong import WRONG

from minires import testing


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_caught(name, seed):
    function, vjp, *arrays = WRONG[name](np.random.default_rng([seed, len(name)]))
    with pytest.raises(testing.GradientError) as caught:
        testing.check_vjp(function, vjp, *arrays, rng=seed)
    assert not isinstance(caught.value, testing.Inconclusive)
