import numpy as np
import pytest

from minires import write_guard
from minires.errors import DtypeError


def test_what_is_written_must_have_the_kind_of_its_place_and_lie_elsewhere():
    place = np.zeros((2, 2), np.float32)
    assert write_guard.writable_into(place, 3).tolist() == 3
    assert write_guard.writable_into(place, np.ones((2, 2))).shape == (2, 2)
    assert write_guard.writable_into(place, [1.0, 2.0]).tolist() == [1.0, 2.0]
    other = np.ones((2, 2), np.float32)
    assert write_guard.writable_into(place, other) is other
    assert not np.shares_memory(write_guard.writable_into(place, place[::-1]), place)
    with pytest.raises(DtypeError, match="complex128 values to a float32 tensor"):
        write_guard.writable_into(place, 1j)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1,), ()])
def test_an_array_without_two_elements_of_one_number_does_not_repeat(shape):
    one = np.lib.stride_tricks.as_strided(np.zeros(1), shape, (0,) * len(shape))
    assert not write_guard.repeats(one)
    assert write_guard.repeats(np.broadcast_to(np.zeros(1), (2,)))
