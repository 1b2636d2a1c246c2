"""Stop a run on a signal, after the current step."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

_SENT = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # not from the keyboard
_SAME = 1.0  # seconds


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C or another signal, and its position saved; the text says how to go on.

    Attributes
    ----------
    signal : the number of the signal
    """

    def __init__(self, text: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.signal = number


class DeferredInterrupt:
    """Inside the ``with`` block the first Ctrl-C, SIGTERM or SIGHUP only sets ``requested``; a second stops at once.

    A step changes weights, momentum and running statistics one after the other. A run that stops in between saves
    a network that no uninterrupted run has, so the loop asks ``requested`` between steps.

    SIGTERM and SIGHUP often come in pairs: ``timeout`` signals the process and its group, and a closing terminal and
    its shell send one each. So a second one within a second counts as the first.

    This changes nothing in three cases: in a thread other than the main one, since Python handles signals only there;
    for an ignored signal, as under nohup or in the background of a script; and for SIGTERM or SIGHUP if the
    program has its own handler.

    Attributes
    ----------
    signal : the number of the first signal; None before it
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._first = 0.0
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """True after the first signal."""
        return self.signal is not None

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_SENT):
                handler = signal.getsignal(number)
                own = number in _SENT and handler != signal.SIG_DFL
                if not own and handler not in (signal.SIG_IGN, None):  # None: the handler is not Python's
                    self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._first = number, time.monotonic()
            if sys.stderr is not None and sys.stderr.isatty():
                with contextlib.suppress(OSError):  # the terminal may be closed
                    # os.write, since the signal may interrupt a print
                    os.write(2, b"\nfinishing this step, then saving; Ctrl-C again stops at once\n")
        elif not (number in _SENT and self.signal in _SENT and time.monotonic() - self._first < _SAME):
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
