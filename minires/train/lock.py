"""A lock that one process holds, and that the operating system releases when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

# What a held lock answers: flock the first two, Windows the others, NFS either.
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # a byte beyond the text, which others may read
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(file: int) -> None:
        # flock, not lockf: it belongs to this opening of the file, so that two threads exclude each other, too.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock on a file, which is made and removed again, inside the ``with`` block.

    A process that is killed leaves the file, but not the lock.

    Yields
    ------
    Whether the file system has locks; without them the block runs all the same.

    Raises
    ------
    BlockingIOError : if another process, or another block of this one, holds it; the text says which process.
    OSError : if the file cannot be opened for writing.
    """
    file, locks = _opened(path)
    try:
        with contextlib.suppress(OSError):  # a full disk: the text is for people
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield locks
    finally:
        if sys.platform == "win32":
            os.close(file)  # an open file cannot be removed there
            with contextlib.suppress(OSError):
                path.unlink()
        else:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is held: see `_opened`
            os.close(file)


def _opened(path: Path) -> tuple[int, bool]:
    """Open the file and take its lock; whether there are locks.

    The holder removes the file before it lets go, so a lock counts only if the file is still the one of that name.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(file)
            locks = True
        except OSError as error:
            if error.errno in _HELD:
                os.close(file)
                raise BlockingIOError(error.errno, _holder(path)) from None
            locks = False  # ENOLCK, ENOTSUP, …: some network file systems have none
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file, locks
        os.close(file)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    return "another process"
