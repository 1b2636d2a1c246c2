import errno
import os
import subprocess
import sys

import pytest

from minires.train import lock
from minires.train.lock import locked

HOLD = """
import runpy, sys
from pathlib import Path
with runpy.run_path(sys.argv[1])["locked"](Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_blocks_exclude_each_other_and_the_second_says_who_is_first(tmp_path):
    with locked(tmp_path / "lock") as locks:
        assert locks
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on "), locked(tmp_path / "lock"):
            pass
    with locked(tmp_path / "lock"):
        pass
    assert not any(tmp_path.iterdir())


def test_a_process_excludes_others_until_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLD, lock.__file__, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"process {process.pid} on "), locked(tmp_path / "lock"):
            pass
        process.kill()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock") as locks:
        assert locks


def test_a_lock_on_a_file_that_its_holder_has_just_removed_is_taken_anew(tmp_path, monkeypatch):
    path, real = tmp_path / "lock", lock._take
    files = []

    def take(file):
        files.append(file)
        if len(files) == 1:
            path.unlink()  # the holder ends between the opening and the lock
        real(file)

    monkeypatch.setattr(lock, "_take", take)
    with locked(path):
        assert len(files) == 2
        with pytest.raises(BlockingIOError), locked(path):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_the_block_runs_and_knows(tmp_path, monkeypatch, number):
    def take(file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock, "_take", take)
    with locked(tmp_path / "lock") as locks:
        assert not locks


def test_a_full_disk_is_no_matter(tmp_path, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with (
        locked(tmp_path / "lock"),
        pytest.raises(BlockingIOError, match="another process"),
        locked(tmp_path / "lock"),
    ):
        pass
