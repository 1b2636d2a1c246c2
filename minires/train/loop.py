"""The training loop: epochs of steps. A run can stop after any step, and be resumed there."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minires import functional as F
from minires import optim, random, threads
from minires.autograd.tensor import Tensor
from minires.blas import single_threaded_blas
from minires.checkpoint import StrPath, write_whole
from minires.data import DataLoader, Dataset
from minires.device import synchronize
from minires.errors import install_command
from minires.train import curve, report, sources, start
from minires.train.directory import BEST, CURVE, LAST, METRICS, TEST, last_of, partial_files
from minires.train.evaluation import Evaluation, check_root, measure, right_answers, test_best
from minires.train.finite import check_finite
from minires.train.interrupt import DeferredInterrupt, Interrupted
from minires.train.progress import progress_bar
from minires.train.settings import Settings
from minires.train.sources import Description
from minires.train.state import Metrics, Run, to_json


@dataclass(frozen=True)
class Result:
    """The result of a finished run.

    Attributes
    ----------
    directory : holds best.safetensors, last.safetensors, metrics.jsonl and, with matplotlib, curve.png
    history : the metrics of each epoch, as in the lines of metrics.jsonl
    best : the metrics of the epoch with the highest accuracy on the images held out; its network is best.safetensors.
        An epoch with a finite loss on these images comes before any other
    test : for a folder with val/ and test/, the measures of the best network on the test images; else None
    """

    directory: Path
    history: tuple[Metrics, ...]
    best: Metrics
    test: Evaluation | None = None


def train(settings: Settings, resume: StrPath | bool = False) -> Result:
    """Train a network, and save its checkpoints and metrics in ``settings.directory``.

    Each epoch adds a line to metrics.jsonl: epoch (from 1), train_loss, train_accuracy (over the epoch, in training
    mode), test_loss (null if it is not finite), test_accuracy, lr (of the last step), seconds (of the training steps)
    and images_per_second. last.safetensors holds everything that resuming needs. best.safetensors holds the network
    with the highest test accuracy.

    If a folder has val/, these images choose the best network, and the metrics are val_loss and val_accuracy. If it
    has test/ too, the best network is measured on these images once, after the last epoch; test.json holds the result.

    Parameters
    ----------
    settings : the network, the data and the training
    resume : a run's directory or its last.safetensors to resume from; True for ``settings.directory``. The weights
        and metrics (except times) are those of an uninterrupted run, bit for bit, with the same device and kernels.
        With more epochs than before, the remaining ones follow the schedule of a run with the new number of epochs

    Raises
    ------
    SettingsError : if the directory is in use; if it is not empty and the run is not resumed (a run that was stopped
        before the last training step of its first epoch is replaced); when resuming, if a setting contradicts the
        run's.
    DataError, DeviceError : if the data or the device are missing.
    CheckpointError : if there is nothing to resume.
    TrainingError : if the training loss is no longer finite; the last checkpoint stays as it was. (A test loss that is
        not finite is recorded, and the run continues.)
    Interrupted : after Ctrl-C, SIGTERM or SIGHUP, when the step is finished and the position saved.

    The default generator and the number of threads are restored afterwards. Nothing is written before settings, data,
    device and network have been checked.
    """
    directory = settings.directory
    file = last_of(directory if resume is True else resume) if resume else None
    # The loss shows an overflow, and the error names the layer; NumPy's warnings say less.
    with (
        start.claimed(settings, file) as locks,
        _on_loan(settings),
        settings.using_kernels(),
        single_threaded_blas(),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        if file is not None:
            check_root(settings)
        parts = start.data(settings)
        images, (choosing, *last_word) = parts["train"], list(parts)[1:]
        run = Run.begin(settings, Description.of(images))
        saved = settings if file is None else start.resume(run, file, choosing)
        loader = sources.training_loader(settings, images)
        for partial in partial_files(directory):
            partial.unlink(missing_ok=True)
        if file is not None and file.parent.resolve() != directory.resolve() and (file.parent / BEST).exists():
            shutil.copyfile(file.parent / BEST, directory / BEST)
        report.begin(run, parts, len(loader), locks)
        start.say_changes(run, saved, len(loader))
        start.replace_missing_best(run)
        _epochs(run, loader, _held_out_loader(run, parts[choosing]), choosing)
        test = test_best(run, _held_out_loader(run, parts[last_word[0]])) if last_word else None
    best = run.position.best
    assert best is not None  # there is at least one epoch
    if gap := report.gap(run.position.history[-1], settings.epochs * len(loader), len(run.description.classes)):
        report.say(settings, gap)
    return Result(directory, tuple(run.position.history), best, test)


@contextlib.contextmanager
def _on_loan(settings: Settings) -> Iterator[None]:
    """Restore the default generator and the number of threads after the ``with`` block."""
    state, count = random.get_state(), threads.get_num_threads()
    threads.set_num_threads(settings.threads or count)
    try:
        yield
    finally:
        threads.set_num_threads(count)
        random.set_state(state)


def _held_out_loader(run: Run, images: Dataset) -> DataLoader:
    settings, normalize = run.settings, run.description.normalize
    return DataLoader(images, settings.batch_size, normalize=normalize, device=settings.device)


def _epochs(run: Run, loader: DataLoader, test_loader: DataLoader, split: str) -> None:
    """Train to the end of the last epoch, or to the first signal; ``split`` names the images of ``test_loader``."""
    position, settings = run.position, run.settings
    schedule = sources.schedule(settings, run.optimizer, len(loader))
    with DeferredInterrupt() as interrupt:
        try:
            run.save_last(settings.directory)
            _record(run)
            while position.epoch < settings.epochs and not interrupt.requested:
                _train_pass(run, loader, schedule, interrupt)
                run.save_last(settings.directory)  # a kill during the test does not cost the epoch
                title = f"epoch {position.epoch + 1}/{settings.epochs} {split}"
                found = None
                if not interrupt.requested:
                    found = measure(run.model, test_loader, settings, title, interrupt)
                if found is not None:
                    found = replace(found, split=split)
                    _close_epoch(run, found, schedule.rate(settings.lr, (position.epoch + 1) * len(loader) - 1))
            _draw_curve(run)
        except KeyboardInterrupt as error:  # a second signal, perhaps in the middle of a step: do not save this network
            number = signal.SIGINT if interrupt.signal is None else interrupt.signal
            text = "stopped at once, before anything was saved; begin again"
            if (settings.directory / LAST).exists():
                text = f"stopped at once; {report.how_to_go_on(settings.directory)}, from the last position saved"
            raise Interrupted(text, number) from error
    if interrupt.signal is not None:
        by = "" if interrupt.signal == signal.SIGINT else f" by {signal.Signals(interrupt.signal).name}"
        raise Interrupted(report.stopped(run, len(loader), f"interrupted{by}"), interrupt.signal)


def _close_epoch(run: Run, found: Evaluation, lr: float) -> None:
    """Save and print the metrics of an epoch; ``lr`` is the learning rate of its last step."""
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
    position.next_epoch(metrics)
    if position.best is metrics:
        (directory / TEST).unlink(missing_ok=True)  # it measured another network
        run.save_best(directory, metrics)
    run.save_last(directory)
    _record(run)
    report.say(run.settings, f"epoch {position.epoch}/{run.settings.epochs}  {report.epoch_line(metrics)}")
    if found.not_finite:
        report.say(run.settings, f"{found.split}: {found.not_finite}. The training loss is finite, and the run goes on")


def _train_pass(run: Run, loader: DataLoader, schedule: optim.Schedule, interrupt: DeferredInterrupt) -> None:
    """Train the remaining steps of an epoch, and advance ``run.position``."""
    settings, position, model = run.settings, run.position, run.model.train()
    title = f"epoch {position.epoch + 1}/{settings.epochs}"
    bar = progress_bar(settings, len(loader), title, position.batch)
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
            where = f"epoch {position.epoch + 1}, batch {position.batch + 1} of {len(loader)}"
            check_finite(value, model, x, where, settings.lr)
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
    """Update the weights. With a scaled loss, skip the update and lower the scale if a gradient is not finite."""
    run.optimizer.zero_grad()
    if run.scaler is None:
        loss.backward()
        run.optimizer.step()
    else:
        run.scaler.scale(loss).backward()
        run.scaler.step(run.optimizer)
        run.scaler.update()


def _record(run: Run) -> None:
    """Rewrite metrics.jsonl from the history, which holds all metrics."""
    lines = "".join(to_json(metrics) + "\n" for metrics in run.position.history)
    write_whole(run.settings.directory / METRICS, lines.encode())


def _draw_curve(run: Run) -> None:
    """Draw the training curve, or say that matplotlib is missing."""
    history, best = run.position.history, run.position.best
    of = f"{run.settings.model} on {run.settings.data}"
    if best is not None and not curve.draw(history, best, run.settings.directory / CURVE, of):
        report.say(run.settings, f"no curve.png: drawing it needs matplotlib: {install_command('plot')}")
