"""A run and its position: everything that decides how it goes on, and its journey into a file and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minires import checkpoint, optim, random
from minires.errors import CheckpointError
from minires.nn import Module
from minires.train import sources
from minires.train.settings import Settings
from minires.train.sources import Description

LAST, BEST = "last.safetensors", "best.safetensors"
_FORMAT = "minires.train 1"
_MODEL, _OPTIMIZER = "model.", "optimizer."

Metrics = dict[str, Any]


def split_of(metrics: Metrics) -> str:
    """The split by which the best network is chosen, and which the metrics of an epoch are of: "val" or "test"."""
    return "val" if "val_accuracy" in metrics else "test"


@dataclass
class Position:
    """How far a run is: epochs that are done, batches of the next one, and what these have added up to.

    Attributes
    ----------
    epoch, batch : how many are done
    loss, hits, images : of the batches of this epoch: Σ loss · images, right answers, images
    seconds : that these batches took
    history : the metrics of the epochs done, one dictionary each
    """

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    hits: int = 0
    images: int = 0
    seconds: float = 0.0
    history: list[Metrics] = field(default_factory=list)

    def next_epoch(self, metrics: Metrics) -> None:
        """Close an epoch with its metrics."""
        self.history.append(metrics)
        self.epoch, self.batch, self.loss, self.hits, self.images, self.seconds = self.epoch + 1, 0, 0.0, 0, 0, 0.0

    @property
    def best(self) -> Metrics | None:
        """The metrics of the epoch with the highest accuracy on validation or test images, the first of several."""
        return max(self.history, key=lambda metrics: metrics[f"{split_of(metrics)}_accuracy"], default=None)


@dataclass
class Run:
    """A network in training."""

    settings: Settings
    description: Description
    model: Module
    optimizer: optim.Optimizer
    scaler: optim.LossScaler | None
    position: Position

    @classmethod
    def begin(cls, settings: Settings, description: Description) -> Run:
        """A run at its beginning; seeds the default generator.

        Raises
        ------
        DeviceError : if the device is not available.
        """
        random.manual_seed(settings.seed)
        model = sources.network(settings, description)
        optimizer, scaler = sources.optimizer(settings, model), sources.scaler(settings)
        return cls(settings, description, model, optimizer, scaler, Position())

    def save_last(self, directory: Path) -> None:
        """Write all that it takes to go on as if nothing had happened."""
        tensors: dict[str, Any] = {_MODEL + name: value for name, value in self.model.state_dict().items()}
        for place, kept in self.optimizer.state_dict()["state"].items():
            tensors.update({f"{_OPTIMIZER}{place}.{name}": value for name, value in kept.items()})
        position, state = json.dumps(dataclasses.asdict(self.position)), json.dumps(random.get_state())
        metadata = {**self._origin(), "position": position, "random": state}
        if self.scaler is not None:
            metadata["scaler"] = json.dumps(self.scaler.state_dict())
        checkpoint.save(tensors, directory / LAST, metadata)

    def save_best(self, directory: Path, metrics: Metrics) -> None:
        """Write the network alone, under its own names, with the metrics that it reached."""
        metadata = {**self._origin(), "metrics": json.dumps(metrics)}
        checkpoint.save(self.model.state_dict(), directory / BEST, metadata)

    def restore(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Go on where `save_last` wrote ``file``; sets the default generator's state.

        Raises
        ------
        CheckpointError : if the file is not such a checkpoint, or of another network.
        """
        try:
            position, state = Position(**json.loads(metadata["position"])), json.loads(metadata["random"])
            scale = {} if self.scaler is None else json.loads(metadata["scaler"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{file} holds no position to resume from; expected the {LAST} of a training run"
            ) from error
        tensors = checkpoint.load(file)
        kept: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            if name.startswith(_OPTIMIZER):
                _, place, key = name.split(".", 2)
                kept.setdefault(int(place), {})[key] = value.array
        self.model.load_state_dict(_without_prefix(tensors))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": kept})
        if self.scaler is not None:
            self.scaler.load_state_dict(scale)
        random.set_state(state)
        self.position = position

    def _origin(self) -> dict[str, str]:
        return {"format": _FORMAT, "settings": self.settings.to_json(), "data": self.description.to_json()}


def read_origin(file: Path) -> tuple[Settings, Description, dict[str, str]]:
    """The settings of the run that wrote a checkpoint, the description of its data, and all metadata.

    Raises
    ------
    CheckpointError : if it is missing, truncated or foreign, or no training run wrote it.
    """
    metadata = checkpoint.load_metadata(file)
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(f"{file} was not written by a training run of minires: its format is not {_FORMAT!r}")
    try:
        settings, description = metadata["settings"], metadata["data"]
    except KeyError as error:
        raise CheckpointError(f"{file} lacks the entry {error} in its metadata") from error
    return Settings.from_json(settings), Description.from_json(description), metadata


def load_network(file: Path, device: str = "cpu") -> tuple[Module, Settings, Description, Metrics | None]:
    """The network in a checkpoint, or in the best one of a run's directory, ready to be asked.

    Returns
    -------
    model : in evaluation mode
    settings, description : of the run
    metrics : of the epoch after which it was saved; None in the middle of an epoch, or before the first

    Raises
    ------
    CheckpointError : if it is not the checkpoint of a training run.
    DeviceError : if the device is not available.
    """
    file = file / BEST if file.is_dir() else file
    settings, description, metadata = read_origin(file)
    model = sources.network(dataclasses.replace(settings, device=device), description)
    tensors = checkpoint.load(file)
    metrics: Metrics | None = None
    if "metrics" in metadata:
        metrics = json.loads(metadata["metrics"])
    elif "position" in metadata:
        tensors = _without_prefix(tensors)
        position = Position(**json.loads(metadata["position"]))
        metrics = position.history[-1] if position.history and not position.batch else None
    model.load_state_dict(tensors)
    return model.eval(), settings, description, metrics


def _without_prefix(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
