"""Fixtures for all kernel tests: read-only arrays from a seed, and derivatives by a complex step."""

import numpy as np
import pytest

from minires.testing.strategies import array


@pytest.fixture(scope="session")
def frozen():
    """Return `minires.testing.strategies.array` with read-only results, so that writing into an input fails."""

    def draw(*arguments, **keywords):
        drawn = array(*arguments, **keywords)
        drawn.setflags(write=False)
        return drawn

    return draw


@pytest.fixture(scope="session")
def complex_step():
    """Return derivative(function, arrays, which, d): along d in argument ``which``, accurate to the last digits.

    With a step of 1e-20 the real part does not change, so nothing is subtracted and no kink is crossed.
    """

    def derivative(function, arrays, which, d):
        moved = [a + 1e-20j * d if i == which else a.astype(complex) for i, a in enumerate(arrays)]
        return np.imag(function(*moved)) / 1e-20

    return derivative
