import gc
import threading
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.data.prefetch import prefetched


def prefetching_threads():
    return [thread for thread in threading.enumerate() if thread.name == "minires-prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert prefetching_threads() == []


@given(length=st.integers(0, 20), depth=st.integers(1, 5))
def test_the_items_come_in_order(length, depth):
    assert list(prefetched(iter(range(length)), depth)) == list(range(length))
    assert prefetching_threads() == []


@given(depth=st.integers(1, 4), taken=st.integers(1, 6))
def test_never_more_than_depth_items_are_made_ahead(depth, taken):
    made, full = [], threading.Event()

    def items():
        for i in count():
            made.append(i)
            if len(made) == taken + depth:
                full.set()
            yield i

    iterator = prefetched(items(), depth)
    for _ in range(taken):
        next(iterator)
        assert len(made) <= taken + depth
    assert full.wait(10)  # the thread computes so many in advance
    iterator.close()
    assert len(made) == taken + depth


def test_a_loop_that_is_left_ends_the_thread():
    for item in prefetched(count(), 3):
        assert len(prefetching_threads()) == 1
        if item == 5:
            break
    assert prefetching_threads() == []


def test_an_exception_in_the_loop_ends_the_thread():
    def loop():
        for _ in prefetched(count(), 2):
            raise KeyError("in the loop")

    with pytest.raises(KeyError, match="in the loop") as caught:
        loop()
    caught.value.__traceback__ = None  # its frames hold the iterator
    del caught
    gc.collect()
    assert prefetching_threads() == []


@given(good=st.integers(0, 5), depth=st.integers(1, 3))
def test_an_exception_of_the_items_is_raised_in_its_place(good, depth):
    def items():
        yield from range(good)
        raise ValueError("the next is rotten")

    iterator = prefetched(items(), depth)
    seen = [next(iterator) for _ in range(good)]
    with pytest.raises(ValueError, match="rotten"):
        next(iterator)
    assert seen == list(range(good))
    assert prefetching_threads() == []


def test_an_iterator_that_nobody_advances_has_no_thread():
    iterator = prefetched(count(), 2)
    assert prefetching_threads() == []
    iterator.close()
