import gc
import threading

import numpy as np
import pytest

from minires import memory
from minires.memory import new_array, release_memory

LARGE = (300, 1000)  # of float32: above the size from which memory is kept


@pytest.fixture(autouse=True)
def nothing_waits():
    release_memory()
    yield
    release_memory()


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


def test_memory_much_larger_than_needed_is_left_for_others():
    array = new_array(LARGE, np.float32)
    where = place(array)
    del array
    assert place(new_array((200, 1000), np.float32)) != where


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


def test_release_memory_lets_go_of_what_waits():
    new_array(LARGE, np.float32)
    assert sum(map(len, memory._waiting.values())) == 1
    release_memory()
    assert not memory._waiting
