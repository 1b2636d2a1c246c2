"""Run ``minires train``, ``evaluate``, ``predict`` and ``profile`` with the options of the command line."""

from __future__ import annotations

import argparse

from minires import models, nn, threads
from minires.errors import SettingsError
from minires.train import checks, evaluation, loop, prediction, start
from minires.train.directory import last_of
from minires.train.interrupt import Interrupted
from minires.train.profile import profile as measure
from minires.train.report import how_to_go_on
from minires.train.settings import Settings
from minires.train.state import split_of

_SIGPIPE = 13  # missing from the module signal on Windows


def train(options: argparse.Namespace) -> None:
    """Train a network, or resume a run, and print the result."""
    given = {name: value for name, value in vars(options).items() if name not in ("command", "resume")}
    if options.resume is None:
        settings, resume = Settings(**given), None
    else:
        if options.resume is True:
            options.resume = given.get("out") or Settings(**given).directory
        resume = last_of(options.resume)
        settings = start.resumed_settings(resume, **given)
    try:
        result = loop.train(settings, resume=resume or False)
    except BrokenPipeError as error:
        text = f"stopped, since nobody reads the output any more; {how_to_go_on(settings.directory)}"
        raise Interrupted(text, _SIGPIPE) from error
    if not settings.quiet:
        split = split_of(result.best)
        print(
            f"finished: {split} accuracy {result.history[-1][f'{split}_accuracy']:.4f} after {len(result.history)} "
            f"epochs, best {result.best[f'{split}_accuracy']:.4f} after epoch {result.best['epoch']}; "
            f"see {result.directory}"
        )


def evaluate(options: argparse.Namespace) -> None:
    """Print a network's accuracy and loss on test images, beside those that the run recorded."""
    found = evaluation.evaluate(
        options.checkpoint,
        options.data,
        options.root,
        options.batch_size,
        options.device,
        quiet=False,
        kernels=options.kernels,
    )
    print(f"accuracy {found.accuracy!r}  loss {found.loss!r}  on {found.images} {found.split} images")
    if found.not_finite:
        print(found.not_finite)
    if found.recorded is not None:
        split = split_of(found.recorded)
        accuracy, loss = found.recorded[f"{split}_accuracy"], found.recorded[f"{split}_loss"]
        on_other = f" on the {split} images" if split != found.split else ""
        print(f"accuracy {accuracy!r}  loss {loss!r}  recorded{on_other} after epoch {found.recorded['epoch']}")


def predict(options: argparse.Namespace) -> None:
    """Print the most probable classes of images."""
    found = prediction.predict(options.checkpoint, options.images, options.device, kernels=options.kernels)
    for image, answers in zip(options.images, found, strict=True):
        print(image)
        for name, probability in answers:
            print(f"  {100 * probability:6.2f} %  {name}")


def profile(options: argparse.Namespace, shape: tuple[int, ...]) -> None:
    """Print which kernels take the time of a network, on images of ``shape`` (C, H, W)."""
    checks.integer("batch_size", options.batch_size)
    checks.integer("steps", options.steps)
    checks.threads(options.threads)
    checks.kernels(options.kernels, "cpu")
    if options.fold and not options.inference:
        raise SettingsError(
            "`fold` is for `inference`: batch norm is folded by its running statistics; give both, or neither"
        )
    if options.threads is not None:
        threads.set_num_threads(options.threads)
    model = getattr(models, options.model)(in_channels=shape[0])
    model = nn.fold_batch_norm(model.eval()) if options.fold else model
    phase = "inference" if options.inference else "training"
    print(measure(model, (options.batch_size, *shape), phase=phase, steps=options.steps, kernels=options.kernels))
