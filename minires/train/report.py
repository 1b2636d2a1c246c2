"""The text that a run prints: its settings, the metrics of each epoch, and how to read them."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from minires import kernels, threads
from minires.data import Dataset
from minires.train import sources
from minires.train.curve import CAPTION
from minires.train.settings import Settings
from minires.train.state import Metrics, Run, split_of

_FAR = 2.0  # a loss above this multiple is far above
_MOMENTUM = 0.1  # the default of batch norm
_UNSETTLED = 0.05  # a larger share of the initial running statistics is too large


def say(settings: Settings, text: str) -> None:
    """Print a line above the progress bar, unless the run is quiet or stdout is closed."""
    if not settings.quiet and sys.stdout is not None:
        tqdm.write(text)


def begin(run: Run, parts: Mapping[str, Dataset], steps: int, locks: bool) -> None:
    """Print the network, data, steps, kernels and directory of a run before it trains.

    Parameters
    ----------
    run : a new or a resumed run
    parts : the data sets by name, with the training images as "train"
    steps : the number of steps in an epoch
    locks : whether a lock excludes other runs from the directory
    """
    settings, position = run.settings, run.position
    parameters = [p.array for p in run.model.parameters()]
    images = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    size = "×".join(map(str, run.description.shape))
    each, count = settings.batch_size, len(parts["train"])
    lines = {
        "model": f"{settings.model}, {sum(p.size for p in parameters):,} parameters in {settings.dtype}",
        "data": f"{settings.data}: {images} images of {size}, {len(run.description.classes)} classes",
        "steps": f"{steps} of {min(each, count)} images in each of {settings.epochs} epochs",
        "kernels": f"{kernels.choose(parameters[0]).name} on {settings.device}"
        + (f", {threads.get_num_threads()} threads" if settings.device == "cpu" else ""),
        "run": f"{settings.directory}",
    }
    if position.epoch or position.batch:
        lines["run"] += f", resumed after {_done(run, steps)}"
    for name, text in lines.items():
        say(settings, f"{name:8} {text}")
    for line in sources.in_words(settings, parts):
        say(settings, line)
    if not locks:
        say(settings, "the run's file system has no locks: start no other run in this directory")


def changes(now: Settings, saved: Settings, before: float, after: float) -> list[str]:
    """Return, line by line, what a resumed run does differently from now on.

    Parameters
    ----------
    now, saved : the new settings of the run, and those with which it was saved
    before, after : the learning rate of the last step and of the next
    """
    lines = []
    if now.epochs != saved.epochs:
        rate = (
            f"lr stays {after:.3g}" if before == after else f"lr was {before:.3g} and is {after:.3g} in the next step"
        )
        lines.append(
            f"epochs are {now.epochs} and were {saved.epochs}: from here on the schedule {now.schedule} is that of a "
            f"run of {now.epochs} epochs, in which {rate}"
        )
    for name in ("root", "device", "kernels"):
        mine, theirs = getattr(now, name), getattr(saved, name)
        if mine != theirs:
            bits = "" if name == "root" else "; the results are no longer bit for bit those of a run without the change"
            lines.append(f"{name} is {mine or 'that of the device'} and was {theirs or 'that of the device'}{bits}")
    return lines


def stopped(run: Run, steps: int, how: str) -> str:
    """Return how far a stopped run came, and how to resume it."""
    return f"{how} after {_done(run, steps)}, all saved; {how_to_go_on(run.settings.directory)}"


def how_to_go_on(directory: Path) -> str:
    """Return the command that resumes a run."""
    return f"go on with: minires train --resume {shlex.quote(str(directory))}"


def _done(run: Run, steps: int) -> str:
    return f"{run.position.epoch} of {run.settings.epochs} epochs and {run.position.batch} of {steps} batches"


def epoch_line(metrics: Metrics) -> str:
    """Return the metrics of an epoch as a line."""
    split = split_of(metrics)
    return (
        f"train loss {metrics['train_loss']:.4f} accuracy {metrics['train_accuracy']:.4f}  "
        f"{split} loss {metrics[f'{split}_loss']:.4f} accuracy {metrics[f'{split}_accuracy']:.4f}  "
        f"lr {metrics['lr']:.2g}  {metrics['seconds']:.1f} s  {metrics['images_per_second']:.0f} images/s"
    )


def gap(last: Metrics, steps: int, classes: int) -> str:
    """Explain a test (or validation) loss that is far above the training loss; return "" if it is not.

    Parameters
    ----------
    last : the metrics of the last epoch
    steps : the steps of the whole run; the share (1 − momentum) ** steps of the initial running statistics remains
    classes : the number of classes; guessing has the loss log(classes)
    """
    split = split_of(last)
    train, test = last["train_loss"], last[f"{split}_loss"]
    if not math.isfinite(test) or test <= _FAR * train:
        return ""
    left = (1 - _MOMENTUM) ** steps
    if train > _FAR * math.log(classes):
        cause = (
            f"The training loss itself is far above log({classes}) = {math.log(classes):.2f}, that of guessing: the "
            "weights have run away; begin again with a lower learning rate"
        )
    elif left > _UNSETTLED:
        cause = (
            f"After only {steps} steps {100 * left:.0f} % of the running statistics of batch norm, with which the test "
            "is made, are still the initial ones: train longer, or in smaller batches"
        )
    elif last[f"{split}_accuracy"] < last["train_accuracy"]:
        cause = (
            "The network knows the training images better than others (overfitting): more images, augmentation or "
            "weight decay help; best.safetensors is the network of the best epoch"
        )
    else:
        cause = "The accuracy is no lower: the network is sure of itself where it errs; label smoothing helps"
    return f"the {split} loss is far above the training loss ({CAPTION.format(split=split)}). {cause}"
