import numpy as np
import pytest

import minires as mr
from minires.errors import DtypeError, ShapeError


def test_zeros_and_ones_take_a_shape_in_either_form():
    assert mr.zeros(2, 3).shape == mr.zeros((2, 3)).shape == mr.zeros([2, 3]).shape == (2, 3)
    x = mr.ones(2, dtype=np.float64, requires_grad=True)
    assert (x.numpy().tolist(), x.dtype, x.requires_grad) == ([1.0, 1.0], np.float64, True)
    assert mr.zeros().shape == ()
    assert mr.zeros(3).dtype == np.float32
    with pytest.raises(ShapeError, match="zeros needs integers"):
        mr.zeros(2.5)
    with pytest.raises(ShapeError, match="negative"):
        mr.ones(2, -1)


def test_from_dlpack_copies_an_array_of_another_library():
    theirs = np.arange(3.0)
    ours = mr.from_dlpack(theirs)
    theirs[0] = 9.0
    assert ours.numpy().tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(TypeError, match="needs an array with the method __dlpack__, got a list"):
        mr.from_dlpack([1.0])


@pytest.mark.parametrize("make", [mr.zeros, mr.ones, mr.tensor])
def test_what_is_no_dtype_of_numbers_is_named(make):
    for dtype, text in ((str, "a tensor holds numbers, not <U0"), ("foo", "'foo' is not a dtype")):
        with pytest.raises(DtypeError, match=text):
            make(2, dtype=dtype)
