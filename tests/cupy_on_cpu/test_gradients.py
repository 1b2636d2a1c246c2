"""`minires check` on CuPy: every operation, both orders of derivatives, in every tier."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.check import check, trials
from minires.testing.catalogue.table import all_settings

SETTINGS = [setting for setting in all_settings() if setting.device == "cuda"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@settings(max_examples=8)
@given(data=st.data())
def test_gradients_of_both_orders_are_right_on_cuda(entry, data):
    check(data.draw(trials(entry, SETTINGS)))
