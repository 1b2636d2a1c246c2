"""What the names in the settings stand for: data, loaders, network, optimizer, schedule."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minires import models, optim
from minires.data import (
    CIFAR10,
    CIFAR100,
    Augmentation,
    DataLoader,
    Dataset,
    FashionMNIST,
    HorizontalFlip,
    ImageFolder,
    Normalize,
    RandomCrop,
    layout,
)
from minires.errors import CheckpointError, DataError
from minires.nn import Module
from minires.train.settings import Settings


@dataclass(frozen=True)
class Description:
    """What a checkpoint has to know of the images that its network learnt.

    Attributes
    ----------
    classes : their names, label by label
    shape : C, H and W of an image
    mean, std : of each channel, by which images are normalised
    images : how many there are for training
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int

    @classmethod
    def of(cls, dataset: Dataset) -> Description:
        """The description of a training set."""
        return cls(dataset.classes, dataset.images.shape[1:], dataset.mean, dataset.std, len(dataset))

    def to_json(self) -> str:
        """The description as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Description:
        """The description that `to_json` wrote.

        Raises
        ------
        CheckpointError : if it wrote no such text.
        """
        try:
            lists: dict[str, Any] = json.loads(text)
            images: int = lists.pop("images")
            return cls(images=images, **{name: tuple(values) for name, values in lists.items()})
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise CheckpointError(f"the data's description in this checkpoint is damaged ({error}): {text}") from error

    def check_same(self, now: Description) -> None:
        """Make sure that the data are those that a run began with.

        Raises
        ------
        DataError : if anything differs.
        """
        for field in dataclasses.fields(self):
            was, found = getattr(self, field.name), getattr(now, field.name)
            if was != found:
                raise DataError(f"the training data have changed since the run began: {field.name} {found}, was {was}")

    @property
    def normalize(self) -> Normalize:
        """The normalisation of an image on its way into the network."""
        return Normalize(self.mean, self.std)


def dataset(settings: Settings, split: str, classes: Sequence[str] | None = None) -> Dataset:
    """The images of a split.

    Parameters
    ----------
    settings : names the data, where they are, and for a folder their size
    split : "train", "test", or of a folder that has them "val"
    classes : of a folder, label by label; None: its directories, which must be two or more

    Raises
    ------
    DataError : if they are missing or damaged.
    """
    root = settings.root or ""
    if settings.data == "fashion-mnist-mini":
        return FashionMNIST(train=split == "train")
    if settings.data == "folder":
        images = ImageFolder(layout.split_directory(root, split), settings.image_size, classes)
        if classes is None:
            layout.check_several_classes(images)
        return images
    kinds: dict[str, Callable[..., Dataset]] = {"fashion-mnist": FashionMNIST, "cifar10": CIFAR10, "cifar100": CIFAR100}
    return kinds[settings.data](root, train=split == "train")


def held_out(settings: Settings) -> layout.HeldOut:
    """The splits that are not trained with: "test", and of a folder that has one "val".

    Raises
    ------
    DataError : if a folder has neither.
    """
    return layout.held_out(settings.root or "") if settings.data == "folder" else layout.HeldOut(("test",))


def in_words(settings: Settings, parts: Mapping[str, Dataset]) -> list[str]:
    """What a user should know about the data of a run before it begins, line by line.

    Parameters
    ----------
    settings : of the run
    parts : the images of each split, those of "train" among them
    """
    lines = [f"{split}: {images.summary()}" for split, images in parts.items() if isinstance(images, ImageFolder)]
    if note := held_out(settings).note:
        lines.append(note)
    count = len(parts["train"])
    if count < settings.batch_size:
        lines.append(
            f"batch-size {settings.batch_size} is more than the {count} training images: an epoch is one step with "
            "all of them"
        )
    return lines


def training_loader(settings: Settings, images: Dataset) -> DataLoader:
    """Batches to train with, shuffled and augmented.

    The images that do not fill a batch are left out, others in each epoch: a batch of a few would have rough
    statistics, pull the running ones with it, and move the weights as far as a full one. (A set smaller than a
    batch is one batch.)
    """
    augments: dict[str, list[Augmentation]] = {
        "none": [],
        "flip": [HorizontalFlip()],
        "crop-flip": [RandomCrop(4), HorizontalFlip()],
    }
    augment = augments[settings.augment]
    whole = len(images) >= settings.batch_size
    return DataLoader(
        images,
        settings.batch_size,
        shuffle=True,
        drop_last=whole,
        augment=augment,
        seed=settings.seed,
        device=settings.device,
    )


def network(settings: Settings, description: Description) -> Module:
    """The network on the device and in the dtype of the settings, its initial weights drawn from the default generator.

    Raises
    ------
    DeviceError : if the device is not available.
    """
    build: Callable[..., Module] = getattr(models, settings.model)
    model = build(num_classes=len(description.classes), in_channels=description.shape[0])
    return model.to(settings.device, settings.dtype)


def optimizer(settings: Settings, model: Module) -> optim.Optimizer:
    """Stochastic gradient descent for all parameters of ``model``."""
    return optim.SGD(
        model.parameters(),
        settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )


def scaler(settings: Settings) -> optim.LossScaler | None:
    """What scales the loss in float16; in float32 no gradient is too small, and it is None."""
    return optim.LossScaler() if settings.dtype == "float16" else None


def schedule(settings: Settings, sgd: optim.Optimizer, steps: int) -> optim.Schedule:
    """The learning rate as a function of the step, for epochs of ``steps`` steps."""
    total = settings.epochs * steps
    if settings.schedule == "cosine":
        return optim.CosineAnnealingLR(sgd, total)
    if settings.schedule == "one-cycle":
        return optim.OneCycleLR(sgd, settings.lr, total)
    drops: list[int] = []
    if settings.schedule == "multistep":
        drops = [max(1, total // 2), max(1, total * 3 // 4)]
        if settings.milestones is not None:
            drops = [milestone * steps for milestone in settings.milestones]
    return optim.MultiStepLR(sgd, drops)
