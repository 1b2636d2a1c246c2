"""What a training run is told: one frozen record, kept as JSON in each of its checkpoints."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minires import models
from minires.device import canonical
from minires.errors import CheckpointError, SettingsError

DATA = ("fashion-mnist-mini", "fashion-mnist", "cifar10", "cifar100", "folder")
SCHEDULES = ("constant", "multistep", "cosine", "one-cycle")
AUGMENTS = ("none", "flip", "crop-flip")
DTYPES = ("float32", "float16")
# What a resumed run may change: where things are and how fast they go, but not what is computed.
FREE = ("root", "device", "out", "threads", "quiet")
_MOST_THREADS = 1024  # more than any machine here profits from, fewer than any refuses
_IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a training run computes, with the values that ``make train`` uses.

    Parameters
    ----------
    model : the name of a network in `minires.models`
    data : "fashion-mnist-mini" (embedded), "fashion-mnist" (IDX files), "cifar10", "cifar100" (binary version),
        or "folder": images in ``root``/train/<class>/ and ``root``/test/<class>/ (or val/)
    root : the directory of the data; none for the embedded images
    size : H = W to which the images of a folder are brought; None for 224, or 32 for a CIFAR network
    epochs, batch_size : passes over the training images, and images in a step; those left over, fewer than a step's,
        wait for the next epoch's shuffling
    lr : the largest learning rate of the schedule
    schedule : "constant"; "multistep": a tenth from each of the ``milestones`` on; "cosine": down to 0;
        "one-cycle": up from lr / 25, then down to nearly 0. The last two change it at every step
    milestones : epochs done before each drop; None for a half and three quarters of all, as He et al. 2015
    momentum, nesterov, weight_decay : of SGD; the decay is on all parameters
    label_smoothing : of the training loss; the test loss has none
    augment : "none", "flip" (left to right, every other image), or "crop-flip" (also a random crop, padding 4)
    seed : of initial weights, order, augmentation and dropout
    device : "cpu", "cuda" or "cuda:<index>"
    dtype : "float32", or "float16": of weights, activations and gradients. The loss, which is scaled then, is in
        float32, and so are the optimizer's masters. For CUDA; on the CPU float16 is correct and slow
    out : the directory of the run; None for ``runs/<data>-<model>-seed<seed>``
    threads : on which the kernels run; None for all CPUs. It changes no result
    quiet : print nothing

    Raises
    ------
    SettingsError : if a value is not as above; the text names it.
    DeviceError : if ``device`` is not the name of a device.
    """

    model: str = "resnet20"
    data: str = "fashion-mnist-mini"
    root: str | None = None
    size: int | None = None
    epochs: int = 8
    batch_size: int = 128
    lr: float = 0.2
    schedule: str = "one-cycle"
    milestones: tuple[int, ...] | None = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    augment: str = "flip"
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    out: str | None = None
    threads: int | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        self._tidy()
        _one_of("model", self.model, model_names())
        _one_of("data", self.data, DATA)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("augment", self.augment, AUGMENTS)
        _one_of("dtype", self.dtype, DTYPES)
        for name in ("epochs", "batch_size", "size", "threads"):
            _integer(name, getattr(self, name), 1, optional=name in ("size", "threads"))
        _integer("seed", self.seed, 0)
        if self.seed >= 2**64:
            raise SettingsError(f"seed must be less than 2**64, got {self.seed}")
        check_threads(self.threads)
        _number("lr", self.lr, positive=True)
        _number("weight_decay", self.weight_decay)
        _number("momentum", self.momentum, below=1)
        _number("label_smoothing", self.label_smoothing, below=1)
        if self.nesterov and not self.momentum:
            raise SettingsError("nesterov needs a momentum greater than 0, got momentum 0")
        self._check_milestones()
        self._check_source()
        canonical(self.device)

    def _tidy(self) -> None:
        """Give each value the type that it has after a journey through JSON."""
        for name in ("root", "out"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, str(getattr(self, name)))
        if isinstance(self.milestones, list):
            object.__setattr__(self, "milestones", tuple(self.milestones))

    def _check_milestones(self) -> None:
        if self.milestones is None:
            return
        if self.schedule != "multistep":
            raise SettingsError(f"milestones belong to the schedule multistep, not to {self.schedule}")
        for milestone in self.milestones:
            _integer("milestones", milestone, 1)
            if milestone >= self.epochs:
                raise SettingsError(
                    f"milestones must lie between 1 and epochs - 1 = {self.epochs - 1}, got {milestone}"
                )

    def _check_source(self) -> None:
        if self.data == "fashion-mnist-mini" and self.root is not None:
            raise SettingsError(
                f"root {self.root!r} has no use: fashion-mnist-mini comes with the package; did you mean the data "
                "fashion-mnist?"
            )
        if self.data != "fashion-mnist-mini" and self.root is None:
            raise SettingsError(f"the data {self.data} need a root: the directory that holds them")
        if self.data != "folder" and self.size is not None:
            raise SettingsError(
                f"size {self.size} has no use: the images of {self.data} have their own; it is for folder"
            )

    @property
    def directory(self) -> Path:
        """Where the run is kept."""
        return Path(self.out or f"runs/{self.data}-{self.model}-seed{self.seed}")

    @property
    def image_size(self) -> int:
        """H = W of the images of a folder."""
        return self.size or natural_size(self.model)

    def to_json(self) -> str:
        """The settings as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings that `to_json` wrote.

        Raises
        ------
        CheckpointError : if it wrote no such text.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:  # a SettingsError and a JSON error are ValueErrors
            raise CheckpointError(f"the settings in this checkpoint are not minires' own ({error}): {text}") from error

    def check_continues(self, saved: Settings) -> None:
        """Make sure that a run with ``saved`` settings can go on with these.

        Raises
        ------
        SettingsError : if one differs that decides what is computed; the text names it.
        """
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(saved, field.name)
            if field.name not in FREE and mine != theirs:
                raise SettingsError(
                    f"cannot resume with {field.name} {mine!r}: the run was begun with {theirs!r}; leave it out, or "
                    "begin a new run in another directory"
                )


def model_names() -> list[str]:
    """The networks in `minires.models` that can be built by name."""
    return [
        name
        for name in models.__all__
        if inspect.isfunction(builder := getattr(models, name))
        and {"num_classes", "in_channels"} <= set(inspect.signature(builder).parameters)
    ]


def natural_size(model: str) -> int:
    """H = W of the images that a network was designed for: 224 (ImageNet) or 32 (CIFAR)."""
    return 224 if model in _IMAGENET else 32


def _one_of(name: str, value: Any, choices: Any) -> None:
    if value not in choices:
        raise SettingsError(f"{name} {value!r} is not one of {', '.join(choices)}")


def check_threads(threads: int | None) -> None:
    """Raise SettingsError for more threads than a machine may grant."""
    if (threads or 0) > _MOST_THREADS:
        raise SettingsError(f"threads must be at most {_MOST_THREADS}, got {threads}")


def _integer(name: str, value: Any, least: int, optional: bool = False) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{name} must be an integer of at least {least}, got {value!r}")


def _number(name: str, value: Any, positive: bool = False, below: float = math.inf) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < below or (positive and value == 0):
        least = "greater than 0" if positive else "at least 0"
        raise SettingsError(f"{name} must be a number {least} and less than {below}, got {value!r}")
