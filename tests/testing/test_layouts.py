import numpy as np
import pytest
from hypothesis import given

from minires import testing
from minires.testing import strategies
from minires.testing.layouts import copy_in_order


@given(strategies.shapes(min_side=0), strategies.memory_orders(), strategies.seeds())
def test_another_memory_order_keeps_shape_dtype_and_values(shape, order, seed):
    x = strategies.array(shape, seed, dtype="float32")
    laid = testing.lay_out(x, order)
    assert laid.dtype == x.dtype
    assert not np.shares_memory(laid, x)
    np.testing.assert_array_equal(laid, x)


def test_each_order_has_the_strides_that_its_name_says():
    x = np.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    strides = {order: tuple(s // 8 for s in testing.lay_out(x, order).strides) for order in testing.MEMORY_ORDERS}
    assert strides == {
        "C": (60, 20, 5, 1),
        "F": (1, 2, 6, 24),
        "HWNC": (3, 1, 30, 6),
        "sliced": (960, 160, 20, 2),
        "reversed": (-60, -20, -5, -1),
    }


def test_an_unknown_order_is_named():
    with pytest.raises(ValueError, match="'NHWC' is not one of C, F"):
        testing.lay_out(np.zeros(3), "NHWC")


@given(strategies.shapes(min_side=0), strategies.memory_orders(), strategies.seeds())
def test_a_copy_in_order_has_the_same_strides_and_is_writeable(shape, order, seed):
    x = strategies.array(shape, seed, order=order)
    copied = copy_in_order(x)
    np.testing.assert_array_equal(copied, x)
    assert not np.shares_memory(copied, x)
    assert copied.flags.writeable
    if x.size:
        assert [s for s, n in zip(copied.strides, shape, strict=True) if n > 1] == [
            s for s, n in zip(x.strides, shape, strict=True) if n > 1
        ]


def test_a_copy_takes_the_order_of_another_array():
    x, like = np.arange(12.0).reshape(3, 4), np.asfortranarray(np.zeros((3, 4)))
    copied = copy_in_order(x, like)
    np.testing.assert_array_equal(copied, x)
    assert copied.strides == like.strides


def test_a_copy_of_elements_that_share_memory_separates_them():
    for x in (np.broadcast_to(np.arange(3.0), (4, 3)), np.lib.stride_tricks.sliding_window_view(np.arange(5.0), 3)):
        copied = copy_in_order(x)
        copied[0, 1] = 99
        assert (copied == 99).sum() == 1
