"""The settings of a training run: a frozen dataclass, saved as JSON in each checkpoint of the run."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minires import kernels, models
from minires.device import canonical
from minires.errors import CheckpointError, SettingsError
from minires.train import checks

DATA = ("fashion-mnist-mini", "fashion-mnist", "cifar10", "cifar100", "folder")
SCHEDULES = ("constant", "multistep", "cosine", "one-cycle")
AUGMENTS = ("none", "flip", "crop-flip")
DTYPES = ("float32", "float16")
# A resumed run may change these: where files are and what computes, but not what is computed.
FREE = ("root", "device", "kernels", "out", "threads", "quiet")
_IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200")


@dataclass(frozen=True)
class Settings:
    """All settings of a training run. The defaults are those of ``make train``.

    Parameters
    ----------
    model : the name of a network in `minires.models`
    data : "fashion-mnist-mini" (embedded), "fashion-mnist" (IDX files), "cifar10", "cifar100" (binary version),
        or "folder": images in ``root``/train/<class>/ and ``root``/test/<class>/ (or val/)
    root : the directory of the data, stored as an absolute path; None for the embedded images
    size : H = W of the images of a folder, which are scaled to it; None for 224, or 32 for a CIFAR network
    epochs, batch_size : passes over the training images, and images in a step. Each epoch leaves out the images that
        do not fill a step; the next one shuffles all of them again
    lr : the largest learning rate of the schedule
    schedule : "constant"; "multistep": divide by 10 at each of the ``milestones``; "cosine": down to 0;
        "one-cycle": up from lr / 25, then down to nearly 0. The last two change the rate at every step
    milestones : epochs done before each drop; None for 1/2 and 3/4 of all epochs, as in He et al. 2015
    momentum, nesterov, weight_decay : options of SGD; the decay applies to all parameters
    label_smoothing : of the training loss; the test loss has no smoothing
    augment : "none", "flip" (left to right, with probability ½), or "crop-flip" (also a random crop, padding 4)
    seed : for initial weights, order, augmentation and dropout
    device : "cpu", "cuda" or "cuda:<index>"
    dtype : "float32" or "float16", of weights, activations and gradients. With float16 the loss is scaled; the loss
        and the optimizer's master weights stay in float32. float16 is for CUDA: on the CPU it is correct but slow
    kernels : "reference", the text-book form; "fast", for the CPU; "cuda", for a GPU. None for the device's own
    out : the directory of the run; None for ``runs/<data>-<model>-seed<seed>``
    threads : the number of threads of the kernels; None keeps `minires.get_num_threads()`, by default the CPUs that
        this process may use. The results do not depend on it
    quiet : print nothing

    NumPy numbers and any ``os.PathLike`` are accepted.

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
    kernels: str | None = None
    out: str | None = None
    threads: int | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._keep(field.name, checks.plain(getattr(self, field.name)))
        checks.one_of("model", self.model, model_names())
        checks.one_of("data", self.data, DATA)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        checks.one_of("augment", self.augment, AUGMENTS)
        checks.one_of("dtype", self.dtype, DTYPES)
        checks.integer("epochs", self.epochs)
        checks.integer("batch_size", self.batch_size)
        checks.integer("seed", self.seed, 0, 2**64 - 1)
        if self.size is not None:
            checks.integer("size", self.size)
        checks.threads(self.threads)
        checks.number("lr", self.lr, positive=True)
        checks.number("weight_decay", self.weight_decay)
        checks.number("momentum", self.momentum, below=1)
        checks.number("label_smoothing", self.label_smoothing, below=1)
        checks.flag("nesterov", self.nesterov)
        checks.flag("quiet", self.quiet)
        if self.nesterov and not self.momentum:
            raise SettingsError("`nesterov` needs a `momentum` greater than 0, got 0")
        self._check_milestones()
        self._check_source()
        canonical(self.device)
        if self.kernels is not None:
            checks.kernels(self.kernels, self.device)
        self._keep("out", checks.path("out", self.out))

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_milestones(self) -> None:
        if self.milestones is None:
            return
        if not isinstance(self.milestones, Iterable) or isinstance(self.milestones, str):
            raise SettingsError(f"`milestones` must be epochs in a sequence, as in (4, 6), got {self.milestones!r}")
        self._keep("milestones", tuple(map(checks.plain, self.milestones)))
        if self.schedule != "multistep":
            raise SettingsError(f"`milestones` belong to the `schedule` multistep, not to {self.schedule}")
        for milestone in self.milestones:
            checks.integer("milestones", milestone)
            if milestone >= self.epochs:
                raise SettingsError(
                    f"`milestones` must lie before the end of the {self.epochs} `epochs`, got {milestone}"
                )

    def _check_source(self) -> None:
        if self.data == "fashion-mnist-mini" and self.root is not None:
            raise SettingsError(
                f"`root` {str(self.root)!r} has no use: fashion-mnist-mini comes with the package; did you mean `data` "
                "fashion-mnist, or folder?"
            )
        if self.data != "fashion-mnist-mini" and self.root is None:
            raise SettingsError(f"`data` {self.data} needs a `root`: the directory that holds the images")
        if self.data != "folder" and self.size is not None:
            raise SettingsError(
                f"`size` {self.size} has no use: the images of {self.data} have their own; it is for `data` folder"
            )
        root = checks.path("root", self.root)
        self._keep("root", root and os.path.abspath(root))

    @property
    def directory(self) -> Path:
        """The directory of the run."""
        return Path(self.out or f"runs/{self.data}-{self.model}-seed{self.seed}")

    @property
    def image_size(self) -> int:
        """H = W of the images of a folder."""
        return self.size or natural_size(self.model)

    def using_kernels(self) -> AbstractContextManager[None]:
        """Return a context manager that selects the kernel set of these settings."""
        return nullcontext() if self.kernels is None else kernels.using(self.kernels)

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return the settings that `to_json` wrote.

        Raises
        ------
        CheckpointError : if the text is not from `to_json`.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:  # a SettingsError and a JSON error are ValueErrors
            raise CheckpointError(f"the settings in this checkpoint are not minires' own ({error}): {text}") from error

    def check_continues(self, saved: Settings) -> None:
        """Check that a run with ``saved`` settings can be resumed with these. More epochs are allowed.

        Raises
        ------
        SettingsError : if a setting differs that changes what is computed; the text shows all of them side by side.
        """
        names = [field.name for field in dataclasses.fields(self) if field.name not in FREE]
        if self.epochs > saved.epochs:
            names.remove("epochs")
        different = [name for name in names if getattr(self, name) != getattr(saved, name)]
        if different:
            each = (f"`{name}` {getattr(self, name)!r} (the run has {getattr(saved, name)!r})" for name in different)
            raise SettingsError(
                f"cannot resume with {', '.join(each)}; leave {'it' if len(different) == 1 else 'them'} out, or begin "
                "a new run in another directory"
            )


def model_names() -> list[str]:
    """Return the names of the networks in `minires.models`."""
    return [
        name
        for name in models.__all__
        if inspect.isfunction(builder := getattr(models, name))
        and {"num_classes", "in_channels"} <= set(inspect.signature(builder).parameters)
    ]


def natural_size(model: str) -> int:
    """Return H = W of the images that a network was designed for: 224 (ImageNet) or 32 (CIFAR)."""
    return 224 if model in _IMAGENET else 32
