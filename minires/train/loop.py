"""The training loop: epochs of steps, each of which can be the last for today."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minires import functional as F
from minires import optim, random, threads
from minires.autograd.tensor import Tensor
from minires.blas import single_threaded_blas
from minires.checkpoint import StrPath, leftovers, write_whole
from minires.data import DataLoader, Dataset
from minires.device import synchronize
from minires.errors import CheckpointError, DataError, SettingsError, install_command
from minires.train import curve, sources
from minires.train.evaluation import TEST, Evaluation, measure, right_answers, test_best
from minires.train.finite import check_finite
from minires.train.interrupt import DeferredInterrupt, Interrupted
from minires.train.settings import Settings
from minires.train.sources import Description
from minires.train.state import BEST, LAST, Metrics, Run, read_origin, split_of

METRICS, CURVE = "metrics.jsonl", "curve.png"


@dataclass(frozen=True)
class Result:
    """What a finished run came to.

    Attributes
    ----------
    directory : holds best.safetensors, last.safetensors, metrics.jsonl and, with matplotlib, curve.png
    history : the metrics of each epoch, as the lines of metrics.jsonl
    best : those of the epoch with the highest accuracy on the images held out, whose network is best.safetensors
    test : of a folder with val/ and test/: the best network on the test images, which played no part in choosing it;
        else None
    """

    directory: Path
    history: tuple[Metrics, ...]
    best: Metrics
    test: Evaluation | None = None


def train(settings: Settings, resume: StrPath | bool = False) -> Result:
    """Train a network, and keep what comes of it in ``settings.directory``.

    After each epoch a line of metrics is added to metrics.jsonl: epoch (from 1), train_loss, train_accuracy (over
    the epoch, in training mode), test_loss, test_accuracy, lr (of the last step), seconds (of the training
    steps) and images_per_second. last.safetensors is all it takes to resume, best.safetensors the network with
    the highest test accuracy.

    Of a folder with val/ the network is chosen by those images, and metrics are val_loss and val_accuracy. If it has
    test/ too, the best network sees these images once, after the last epoch: test.json holds what it did.

    Parameters
    ----------
    settings : what to do
    resume : go on from a run's directory or its last.safetensors; True for ``settings.directory``. The weights
        and metrics (apart from times) are those of an uninterrupted run, bit for bit

    Raises
    ------
    SettingsError : if the directory holds something and the run is not resumed; when resuming, if a setting
        contradicts the run's.
    DataError, DeviceError : if the data or the device are not there.
    CheckpointError : if there is nothing to resume.
    TrainingError : if the loss is no longer finite; the last checkpoint stays as it was.
    Interrupted : after Ctrl-C, when the step is finished and the position saved.

    The default generator and the number of threads are afterwards as before. Nothing is written until
    settings, data, device and network were found to be in order.
    """
    directory = settings.directory
    file = _checkpoint_of(directory if resume is True else resume) if resume else None
    _check_free(directory, file)
    parts = _data(settings)
    images, (choosing, *last_word) = parts["train"], list(parts)[1:]
    # What overflows is found by the loss, and told with the layer's name: NumPy's own warnings say less.
    with _on_loan(settings), single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):
        run = Run.begin(settings, Description.of(images))
        if file is not None:
            _resume(run, file)
            _check_same_split(run, choosing)
        loader = sources.training_loader(settings, images)
        directory.mkdir(parents=True, exist_ok=True)
        for partial in _leftovers(directory):
            partial.unlink(missing_ok=True)
        if file is not None and file.parent.resolve() != directory.resolve() and (file.parent / BEST).exists():
            shutil.copyfile(file.parent / BEST, directory / BEST)
        for line in sources.in_words(settings, parts):
            _say(settings, line)
        _epochs(run, loader, _held_out_loader(run, parts[choosing]), choosing)
        test = test_best(run, _held_out_loader(run, parts[last_word[0]])) if last_word else None
        if test is not None:
            _say(
                settings,
                f"test accuracy {test.accuracy:.4f}, loss {test.loss:.4f} of the best network, on {test.images} images "
                "that played no part in choosing it",
            )
    best = run.position.best
    assert best is not None  # there is at least one epoch
    return Result(directory, tuple(run.position.history), best, test)


def last_of(resume: StrPath) -> Path:
    """The checkpoint to resume from, given a run's directory or the file itself."""
    path = Path(resume)
    return path / LAST if path.is_dir() else path


def _checkpoint_of(resume: StrPath) -> Path:
    file = last_of(resume)
    if not file.is_file():
        raise CheckpointError(f"there is nothing to resume: {file} is missing; expected a run's directory or {LAST}")
    return file


def _check_free(directory: Path, resumed: Path | None) -> None:
    """A run begins in an empty directory, and goes on in its own or an empty one."""
    if resumed is not None and resumed.parent.resolve() == directory.resolve():
        return
    if directory.exists() and (not directory.is_dir() or set(directory.iterdir()) - set(_leftovers(directory))):
        raise SettingsError(
            f"{directory} exists and is not empty; resume the run in it (--resume), or choose another directory (--out)"
        )


def _leftovers(directory: Path) -> list[Path]:
    """Half files of a run that was killed while it wrote them."""
    return [file for name in (LAST, BEST, METRICS, CURVE, TEST) for file in leftovers(directory / name)]


def _data(settings: Settings) -> dict[str, Dataset]:
    """The images of each split: "train", the one that chooses the best network, and one for the last word if any."""
    train, *held_out = sources.splits(settings)
    images = sources.dataset(settings, train)
    return {train: images, **{split: sources.dataset(settings, split, images.classes) for split in held_out}}


def _held_out_loader(run: Run, images: Dataset) -> DataLoader:
    settings, normalize = run.settings, run.description.normalize
    return DataLoader(images, settings.batch_size, normalize=normalize, device=settings.device)


def _check_same_split(run: Run, choosing: str) -> None:
    """Make sure that a resumed run goes on choosing its best network by the same images."""
    if run.position.history and (before := split_of(run.position.history[0])) != choosing:
        raise DataError(
            f"the run has chosen its best network by {before}/ so far, and would now by {choosing}/; bring the folders "
            "back as they were, or begin a new run"
        )


@contextlib.contextmanager
def _on_loan(settings: Settings) -> Iterator[None]:
    """Give the default generator and the number of threads back as they were."""
    state, count = random.get_state(), threads.get_num_threads()
    threads.set_num_threads(settings.threads or count)
    try:
        yield
    finally:
        threads.set_num_threads(count)
        random.set_state(state)


def _resume(run: Run, file: Path) -> None:
    saved, description, metadata = read_origin(file)
    run.settings.check_continues(saved)
    description.check_same(run.description)
    run.restore(file, metadata)


def _epochs(run: Run, loader: DataLoader, test_loader: DataLoader, split: str) -> None:
    """Train to the end of the last epoch, or to the first Ctrl-C; ``split`` is that of the test loader."""
    position, settings = run.position, run.settings
    schedule = sources.schedule(settings, run.optimizer, len(loader))
    with DeferredInterrupt() as interrupt:
        try:
            run.save_last(settings.directory)
            _record(run)
            while position.epoch < settings.epochs and not interrupt.requested:
                _train_pass(run, loader, schedule, interrupt)
                title = f"epoch {position.epoch + 1}/{settings.epochs} {split}"
                found = None
                if not interrupt.requested:
                    found = measure(run.model, test_loader, settings, title, interrupt, stop_if_not_finite=True)
                if found is not None:
                    found = replace(found, split=split)
                    _close_epoch(run, found, schedule.rate(settings.lr, (position.epoch + 1) * len(loader) - 1))
            if interrupt.requested:
                run.save_last(settings.directory)
            _draw_curve(run)
        except KeyboardInterrupt as error:  # a second Ctrl-C, at any point: this network is not to be saved
            if not (settings.directory / LAST).exists():
                raise Interrupted("stopped at once, before anything was saved; begin again") from error
            raise Interrupted(f"stopped at once; {_how_to_go_on(run)}, from the last position saved") from error
    if interrupt.requested:
        done = f"{position.epoch} of {settings.epochs} epochs and {position.batch} of {len(loader)} batches"
        raise Interrupted(f"interrupted after {done}, all saved; {_how_to_go_on(run)}")


def _close_epoch(run: Run, found: Evaluation, lr: float) -> None:
    """Save and tell what an epoch came to, whose last step was made with ``lr``."""
    position, directory = run.position, run.settings.directory
    metrics: Metrics = {
        "epoch": position.epoch + 1,
        "train_loss": position.loss / position.images,
        "train_accuracy": position.hits / position.images,
        f"{found.split}_loss": found.loss,
        f"{found.split}_accuracy": found.accuracy,
        "lr": lr,
        "seconds": round(position.seconds, 3),
        "images_per_second": round(position.images / position.seconds, 1),
    }
    if position.best is None or found.accuracy > position.best[f"{found.split}_accuracy"]:
        run.save_best(directory, metrics)
    position.next_epoch(metrics)
    run.save_last(directory)
    _record(run)
    _say(run.settings, f"epoch {position.epoch}/{run.settings.epochs}  {_line(metrics)}")


def _train_pass(run: Run, loader: DataLoader, schedule: optim.Schedule, interrupt: DeferredInterrupt) -> None:
    """The steps that an epoch still lacks; ``run.position`` goes along."""
    settings, position, model = run.settings, run.position, run.model.train()
    bar = tqdm(
        total=len(loader),
        initial=position.batch,
        desc=f"epoch {position.epoch + 1}/{settings.epochs}",
        leave=False,
        disable=True if settings.quiet else None,  # None: silent when not on a terminal
    )
    with bar, contextlib.closing(loader.tensors(position.epoch, start=position.batch)) as batches:
        began = time.perf_counter()
        for x, y in batches:
            if interrupt.requested:
                break
            step = position.epoch * len(loader) + position.batch
            for group in run.optimizer.param_groups:
                group["lr"] = schedule.rate(settings.lr, step)
            x = x.to(settings.dtype)
            logits = model(x).to("float32")
            loss = F.cross_entropy(logits, y, label_smoothing=settings.label_smoothing)
            value = float(loss.item())
            place = f"epoch {position.epoch + 1}, batch {position.batch + 1} of {len(loader)}"
            check_finite(value, model, x, place, settings.lr)
            _step(run, loss)
            position.batch += 1
            position.loss += value * len(y)
            position.hits += right_answers(logits, y)
            position.images += len(y)
            synchronize(settings.device)
            began, before = time.perf_counter(), began
            position.seconds += began - before
            bar.set_postfix(loss=f"{position.loss / position.images:.4f}", refresh=False)
            bar.update()


def _step(run: Run, loss: Tensor) -> None:
    """Move the weights, unless the loss is scaled and a gradient infinite or NaN: then the next scale is smaller."""
    run.optimizer.zero_grad()
    if run.scaler is None:
        loss.backward()
        run.optimizer.step()
    else:
        run.scaler.scale(loss).backward()
        run.scaler.step(run.optimizer)
        run.scaler.update()


def _record(run: Run) -> None:
    """Write metrics.jsonl anew from the history, the one place where the metrics are kept."""
    lines = "".join(json.dumps(metrics) + "\n" for metrics in run.position.history)
    write_whole(run.settings.directory / METRICS, lines.encode())


def _draw_curve(run: Run) -> None:
    """Draw the training curve, or say what is missing for it."""
    if run.position.history and not curve.draw(run.position.history, run.settings.directory / CURVE):
        _say(run.settings, f"no curve.png: drawing it needs matplotlib: {install_command('plot')}")


def _how_to_go_on(run: Run) -> str:
    return f"go on with: minires train --resume {run.settings.directory}"


def _line(metrics: Metrics) -> str:
    split = split_of(metrics)
    return (
        f"train loss {metrics['train_loss']:.4f} accuracy {metrics['train_accuracy']:.4f}  "
        f"{split} loss {metrics[f'{split}_loss']:.4f} accuracy {metrics[f'{split}_accuracy']:.4f}  "
        f"lr {metrics['lr']:.2g}  {metrics['seconds']:.1f} s  {metrics['images_per_second']:.0f} images/s"
    )


def _say(settings: Settings, text: str) -> None:
    if not settings.quiet:
        tqdm.write(text)


def resumed_settings(file: Path, **changes: object) -> Settings:
    """The settings of the run that wrote ``file``, with ``changes``; by default it stays in the file's directory."""
    saved = read_origin(file)[0]
    return replace(saved, **{"out": str(file.parent), "quiet": False, **changes})  # type: ignore[arg-type]
