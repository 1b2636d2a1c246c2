"""Every gradient of gradient_cases/right.py is passed by `check_vjp`."""

import numpy as np
import pytest
from gradient_cases.right import RIGHT

from minires import testing


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_passes(name, seed):
    function, vjp, *arrays = RIGHT[name](np.random.default_rng([seed, len(name)]))
    report = testing.check_vjp(function, vjp, *arrays, rng=seed, deterministic=True)
    assert report.resolution <= 1e-4
    assert str(report)
