"""Lock a file for one process. The operating system releases the lock when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

# The errors that mean "held by another": flock raises the first two, Windows the others, NFS any of them.
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # lock a byte beyond the text, so that others can read the text
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(file: int) -> None:
        # flock, not lockf: flock belongs to the file descriptor, so that two threads exclude each other, too.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Create a file, hold a lock on it inside the ``with`` block, and remove it afterwards.

    A process that is killed leaves the file, but the lock is released.

    Yields
    ------
    Whether the file system supports locks. If it does not, the block runs without one.

    Raises
    ------
    BlockingIOError : if another process, or another block of this process, holds the lock; the text says which.
    OSError : if the file cannot be opened for writing.
    """
    file, locks = _opened(path)
    try:
        with contextlib.suppress(OSError):  # a full disk; the text is only for error messages
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield locks
    finally:
        if sys.platform == "win32":
            os.close(file)  # Windows cannot remove an open file
            with contextlib.suppress(OSError):
                path.unlink()
        else:
            with contextlib.suppress(OSError):
                path.unlink()  # before the lock is released: see `_opened`
            os.close(file)


def _opened(path: Path) -> tuple[int, bool]:
    """Return the open and locked file, and whether the file system supports locks.

    The holder removes the file before it releases the lock. So a lock counts only if ``path`` still names the file
    that was locked.
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
            locks = False  # ENOLCK, ENOTSUP, …: some network file systems have no locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file, locks
        os.close(file)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    return "another process"
