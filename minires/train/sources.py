"""Build what the settings name: data, loaders, network, optimizer, schedule."""

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
from minires.data.arguments import counted
from minires.errors import CheckpointError, DataError
from minires.nn import Module
from minires.train.settings import Settings


@dataclass(frozen=True)
class Description:
    """The training images as a checkpoint describes them.

    Attributes
    ----------
    classes : the names of the classes, label by label
    shape : C, H and W of an image
    mean, std : of each channel, for the normalisation
    images : the number of training images
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int

    @classmethod
    def of(cls, dataset: Dataset) -> Description:
        """Return the description of a training set."""
        return cls(dataset.classes, dataset.images.shape[1:], dataset.mean, dataset.std, len(dataset))

    def to_json(self) -> str:
        """Return the description as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Description:
        """Return the description that `to_json` wrote.

        Raises
        ------
        CheckpointError : if the text is not from `to_json`.
        """
        try:
            lists: dict[str, Any] = json.loads(text)
            images: int = lists.pop("images")
            return cls(images=images, **{name: tuple(values) for name, values in lists.items()})
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise CheckpointError(f"the data's description in this checkpoint is damaged ({error}): {text}") from error

    def check_same(self, now: Description) -> None:
        """Check that the data ``now`` are those that the run began with.

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
        """The normalisation of the network's input images."""
        return Normalize(self.mean, self.std)


def dataset(settings: Settings, split: str, classes: Sequence[str] | None = None) -> Dataset:
    """Return the images of a split.

    Parameters
    ----------
    settings : name the data, their directory and, for a folder, the size of the images
    split : "train", "test" or, for a folder that has it, "val"
    classes : the classes of a folder, label by label; None for its directories, of which there must be at least two

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
    """Return the splits that are not used for training: "test" and, for a folder that has it, "val".

    Raises
    ------
    DataError : if a folder has neither.
    """
    return layout.held_out(settings.root or "") if settings.data == "folder" else layout.HeldOut(("test",))


def splits(settings: Settings) -> tuple[str, ...]:
    """Return the splits of a run in this order: "train"; the split that chooses the best network; the test split.

    Without val/ there are two splits: the test images choose the best network.

    Raises
    ------
    DataError : if a folder lacks the images to train or to test with.
    """
    if settings.data == "folder":
        layout.split_directory(settings.root or "", "train")
    return ("train", *held_out(settings).names)


def in_words(settings: Settings, parts: Mapping[str, Dataset]) -> list[str]:
    """Return, line by line, what a user should know about the data before a run begins.

    Parameters
    ----------
    settings : the settings of the run
    parts : the images of each split, including "train"
    """
    lines = [f"{split}: {images.summary()}" for split, images in parts.items() if isinstance(images, ImageFolder)]
    if note := held_out(settings).note:
        lines.append(note)
    count = len(parts["train"])
    if count < settings.batch_size:
        lines.append(
            f"batch-size {settings.batch_size} is more than the {counted(count, 'training image')}: an epoch is one "
            "step with all of them"
        )
    return lines


def training_loader(settings: Settings, images: Dataset) -> DataLoader:
    """Return a loader of training batches, shuffled and augmented.

    Each epoch leaves out the images that do not fill a batch, different ones each time. A small batch would have
    noisy statistics, spoil the running statistics, and change the weights as much as a full batch. (A set smaller
    than a batch is one batch.)
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
    """Return a new network on the device and in the dtype of the settings.

    The initial weights are drawn from the default generator.

    Raises
    ------
    DeviceError : if the device is not available.
    """
    build: Callable[..., Module] = getattr(models, settings.model)
    model = build(num_classes=len(description.classes), in_channels=description.shape[0])
    return model.to(settings.device, settings.dtype)


def optimizer(settings: Settings, model: Module) -> optim.Optimizer:
    """Return SGD for all parameters of ``model``."""
    return optim.SGD(
        model.parameters(),
        settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )


def scaler(settings: Settings) -> optim.LossScaler | None:
    """Return a loss scaler for float16; None for float32, whose gradients need no scaling."""
    return optim.LossScaler() if settings.dtype == "float16" else None


def schedule(settings: Settings, sgd: optim.Optimizer, steps: int) -> optim.Schedule:
    """Return the schedule of the learning rate for epochs of ``steps`` steps."""
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
