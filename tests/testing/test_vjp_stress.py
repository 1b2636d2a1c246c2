"""`check_vjp` calls no gradient of gradient_cases/stress.py wrong; the profile thorough draws all values, 100 seeds."""

import contextlib
import itertools
import os

import pytest
from gradient_cases.stress import STRESS, drawn

from minires import testing
from minires.testing.strategies.value import KINDS

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
AWKWARD = ("near_kinks", "near_ties")
OTHERS = [kind for kind in KINDS if kind not in AWKWARD]


def values(number):
    """Return the pairs of a kind of values and a seed for the function with this number."""
    if THOROUGH:
        return itertools.product(KINDS, range(100))
    return [*((kind, 1) for kind in AWKWARD), (OTHERS[number % len(OTHERS)], number)]


@pytest.mark.parametrize(
    ("name", "kind", "seed"), [(name, *value) for number, name in enumerate(STRESS) for value in values(number)]
)
def test_a_right_gradient_is_not_called_wrong(name, kind, seed):
    function, vjp, *arrays = drawn(name, kind, seed)
    with contextlib.suppress(testing.Inconclusive):  # an honest "cannot tell" is right, too
        testing.check_vjp(function, vjp, *arrays, rng=seed)


def test_there_are_enough_functions():
    assert len(STRESS) >= 24
