import signal
import threading

import pytest

from minires.train import interrupt
from minires.train.interrupt import DeferredInterrupt


def test_the_first_interrupt_waits_and_the_second_does_not():
    with DeferredInterrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_wait_too_and_one_that_comes_twice_at_once_counts_once(monkeypatch, name):
    number, now, stopped, send = getattr(signal, name), [0.0], [], signal.raise_signal
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signal, "raise_signal", stopped.append)  # it would end this process
    with DeferredInterrupt() as waiting:
        send(number)
        assert waiting.signal == number
        send(number)  # as timeout and a closing terminal do
        assert stopped == []
        now[0] = 1.5
        send(number)
        assert stopped == [number]
        assert signal.getsignal(number) == signal.SIG_DFL


def test_ctrl_c_after_another_signal_stops_at_once():
    with DeferredInterrupt() as waiting:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert waiting.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_program_that_handles_a_signal_itself_is_left_alone():
    calls = []
    before = signal.signal(signal.SIGTERM, lambda number, _: calls.append(number))
    try:
        with DeferredInterrupt() as waiting:
            signal.raise_signal(signal.SIGTERM)
            assert (calls, waiting.requested) == ([signal.SIGTERM], False)
    finally:
        signal.signal(signal.SIGTERM, before)


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
