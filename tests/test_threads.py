import os
import threading
import time

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given
from hypothesis import strategies as st

from minires import blas, threads
from minires.blas import single_threaded_blas
from minires.scratch import scratch


@pytest.fixture(autouse=True)
def threads_as_before():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def blas_threads():
    controller = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return [library.num_threads for library in controller.lib_controllers]


def at_the_same_time(functions):
    """Run functions on separate threads; raise the first error."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def in_a_fork(function):
    """Return whether a child process ran ``function`` to its end within a minute."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


@given(n=st.integers(1, 5), jobs=st.integers(0, 40))
def test_every_job_runs_once(n, jobs):
    threads.set_num_threads(n)
    done = np.zeros(jobs, int)

    def run(job):
        done[job] += 1

    threads.parallel(run, range(jobs))
    assert np.array_equal(done, np.ones(jobs))


def test_jobs_run_on_several_threads_and_on_the_callers():
    threads.set_num_threads(3)
    together = threading.Barrier(3)
    seen = set()

    def run(_):
        together.wait(60)  # three jobs must be under way at once
        seen.add(threading.get_ident())

    threads.parallel(run, range(3))
    assert len(seen) == 3
    assert threading.get_ident() in seen


def test_a_call_from_within_a_job_runs_in_that_jobs_thread():
    threads.set_num_threads(3)
    seen = {}

    def outer(job):
        idents = []
        threads.parallel(lambda _: idents.append(threading.get_ident()), range(5))
        seen[job] = (threading.get_ident(), idents)

    threads.parallel(outer, range(4))
    assert all(idents == [own] * 5 for own, idents in seen.values())


@pytest.mark.parametrize("n", [1, 3])
def test_the_error_of_the_earliest_failed_job_is_raised_and_the_pool_goes_on(n):
    threads.set_num_threads(n)
    all_failing = threading.Barrier(n)

    def fail(job):
        if job < n:
            all_failing.wait(60)
            raise KeyError(job)

    with pytest.raises(KeyError, match=r"^0$"):
        threads.parallel(fail, range(100))
    done = []
    threads.parallel(done.append, range(10))
    assert sorted(done) == list(range(10))


def test_after_an_error_no_further_job_is_begun():
    threads.set_num_threads(1)
    done = []

    def run(job):
        done.append(job)
        if job == 3:
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        threads.parallel(run, range(10))
    assert done == [0, 1, 2, 3]


def test_several_threads_may_call_at_the_same_time():
    threads.set_num_threads(3)

    def caller():
        for _ in range(50):
            results = np.zeros(20)

            def run(job, results=results):
                results[job] = scratch("test", (job + 1,), np.float64).size

            threads.parallel(run, range(20))
            assert results.sum() == 210

    at_the_same_time([caller] * 4)


def test_the_number_of_threads_may_change_while_others_compute():
    def change():
        for n in (1, 2, 3, 2) * 20:
            threads.set_num_threads(n)

    def compute():
        for _ in range(50):
            done = []
            threads.parallel(done.append, range(20))
            assert sorted(done) == list(range(20))

    at_the_same_time([change, compute, compute])


def test_workers_that_are_no_longer_wanted_end():
    threads.set_num_threads(4)
    threads.parallel(lambda _: None, range(10))
    own = [t for t in threading.enumerate() if t.name.startswith("minires-")]
    assert len(own) >= 3
    threads.set_num_threads(1)
    for thread in own:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True, None])
def test_a_number_of_threads_that_is_none_is_refused_and_changes_nothing(n):
    before = threads.get_num_threads()
    with pytest.raises(ValueError, match="integer of at least 1"):
        threads.set_num_threads(n)
    assert threads.get_num_threads() == before


def test_the_number_of_threads_is_what_was_set():
    threads.set_num_threads(np.int64(3))
    assert threads.get_num_threads() == 3


def test_blas_has_one_thread_inside_and_what_it_had_outside():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with single_threaded_blas():
            assert blas_threads() == [1] * len(before)
            with single_threaded_blas():
                assert blas_threads() == [1] * len(before)
            assert blas_threads() == [1] * len(before)
        assert blas_threads() == before
        seen = []
        threads.parallel(lambda _: seen.append(blas_threads()), range(3))
        assert seen == [[1] * len(before)] * 3
        assert blas_threads() == before


def test_a_thread_other_than_the_one_that_set_blas_before_is_obeyed():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before, seen = blas_threads(), []

        def other():
            with single_threaded_blas():
                seen.append(blas_threads())
            seen.append(blas_threads())

        at_the_same_time([other])
        assert seen == [[1] * len(before), before]


def test_where_each_thread_has_a_limit_of_its_own_callers_and_workers_are_limited(monkeypatch):
    class Library(threading.local):  # as MKL has it
        count = 4

        def get_num_threads(self):
            return self.count

        def set_num_threads(self, count):
            self.count = count

    library = Library()
    own = [blas._Library(library.get_num_threads, library.set_num_threads)]
    monkeypatch.setattr(blas._guard, "libraries", ([], own))
    threads.set_num_threads(1)
    threads.set_num_threads(3)  # new workers
    together, seen = threading.Barrier(3), []

    def run(_):
        together.wait(60)
        seen.append(library.get_num_threads())

    threads.parallel(run, range(3))
    assert seen == [1, 1, 1]
    assert library.get_num_threads() == 4


def test_blas_is_restored_after_an_error():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(KeyError), single_threaded_blas():
            raise KeyError
        assert blas_threads() == before


def test_overlapping_blocks_of_two_threads_restore_blas_when_the_last_one_ends():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        entered, leave = threading.Event(), threading.Event()

        def other():
            with single_threaded_blas():
                entered.set()
                assert leave.wait(60)

        thread = threading.Thread(target=other)
        with single_threaded_blas():
            thread.start()
            assert entered.wait(60)
        assert blas_threads() == [1] * len(before)
        leave.set()
        thread.join(60)
        assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_computes_on_threads_of_its_own():
    threads.set_num_threads(3)
    threads.parallel(lambda _: None, range(10))  # the parent's workers exist

    def child():
        together = threading.Barrier(3)
        threads.parallel(lambda _: together.wait(30), range(3))

    assert in_a_fork(child)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_forked_while_another_thread_computes_is_not_stuck_and_has_its_blas_back():
    threads.set_num_threads(2)
    entered, leave = threading.Event(), threading.Event()

    def other():
        with single_threaded_blas():
            entered.set()
            assert leave.wait(120)

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)

        def child():
            done = []
            threads.parallel(done.append, range(10))
            assert sorted(done) == list(range(10))
            assert blas_threads() == before

        finished = in_a_fork(child)
        leave.set()
        thread.join(60)
        assert finished


def test_jobs_run_in_the_callers_context():
    """What np.errstate says holds on every thread."""
    threads.set_num_threads(3)
    seen, all_here = [], threading.Barrier(3, timeout=60)

    def job(_):
        all_here.wait()
        seen.append(np.geterr()["over"])

    with np.errstate(over="raise"):
        threads.parallel(job, range(3))
    assert seen == ["raise"] * 3
