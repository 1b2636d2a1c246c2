"""Measure a network's accuracy and loss on test images."""

from __future__ import annotations

import dataclasses
import math
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minires import functional as F
from minires.autograd.op import no_grad
from minires.autograd.tensor import Tensor
from minires.blas import single_threaded_blas
from minires.checkpoint import StrPath, write_whole
from minires.data import DataLoader, ImageFolder
from minires.device import on_device_of
from minires.errors import DataError
from minires.nn import Module
from minires.train import checks, report, sources
from minires.train.directory import BEST, TEST
from minires.train.finite import blame
from minires.train.interrupt import DeferredInterrupt
from minires.train.loading import load_network
from minires.train.progress import progress_bar
from minires.train.settings import Settings
from minires.train.state import Metrics, Run, to_json


@dataclass(frozen=True)
class Evaluation:
    """The loss and accuracy of a network on a test set.

    Attributes
    ----------
    loss : the mean cross-entropy, without label smoothing; NaN if the loss of a batch is not finite
    accuracy : the share of images whose class has the largest logit
    images : the number of images
    recorded : the metrics saved in the checkpoint; None if it was saved in the middle of an epoch
    split : "test", or "val" if a folder has no test images
    not_finite : a sentence that says where the first loss that is not finite came from; "" if all are finite
    """

    loss: float
    accuracy: float
    images: int
    recorded: Metrics | None = None
    split: str = "test"
    not_finite: str = ""


def evaluate(
    checkpoint: StrPath,
    data: str | None = None,
    root: StrPath | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    quiet: bool = True,
    kernels: str | None = None,
) -> Evaluation:
    """Return a network's loss and accuracy on a test set, in the run's dtype.

    Parameters
    ----------
    checkpoint : best.safetensors or last.safetensors of a run, or its directory, which stands for the best
    data, root : another data set with the same classes, or a new directory of the run's data; by default the run's
    batch_size : by default the run's, which gives the recorded loss to the last digit. Another batch size rounds
        the sums in another order
    device : where to compute
    quiet : show no progress
    kernels : "reference", "fast" or "cuda"; by default the run's, if the device has them

    Raises
    ------
    CheckpointError : if it is not the checkpoint of a training run.
    SettingsError, DataError, DeviceError : if the data or the device are missing.
    """
    model, trained, description, recorded = load_network(checkpoint, device)
    if kernels is None and trained.kernels is not None and checks.kernels_suit(trained.kernels, device):
        kernels = trained.kernels
    changes: dict[str, Any] = {"device": device, "quiet": quiet, "kernels": kernels}
    if data is not None and data != trained.data:
        changes.update(data=data, root=None, size=description.shape[-1] if data == "folder" else None)
    changes.update({name: value for name, value in (("root", root), ("batch_size", batch_size)) if value is not None})
    settings = dataclasses.replace(trained, **changes)
    check_root(settings)
    split = sources.held_out(settings).names[-1]
    images = sources.dataset(settings, split, description.classes)
    if images.classes != description.classes:
        raise DataError(
            f"the test set has the classes {', '.join(images.classes)}; the network learnt "
            f"{', '.join(description.classes)}"
        )
    if isinstance(images, ImageFolder) and images.left_out and not quiet:
        tqdm.write(f"{split}: {images.summary()}", file=sys.stderr)
    loader = DataLoader(images, settings.batch_size, normalize=description.normalize, device=settings.device)
    with single_threaded_blas(), settings.using_kernels(), np.errstate(over="ignore", invalid="ignore"):
        found = measure(model, loader, settings, split)
    assert found is not None  # nothing interrupts it
    return dataclasses.replace(found, recorded=recorded, split=split)


def check_root(settings: Settings) -> None:
    """Raise DataError if the directory of a run's data is missing; the text says what to do."""
    if settings.root is not None and not Path(settings.root).exists():
        raise DataError(
            f"there is no directory {settings.root}, where the run's data should be; say where they are by `root`"
        )


def test_best(run: Run, loader: DataLoader) -> Evaluation:
    """Measure the best network of a finished run on images that did not choose it, and write test.json."""
    directory = run.settings.directory
    model, _, _, best = load_network(directory / BEST, run.settings.device)
    found = measure(model, loader, run.settings, "test of the best")
    assert found is not None  # nothing interrupts it
    assert best is not None  # the best network is saved at the end of an epoch
    figures = {"epoch": best["epoch"], "test_loss": found.loss, "test_accuracy": found.accuracy, "images": found.images}
    write_whole(directory / TEST, (to_json(figures) + "\n").encode())
    report.say(
        run.settings,
        f"test accuracy {found.accuracy:.4f}, loss {found.loss:.4f} of the best network (epoch {best['epoch']}), on "
        f"{found.images} images that played no part in choosing it",
    )
    return found


def measure(
    model: Module, loader: DataLoader, settings: Settings, title: str, interrupt: DeferredInterrupt | None = None
) -> Evaluation | None:
    """Return loss and accuracy of one pass over test images, in evaluation mode; None if interrupted."""
    model.eval()
    loss, hits, not_finite = 0.0, 0, ""
    bar = progress_bar(settings, len(loader), title)
    with no_grad(), bar, closing(loader.tensors(0)) as batches:
        for number, (x, labels) in enumerate(batches, 1):
            if interrupt is not None and interrupt.requested:
                return None
            x = x.to(settings.dtype)
            logits = model(x).to("float32")
            value = float(F.cross_entropy(logits, labels).item())
            if not (math.isfinite(value) or not_finite):
                not_finite = f"the loss of batch {number} of {len(loader)} is {value}: {blame(model, x)}"
            loss += value * len(labels)
            hits += right_answers(logits, labels)
            bar.update()
    count = len(loader.indices)
    return Evaluation(math.nan if not_finite else loss / count, hits / count, count, not_finite=not_finite)


def right_answers(logits: Tensor, labels: Tensor) -> int:
    """Count the rows whose largest logit is that of the label."""
    with on_device_of(logits.array):
        return int((logits.array.argmax(axis=1) == labels.array).sum())
