import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels.fast import layout
from minires.testing import strategies as ms


@given(n=st.integers(0, 50), count=st.integers(0, 60))
def test_pieces_cover_everything_once_and_evenly(n, count):
    cut = layout.pieces(n, count)
    assert [i for piece in cut for i in range(n)[piece]] == (list(range(n)) if count else [])
    lengths = {piece.stop - piece.start for piece in cut}
    assert not lengths or (min(lengths) >= 1 and max(lengths) - min(lengths) <= 1)


@given(n=st.integers(0, 50), size=st.integers(1, 60))
def test_no_block_is_longer_than_asked_for(n, size):
    cut = layout.blocks(n, size)
    assert sum(block.stop - block.start for block in cut) == n
    assert all(block.stop - block.start <= size for block in cut)
    least = -(-n // size)
    assert len(cut) in (least, least + 1)  # as few as that allows,
    assert least < 2 or len(cut) % 2 == 0 or len(cut) == n  # or one more, to be even


@given(shape=ms.shapes(min_dims=4, max_dims=4, min_side=0), seed=ms.seeds(), order=ms.memory_orders())
def test_conversion_keeps_the_numbers_and_copies_only_what_lies_otherwise(frozen, shape, seed, order):
    x = frozen(shape, seed, order=order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_COPY_BLOCK", 5)
        converted, filters = layout.hwnc(x), layout.rsck(x)
    assert converted.flags.c_contiguous
    assert filters.flags.c_contiguous
    assert np.array_equal(layout.nchw_view(converted), x)
    assert np.array_equal(layout.kcrs_view(filters), x)
    if order == "HWNC" and x.size:
        assert np.shares_memory(converted, x)


def test_what_lies_in_kernel_order_is_not_copied():
    x = np.ones((4, 5, 2, 3)).transpose(2, 3, 0, 1)
    assert np.shares_memory(layout.hwnc(x), x)
    w = np.ones((3, 3, 4, 5)).transpose(3, 2, 0, 1)
    assert np.shares_memory(layout.rsck(w), w)
