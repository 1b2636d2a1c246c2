"""The double's record of a program's waits and copies, and the errors that it raises where CuPy raises none."""

import contextlib
from dataclasses import dataclass, field


class Waits(AssertionError):
    """Raised where the program would wait until the device has computed a value."""


class Undefined(AssertionError):
    """Raised where the result on CuPy depends on which thread is last."""


@dataclass
class Record:
    """The reasons of a program's waits, and the shapes of the operands that CuPy copies before products."""

    waits: list = field(default_factory=list)
    copies: list = field(default_factory=list)


_records = []


@contextlib.contextmanager
def recording():
    """Allow and record waits inside ``with recording() as record:``."""
    _records.append(Record())
    try:
        yield _records[-1]
    finally:
        _records.pop()


def current():
    """Return the innermost record, or a new one outside `recording`."""
    return _records[-1] if _records else Record()


def wait(why):
    """Record that the program waits; raise Waits if that is not allowed."""
    if not _records:
        raise Waits(f"{why} waits for the device")
    current().waits.append(why)
