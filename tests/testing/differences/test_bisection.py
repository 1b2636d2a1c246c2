import numpy as np
import pytest

from minires import testing
from minires.testing.differences.bisection import elements_that, most_wrong, part_of


@pytest.mark.parametrize("order", testing.MEMORY_ORDERS)
def test_a_part_holds_the_given_elements_in_any_memory_order(order):
    d = testing.lay_out(np.arange(1.0, 25.0).reshape(2, 3, 4), order)
    part = part_of(d, np.array([0, 7]))
    assert part.shape == d.shape
    assert {place: part.flat[place] for place in np.flatnonzero(part)} == {0: 1.0, 7: 8.0}


@pytest.mark.parametrize("place", [0, 4, 11])
def test_the_element_with_the_error_is_found(place):
    d = np.arange(1.0, 13.0).reshape(3, 4)
    assert most_wrong(d, lambda part: 1e-3 * part.sum() + 1e6 * part.flat[place]) == place


@pytest.mark.parametrize("place", [0, 4, 11])
def test_an_error_of_nan_is_the_largest(place):
    d = np.arange(1.0, 13.0).reshape(3, 4)
    assert most_wrong(d, lambda part: np.nan if part.flat[place] else 1e9) == place


@pytest.mark.parametrize("places", [[], [0], [4, 5, 11]])
def test_all_elements_that_show_an_error_are_found_unless_it_takes_too_long(places):
    d = np.arange(1.0, 13.0).reshape(3, 4)

    def shows(part):
        return part.flat[places].any()

    assert sorted(elements_that(shows, d, 64)) == places
    assert elements_that(shows, d, 2) is None or not places
