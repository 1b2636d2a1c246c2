import numpy as np
import pytest

import minires as mr
from minires.errors import ShapeError
from minires.options import integer, number, real, several


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), mr.tensor(3)])
def test_an_integer_of_any_kind_becomes_an_int(value):
    assert integer(value, "n") == 3
    assert type(integer(value, "n")) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3), "3", None, [3], np.array([3, 4]), np.array(3.0)])
def test_what_is_no_integer_is_told_by_name(value):
    with pytest.raises(ShapeError) as caught:
        integer(value, "the stride")
    assert str(caught.value) == f"the stride must be an integer, got {value!r}"


def test_an_integer_has_a_least_value():
    assert integer(2, "n", 2) == 2
    with pytest.raises(ShapeError, match="n must be a positive integer, got 0"):
        integer(0, "n", 1)
    with pytest.raises(ShapeError, match="n must be an integer of at least 2, got 1"):
        integer(1, "n", 2)


@pytest.mark.parametrize("value", [0.5, np.float16(0.5), np.float64(0.5), np.array(0.5)])
def test_a_real_number_of_any_kind_becomes_a_float(value):
    assert real(value, "p") == number(value, "p") == 0.5
    assert type(real(value, "p")) is type(number(value, "p")) is float


def test_a_number_stays_what_it_is():
    assert [type(number(n, "n")) for n in (2**60 + 1, np.int8(1), np.array(1))] == [int, int, int]
    assert number(2**60 + 1, "n") == 2**60 + 1
    assert type(real(2, "n")) is float


@pytest.mark.parametrize("value", ["0.5", None, True, np.True_, 1j, [0.5], np.array([0.5]), np.complex64(1)])
def test_what_is_no_number_is_told_by_name(value):
    with pytest.raises(ValueError, match="momentum must be a number, got "):
        number(value, "momentum")
    with pytest.raises(ValueError, match="momentum must be a finite number, got "):
        real(value, "momentum")


@pytest.mark.parametrize("value", [10**400, np.inf, -np.inf, np.nan])
def test_a_real_number_is_finite(value):
    with pytest.raises(ValueError, match="n must be a finite number, got "):
        real(value, "n")


@pytest.mark.parametrize(
    ("bounds", "wanted"), [((0,), "a finite number that is not negative"), ((0, 1), "between 0 and 1")]
)
def test_a_real_number_has_bounds(bounds, wanted):
    assert real(np.float32(0), "p", *bounds) == 0
    assert real(1, "p", *bounds) == 1
    with pytest.raises(ValueError, match=f"p must be {wanted}, got -0.5"):
        real(-0.5, "p", *bounds)


def test_several_are_a_tuple_a_list_or_an_array_with_an_axis():
    assert several((1, 2)) == several([1, 2]) == several(np.array([1, 2])) == (1, 2)
    assert several(()) == ()
    for one in (1, "ab", None, np.array(1), np.ones((2, 2))):
        assert several(one) is None
