"""Signals that stop a run, once a step is done."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

_SENT = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # not by a keyboard
_SAME = 1.0  # seconds


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C or another signal, and its position saved; the text says how to go on.

    Attributes
    ----------
    signal : its number
    """

    def __init__(self, text: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.signal = number


class DeferredInterrupt:
    """Inside the ``with`` block the first Ctrl-C, SIGTERM or SIGHUP only sets ``requested``; a second stops at once.

    A step changes weights, momentum and running statistics one after the other. Whoever stops in between has
    a network that no uninterrupted run ever had, so the loop asks ``requested`` between steps.

    SIGTERM and SIGHUP often come in pairs (``timeout`` sends one to the process and one to its group, a closing
    terminal and its shell one each), so what follows within a second of the first is taken for the same.

    Python lets only the main thread handle signals, and delivers them to that one alone: in another thread
    this does nothing. Nor does it for a signal that is ignored, as under nohup or in the background of a script:
    whoever asked for that is obeyed; nor for SIGTERM or SIGHUP where a program handles it in its own way.

    Attributes
    ----------
    signal : the number of the first signal; None as long as there was none
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._first = 0.0
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_SENT):
                handler = signal.getsignal(number)
                own = number in _SENT and handler != signal.SIG_DFL
                if not own and handler not in (signal.SIG_IGN, None):  # None: handled by other than Python
                    self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._first = number, time.monotonic()
            if sys.stderr is not None and sys.stderr.isatty():
                with contextlib.suppress(OSError):  # the terminal may have just gone
                    # os.write, since the signal may have come in the middle of a print
                    os.write(2, b"\nfinishing this step, then saving; Ctrl-C again stops at once\n")
        elif not (number in _SENT and self.signal in _SENT and time.monotonic() - self._first < _SAME):
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
