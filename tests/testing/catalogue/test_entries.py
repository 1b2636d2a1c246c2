"""Every operation of the catalogue at drawn points. `make thorough` draws 10,000 of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.check import COMPLEX_STEP, DIFFERENCES, EXACT, ROUNDING, Setting, check, steps, trials
from minires.testing.catalogue.table import all_settings, is_available

SETTINGS = [setting for setting in all_settings() if is_available(setting.device)]
FAST = Setting("float32", "cpu", "fast")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@given(data=st.data())
def test_gradients_of_both_orders_are_right_in_every_setting(entry, data):
    check(data.draw(trials(entry, SETTINGS)))


@given(data=st.data())
def test_points_are_what_their_cases_allow(data):
    entry = data.draw(st.sampled_from(ENTRIES))
    point = data.draw(trials(entry, SETTINGS))
    assert point.step in steps(point.case, point.setting)
    assert 0 <= point.only < len(point.case.shapes) + point.step.derivative - 1
    assert (point.step.tier in (COMPLEX_STEP, DIFFERENCES)) <= (point.setting.dtype == "float64")


def test_what_rounds_integers_is_not_checked_with_them(first_cases):
    (case,) = first_cases("conv2d, many channels")
    tiers = {setting: {step.tier for step in steps(case, setting)} for setting in SETTINGS}
    assert tiers[FAST] == {ROUNDING}
    assert tiers[FAST._replace(kernels="reference")] == {EXACT, ROUNDING}
    assert tiers[FAST._replace(dtype="float64")] == {EXACT, COMPLEX_STEP, DIFFERENCES}


@given(data=st.data())
def test_the_values_of_a_case_have_its_shapes_and_the_dtype_asked_for(data):
    case = data.draw(data.draw(st.sampled_from(ENTRIES)).cases())
    for kinds in filter(None, (case.smooth, case.exact)):
        arrays = case.values(kinds, data.draw(st.integers(0, 9)), np.float32)
        assert tuple(array.shape for array in arrays) == case.shapes
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        assert kinds != case.exact or all(np.array_equal(1024 * array, np.round(1024 * array)) for array in arrays)
