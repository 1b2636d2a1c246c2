"""The directory of a run: claim it, list its contents, find its networks."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from minires.checkpoint import AnyPath, leftovers, load_metadata
from minires.errors import CheckpointError, SettingsError
from minires.train.lock import locked

LAST, BEST, METRICS, CURVE = "last.safetensors", "best.safetensors", "metrics.jsonl", "curve.png"
TEST = "test.json"
LOCK = ".lock"


@contextlib.contextmanager
def locked_directory(directory: Path) -> Iterator[bool]:
    """Reserve a directory for this run inside the ``with`` block; create it if it is missing.

    If this created the directory and nothing was saved in it, it is removed again. A run that is killed does not
    block the next one. Reading needs no claim: files are replaced as a whole, never half written.

    Yields
    ------
    Whether the claim excludes other runs. It does not on the few network file systems without locks.

    Raises
    ------
    SettingsError : if another run uses the directory, or if it is not writeable.
    """
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            locks = stack.enter_context(locked(directory / LOCK))
        except BlockingIOError as error:
            raise SettingsError(
                f"{directory} is in use: {error.strerror} trains there; wait for its end, or choose another (`out`)"
            ) from error
        except OSError as error:
            raise SettingsError(
                f"cannot write in {directory}: {error.strerror or error}; choose another directory (`out`)"
            ) from error
        yield locks


def _remove_empty(made: list[Path]) -> None:
    with contextlib.suppress(OSError):  # not empty; then its parents are not empty either
        for path in made:
            path.rmdir()


def contents(directory: Path) -> set[str]:
    """Return the names in a directory without the remains of a killed run; empty if there is no directory."""
    if not directory.exists():
        return set()
    return {path.name for path in directory.iterdir()} - {path.name for path in partial_files(directory)} - {LOCK}


def partial_files(directory: Path) -> list[Path]:
    """Return the incomplete files that a killed run left."""
    return [file for name in (LAST, BEST, METRICS, CURVE, TEST) for file in leftovers(directory / name)]


def last_of(resume: AnyPath) -> Path:
    """Return the checkpoint to resume from, given a run's directory or the file itself.

    Raises
    ------
    CheckpointError : if it is missing.
    """
    path = _as_path(resume)
    file = path / LAST if path.is_dir() else path
    if file.is_file():
        return file
    raise CheckpointError(
        f"there is nothing to resume: {file} is missing; expected a run's directory or its {LAST}. "
        "(A new run begins without `resume`)"
    )


def _as_path(run: AnyPath) -> Path:
    """Return the argument that names a run as a path.

    Raises
    ------
    TypeError : if it is not a path.
    """
    try:
        return Path(os.fsdecode(run))
    except TypeError:
        raise TypeError(f"a run is named by the path of its directory or of its file, got {run!r}") from None


def network_of(run: AnyPath) -> Path:
    """Return the file of a run's network: the best network of a directory, or the given file itself.

    Raises
    ------
    CheckpointError : if it is missing.
    """
    path = _as_path(run)
    if not path.is_dir():
        if not path.exists():
            raise CheckpointError(f"{path} is missing; expected a run's directory, or its {BEST} or {LAST}")
        return path
    if (path / BEST).is_file():
        return path / BEST
    if _has_made_an_epoch(path / LAST):
        raise CheckpointError(f"{path / BEST} is missing: name {path / LAST} for the network as last saved")
    if (path / LAST).is_file():
        raise CheckpointError(
            f"the run in {path} has not finished its first epoch: there is no {BEST} yet; its network as last saved "
            f"is {path / LAST}"
        )
    raise CheckpointError(f"there is no run in {path}: neither {BEST} nor {LAST}; expected a run's directory")


def _has_made_an_epoch(last: Path) -> bool:
    """Return whether the run that saved ``last`` had finished its first epoch; False for a foreign file."""
    try:
        return bool(json.loads(load_metadata(last)["position"])["history"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return False
