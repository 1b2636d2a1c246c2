"""Ctrl-C that waits until a step is done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C, and its position saved; the text says how to go on."""


class DeferredInterrupt:
    """Inside the ``with`` block the first Ctrl-C only sets ``requested``; a second one stops at once.

    A step changes weights, momentum and running statistics one after the other. Whoever stops in between has
    a network that no uninterrupted run ever had, so the loop asks ``requested`` between steps.

    Python lets only the main thread handle signals, and delivers Ctrl-C to that one alone: in another thread
    this does nothing. Nor does it where Ctrl-C is ignored, as under nohup or in the background of a script:
    whoever asked for that is obeyed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> DeferredInterrupt:
        ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None)  # None: handled by other than Python
        if threading.current_thread() is threading.main_thread() and not ignored:
            self._previous = signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()
        if sys.stderr.isatty():  # os.write, since the signal may have come in the middle of a print
            os.write(2, b"\nfinishing this step, then saving; Ctrl-C again stops at once\n")

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
