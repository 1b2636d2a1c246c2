import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires import threads
from minires.scratch import release_scratch, scratch


@pytest.fixture(autouse=True)
def threads_as_before():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@given(shape=st.lists(st.integers(0, 4), max_size=3), dtype=st.sampled_from(["f4", "f8", "i1", "?"]))
def test_scratch_has_the_shape_the_dtype_and_a_cache_lines_alignment(shape, dtype):
    array = scratch("test", shape, dtype)
    assert array.shape == tuple(shape)
    assert array.dtype == np.dtype(dtype)
    assert array.flags.c_contiguous
    if array.size:
        assert array.ctypes.data % 64 == 0


def test_scratch_is_the_same_memory_until_it_must_grow():
    release_scratch()
    first = scratch("test", (4, 4), np.float32)
    assert np.shares_memory(first, scratch("test", (2,), np.float32))
    assert not np.shares_memory(first, scratch("other", (4, 4), np.float32))
    assert not np.shares_memory(first, scratch("test", (4, 4), np.float64))
    grown = scratch("test", (5, 4), np.float32)
    assert not np.shares_memory(first, grown)
    assert np.shares_memory(grown, scratch("test", (4, 4), np.float32))


def test_each_thread_has_its_own_scratch():
    threads.set_num_threads(3)
    together, arrays = threading.Barrier(3), []

    def run(_):
        together.wait(60)
        arrays.append(scratch("test", (8,), np.float32))

    threads.parallel(run, range(3))
    assert not any(np.shares_memory(arrays[i], arrays[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_released_scratch_is_given_back_by_all_threads():
    threads.set_num_threads(2)
    together, owners = threading.Barrier(2), []

    def run(_):
        together.wait(60)
        array = scratch("test", (8,), np.float32)
        array.fill(1)
        base = array
        while base.base is not None:
            base = base.base
        owners.append(weakref.ref(base))

    threads.parallel(run, range(2))
    assert all(owner() is not None for owner in owners)
    release_scratch()
    assert all(owner() is None for owner in owners)
