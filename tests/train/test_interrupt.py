import signal
import threading

import pytest

from minires.train.interrupt import DeferredInterrupt


def test_the_first_interrupt_waits_and_the_second_does_not():
    with DeferredInterrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_afterwards_an_interrupt_is_what_it_was():
    before = signal.getsignal(signal.SIGINT)

    def fail():
        with DeferredInterrupt():
            assert signal.getsignal(signal.SIGINT) is not before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_does_nothing():
    before, found = signal.getsignal(signal.SIGINT), []

    def body():
        with DeferredInterrupt() as interrupt:
            found.append((interrupt.requested, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [(False, True)]


def test_where_interrupts_are_ignored_they_stay_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DeferredInterrupt() as interrupt:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        assert not interrupt.requested
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
