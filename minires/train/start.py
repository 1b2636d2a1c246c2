"""Begin or resume a run: claim its directory, read its data, restore its last checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from minires.data import Dataset
from minires.errors import CheckpointError, DataError, SettingsError
from minires.train import report, sources
from minires.train.directory import BEST, LAST, METRICS, TEST, contents, locked_directory
from minires.train.settings import Settings
from minires.train.state import Position, Run, read_origin, split_of


@contextlib.contextmanager
def claimed(settings: Settings, resumed: Path | None) -> Iterator[bool]:
    """Reserve the directory of a run inside the ``with`` block, and check that the run may use it.

    A run may use an empty directory, and a resumed run its own. A new run also replaces a run that was stopped in
    its first epoch, and prints that. The contents are checked under the lock, so no other run can change them. A
    directory that holds no run is refused before that, so nothing is written in it, not even the lock.

    Parameters
    ----------
    settings : the settings of the run
    resumed : the checkpoint to resume from; None for a new run

    Yields
    ------
    Whether the claim excludes other runs, as for `locked_directory`.

    Raises
    ------
    SettingsError : if another run uses the directory, if it is not writeable, or if the run may not use it.
    """
    directory = settings.directory
    if directory.exists() and not directory.is_dir():
        raise SettingsError(f"{directory} is a file; choose a directory (`out`)")
    own = resumed is not None and resumed.parent.resolve() == directory.resolve()
    if not own and (there := _contents(directory)) and LAST not in there:
        raise _not_empty(directory, there)
    with locked_directory(directory) as locks:
        if not own:
            _check_free(settings, resumed is None)
        yield locks


def _contents(directory: Path) -> set[str]:
    """Return `contents`, or raise SettingsError if the directory cannot be read."""
    try:
        return contents(directory)
    except OSError as error:
        raise SettingsError(
            f"cannot read {directory}: {error.strerror or error}; choose another directory (`out`)"
        ) from error


def _check_free(settings: Settings, new: bool) -> None:
    """Raise SettingsError if the directory holds anything but a run that a ``new`` run may replace."""
    directory = settings.directory
    there = _contents(directory)
    if not there:
        return
    if new and there <= {LAST, METRICS} and LAST in there:
        position = _in_first_epoch(directory / LAST)
        if position is not None:
            report.say(settings, f"replacing a run that was stopped in its first epoch, after {position.batch} batches")
            return
    raise _not_empty(directory, there)


def _not_empty(directory: Path, there: set[str]) -> SettingsError:
    begun = f"; resume the run in it (`resume` {directory}), or" if LAST in there else " and holds no run to resume;"
    return SettingsError(f"{directory} exists and is not empty{begun} choose another directory (`out`)")


def _in_first_epoch(file: Path) -> Position | None:
    """Return the position of a run that is still in its first epoch; None for a later one or a foreign file."""
    try:
        settings, description, metadata = read_origin(file)
        position = Position.from_json(metadata["position"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None
    steps = max(1, description.images // settings.batch_size)
    return position if position.epoch == 0 and position.batch < steps else None


def data(settings: Settings) -> dict[str, Dataset]:
    """Return the images of each split of a run, in the order of `sources.splits`."""
    train, *held_out = sources.splits(settings)
    images = sources.dataset(settings, train)
    return {train: images, **{split: sources.dataset(settings, split, images.classes) for split in held_out}}


def resume(run: Run, file: Path, choosing: str) -> Settings:
    """Restore a run from a checkpoint, and return the settings that the checkpoint was saved with.

    Parameters
    ----------
    run : the run to restore
    file : its checkpoint
    choosing : the split that chooses the best network

    Raises
    ------
    SettingsError, DataError : if the settings, the data or ``choosing`` differ from those of the saved run.
    CheckpointError : if the best network that the run has saved is damaged.
    """
    saved, description, metadata = read_origin(file)
    if (file.parent / BEST).exists():
        try:
            read_origin(file.parent / BEST)
        except CheckpointError as error:
            raise CheckpointError(f"{error}. Without it (remove it) the run goes on, too") from error
    run.settings.check_continues(saved)
    description.check_same(run.description)
    run.restore(file, metadata)
    if run.position.history and (before := split_of(run.position.history[0])) != choosing:
        raise DataError(
            f"the run has chosen its best network by {before}/ so far, and would now by {choosing}/; bring the folders "
            "back as they were, or begin a new run"
        )
    return saved


def replace_missing_best(run: Run) -> None:
    """If the best network of a resumed run is missing, choose it from the epochs that follow.

    A run that stopped at the end of an epoch still has the network of that epoch, so this epoch counts as well.
    """
    position, directory = run.position, run.settings.directory
    if not position.history or (directory / BEST).exists():
        return
    position.best_from = position.epoch if position.batch else position.epoch - 1
    first = position.best_from + 1
    report.say(run.settings, f"{directory / BEST} is missing: the best network is chosen from epoch {first} on")
    (directory / TEST).unlink(missing_ok=True)  # it measured another network
    if not position.batch:
        run.save_best(directory, position.history[-1])


def say_changes(run: Run, saved: Settings, steps: int) -> None:
    """Print what a resumed run does differently from now on."""
    next_step = run.position.epoch * steps + run.position.batch
    if next_step == run.settings.epochs * steps:
        return
    before = _rate(run, saved, steps, max(0, next_step - 1))
    after = _rate(run, run.settings, steps, next_step)
    for line in report.changes(run.settings, saved, before, after):
        report.say(run.settings, line)


def _rate(run: Run, settings: Settings, steps: int, step: int) -> float:
    """Return the learning rate that the schedule of ``settings`` gives to a step."""
    return sources.schedule(settings, sources.optimizer(settings, run.model), steps).rate(settings.lr, step)


def resumed_settings(file: Path, **changes: Any) -> Settings:
    """Return the settings of the run that wrote ``file``, with ``changes``; ``out`` is the file's directory."""
    return replace(read_origin(file)[0], **{"out": str(file.parent), "quiet": False, **changes})
