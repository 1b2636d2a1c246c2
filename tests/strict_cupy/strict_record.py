"""What the double of CuPy notes of a program, and what it raises where CuPy says nothing."""

import contextlib
from dataclasses import dataclass, field


class Waits(AssertionError):
    """The program would wait here until the device has computed a value."""


class Undefined(AssertionError):
    """What CuPy makes of this depends on which thread is the last."""


@dataclass
class Record:
    """What a program did: where it waited, and the operands of products that CuPy copies first."""

    waits: list = field(default_factory=list)
    copies: list = field(default_factory=list)


_records = []


@contextlib.contextmanager
def recording():
    """``with recording() as record:`` waits are allowed inside, and written down."""
    _records.append(Record())
    try:
        yield _records[-1]
    finally:
        _records.pop()


def current():
    """The innermost record, or one that nobody reads."""
    return _records[-1] if _records else Record()


def wait(why):
    """Note that the program waits; raises Waits where that is not allowed."""
    if not _records:
        raise Waits(f"{why} waits for the device")
    current().waits.append(why)
