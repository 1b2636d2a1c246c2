import gc
import itertools
import mmap
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires import memory
from minires.memory import new_array, release_memory

LARGE = (300, 1000)  # of float32: above the size from which memory is kept


@pytest.fixture(autouse=True)
def regions_of_its_own():
    """Start with no memory regions, instead of those of other tests' arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_regions", [])
        yield


def place(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 4), LARGE, (5, 7, 100, 1000)])
def test_an_array_is_like_one_of_numpys(shape, dtype):
    array = new_array(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert array.all()


def test_memory_is_used_again_once_the_last_view_is_gone():
    array = new_array(LARGE, np.float32)
    where, view = place(array), array[3:, ::2].T
    del array
    other = new_array(LARGE, np.float32)
    assert place(other) != where
    view.base.flags.writeable = False  # which is the array's own matter
    del view
    again = new_array((299, 1000), np.float32)  # a little less
    assert place(again) == where
    assert again.flags.writeable


def test_pieces_that_touch_are_one_again():
    small = [new_array(LARGE, np.float32) for _ in range(4)]
    where = sorted(map(place, small))
    for number in (2, 0, 3, 1):
        small[number] = None
    assert place(new_array((1200, 1000), np.float32)) == where[0]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60))
def test_arrays_that_live_at_the_same_time_never_overlap(steps):
    """Take and return memory in any order, and compare with a plain list."""
    alive, array = [], None
    for take, number in steps:
        if take or not alive:
            array = new_array((number, 1 << 18), np.uint8)
            array.fill(number)
            alive.append((array, number))
        else:
            alive.pop(number % len(alive))
        for array, filled in alive:
            assert array[0, 0] == array[-1, -1] == filled
    extents = sorted((place(array), array.nbytes) for array, _ in alive)
    assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(extents))
    del alive, array
    new_array(LARGE, np.float32)
    release_memory()
    assert not memory._regions


def test_an_array_larger_than_a_region_has_one_of_its_own(monkeypatch):
    monkeypatch.setattr(memory, "_REGION", 1 << 20)
    first, second = new_array(LARGE, np.float32), new_array((3, 1000, 1000), np.float32)
    assert [len(region.memory) >= array.nbytes for region, array in zip(memory._regions, (first, second), strict=True)]
    assert new_array(LARGE, np.float32).shape == LARGE


def test_a_cycle_that_holds_an_array_gives_its_memory_back_when_it_is_collected():
    cycle = [new_array(LARGE, np.float32)]
    where = place(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert place(new_array(LARGE, np.float32)) == where


def test_threads_never_share_memory():
    def work(number):
        for _ in range(200):
            array = new_array(LARGE, np.float32)
            array[0] = number
            array[-1] = number
            wrong.extend(array[[0, -1]][array[[0, -1]] != number])

    wrong = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_release_memory_lets_go_of_what_no_array_takes():
    kept, gone = new_array(LARGE, np.float32), new_array(LARGE, np.float32)
    kept.fill(7)
    gone.fill(7)
    where = place(gone)
    del gone
    release_memory()
    assert (kept == 7).all()
    again = new_array(LARGE, np.float32)
    assert place(again) == where
    assert not again.any()  # the system's pages are clear
    del kept, again
    release_memory()
    assert not memory._regions


def test_where_address_space_is_short_an_array_has_a_region_of_its_own(monkeypatch):
    real = mmap.mmap

    def short(fileno, length, **how):
        if length > 1 << 24:
            raise OSError(12, "Cannot allocate memory")
        return real(fileno, length, **how)

    monkeypatch.setattr(memory.mmap, "mmap", short)
    assert new_array(LARGE, np.float32).shape == LARGE
    with pytest.raises(MemoryError, match="bytes more"):
        new_array((10_000, 1000), np.float64)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_memory_is_asked_for_has_its_own():
    array = new_array(LARGE, np.float32)
    with memory._lock:
        child = os.fork()
        if child == 0:
            other = new_array(LARGE, np.float32)
            os._exit(0 if place(other) != place(array) else 1)
    assert os.waitpid(child, 0)[1] == 0
