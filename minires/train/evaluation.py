"""A network's accuracy and loss on test images."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from minires.train import sources
from minires.train.finite import check_finite
from minires.train.interrupt import DeferredInterrupt
from minires.train.settings import Settings
from minires.train.state import BEST, Metrics, Run, load_network

TEST = "test.json"


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a test set.

    Attributes
    ----------
    loss : the mean cross-entropy, without label smoothing
    accuracy : the share of images whose class has the largest logit
    images : how many there were
    recorded : the metrics with which the checkpoint was saved, None if in the middle of an epoch
    split : what the images are: "test", or "val" where a folder has no test images
    """

    loss: float
    accuracy: float
    images: int
    recorded: Metrics | None = None
    split: str = "test"


def evaluate(
    checkpoint: StrPath,
    data: str | None = None,
    root: StrPath | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    quiet: bool = True,
) -> Evaluation:
    """Ask the network of a checkpoint about a test set, in the run's dtype.

    Parameters
    ----------
    checkpoint : best.safetensors or last.safetensors of a run, or its directory, which stands for the best
    data, root : another data set with the same classes; by default the run's own
    batch_size : by default the run's, which gives the recorded loss to the last digit; with another one, the
        sums are rounded in another order
    device : where to compute
    quiet : show no progress

    Raises
    ------
    CheckpointError : if it is not the checkpoint of a training run.
    SettingsError, DataError, DeviceError : if the data or the device are not there.
    """
    model, trained, description, recorded = load_network(Path(checkpoint), device)
    changes: dict[str, Any] = {"device": device, "quiet": quiet}
    if data is not None and data != trained.data:
        changes.update(data=data, root=None, size=description.shape[-1] if data == "folder" else None)
    changes.update({name: value for name, value in (("root", root), ("batch_size", batch_size)) if value is not None})
    settings = dataclasses.replace(trained, **changes)
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
    with single_threaded_blas():
        found = measure(model, loader, settings, split)
    assert found is not None  # nobody can interrupt it
    return dataclasses.replace(found, recorded=recorded, split=split)


def test_best(run: Run, loader: DataLoader) -> Evaluation:
    """Ask the best network of a finished run about images that nothing was chosen by, and write test.json."""
    model, _, _, best = load_network(run.settings.directory / BEST, run.settings.device)
    found = measure(model, loader, run.settings, "test of the best")
    assert found is not None  # nobody can interrupt it
    assert best is not None  # the best network is saved at the end of an epoch
    figures = {"epoch": best["epoch"], "test_loss": found.loss, "test_accuracy": found.accuracy, "images": found.images}
    write_whole(run.settings.directory / TEST, (json.dumps(figures) + "\n").encode())
    return found


def measure(
    model: Module,
    loader: DataLoader,
    settings: Settings,
    title: str,
    interrupt: DeferredInterrupt | None = None,
    stop_if_not_finite: bool = False,
) -> Evaluation | None:
    """One pass over test images in evaluation mode; None when interrupted.

    Raises
    ------
    TrainingError : if asked to stop, for a loss that is not finite.
    """
    model.eval()
    loss, hits = 0.0, 0
    bar = tqdm(total=len(loader), desc=title, leave=False, disable=True if settings.quiet else None)
    with no_grad(), bar, closing(loader.tensors(0)) as batches:
        for number, (x, labels) in enumerate(batches, 1):
            if interrupt is not None and interrupt.requested:
                return None
            x = x.to(settings.dtype)
            logits = model(x).to("float32")
            value = float(F.cross_entropy(logits, labels).item())
            if stop_if_not_finite:
                check_finite(value, model, x, f"{title}, batch {number} of {len(loader)}", settings.lr)
            loss += value * len(labels)
            hits += right_answers(logits, labels)
            bar.update()
    count = len(loader.indices)
    return Evaluation(loss / count, hits / count, count)


def right_answers(logits: Tensor, labels: Tensor) -> int:
    """How many rows have their largest logit at their label."""
    with on_device_of(logits.array):
        return int((logits.array.argmax(axis=1) == labels.array).sum())
