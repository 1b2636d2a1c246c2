"""A run and its position: everything that resuming needs, and how to save and restore it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minires import checkpoint, optim, random
from minires.errors import CheckpointError
from minires.nn import Module
from minires.train import sources
from minires.train.directory import BEST, LAST
from minires.train.settings import Settings
from minires.train.sources import Description

_FORMAT = "minires.train 1"
_MODEL, _OPTIMIZER = "model.", "optimizer."

Metrics = dict[str, Any]


def split_of(metrics: Metrics) -> str:
    """Return the split, "val" or "test", that the metrics of an epoch measure and that chooses the best network."""
    return "val" if "val_accuracy" in metrics else "test"


def to_json(value: Any) -> str:
    """Return one line of standard JSON, with null for a number that is not finite."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def metrics_from(saved: Mapping[str, Any]) -> Metrics:
    """Return the metrics of an epoch as read from JSON, with NaN for null."""
    return {name: math.nan if value is None else value for name, value in saved.items()}


@dataclass
class Position:
    """The position of a run: the epochs done, the batches done of the next epoch, and sums over these batches.

    Attributes
    ----------
    epoch, batch : the number of epochs and batches done
    loss, hits, images : sums over the batches of this epoch: Σ loss · images, right answers, images
    seconds : the time of these batches
    history : the metrics of the epochs done, one dictionary each
    best_from : the number of epochs at the start that do not count for the best network, since theirs is lost
    """

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    hits: int = 0
    images: int = 0
    seconds: float = 0.0
    history: list[Metrics] = field(default_factory=list)
    best_from: int = 0

    def next_epoch(self, metrics: Metrics) -> None:
        """Close an epoch with its metrics."""
        self.history.append(metrics)
        self.epoch, self.batch, self.loss, self.hits, self.images, self.seconds = self.epoch + 1, 0, 0.0, 0, 0, 0.0

    @property
    def best(self) -> Metrics | None:
        """The metrics of the first best epoch: on images held out, a finite loss comes first, then accuracy."""
        return max(self.history[self.best_from :], key=_goodness, default=None)

    def to_json(self) -> str:
        """Return the position as one line of JSON."""
        return to_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Position:
        """Return the position that `to_json` wrote.

        Raises
        ------
        TypeError, ValueError : if the text is not from `to_json`.
        """
        position = cls(**json.loads(text))
        position.history = [metrics_from(metrics) for metrics in position.history]
        return position


def _goodness(metrics: Metrics) -> tuple[bool, float]:
    split = split_of(metrics)
    return math.isfinite(metrics[f"{split}_loss"]), metrics[f"{split}_accuracy"]


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
        """Return a new run; this seeds the default generator.

        Raises
        ------
        DeviceError : if the device is not available.
        """
        random.manual_seed(settings.seed)
        model = sources.network(settings, description)
        optimizer, scaler = sources.optimizer(settings, model), sources.scaler(settings)
        return cls(settings, description, model, optimizer, scaler, Position())

    def save_last(self, directory: Path) -> None:
        """Save everything that resuming bit for bit needs."""
        tensors: dict[str, Any] = {_MODEL + name: value for name, value in self.model.state_dict().items()}
        for index, kept in self.optimizer.state_dict()["state"].items():
            tensors.update({f"{_OPTIMIZER}{index}.{name}": value for name, value in kept.items()})
        state = json.dumps(random.get_state())
        metadata = {**self._origin(), "position": self.position.to_json(), "random": state}
        if self.scaler is not None:
            metadata["scaler"] = json.dumps(self.scaler.state_dict())
        checkpoint.save(tensors, directory / LAST, metadata)

    def save_best(self, directory: Path, metrics: Metrics) -> None:
        """Save only the network, under its own names, with its metrics."""
        metadata = {**self._origin(), "metrics": to_json(metrics)}
        checkpoint.save(self.model.state_dict(), directory / BEST, metadata)

    def restore(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Restore this run and the state of the default generator from the ``file`` that `save_last` wrote.

        Raises
        ------
        CheckpointError : if the file is not such a checkpoint, or holds another network.
        """
        try:
            position, state = Position.from_json(metadata["position"]), json.loads(metadata["random"])
            scale = {} if self.scaler is None else json.loads(metadata["scaler"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{file} holds no position to resume from; expected the {LAST} of a training run"
            ) from error
        tensors = checkpoint.load(file)
        kept: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            if name.startswith(_OPTIMIZER):
                _, index, key = name.split(".", 2)
                kept.setdefault(int(index), {})[key] = value.array
        self.model.load_state_dict(model_tensors(tensors))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": kept})
        if self.scaler is not None:
            self.scaler.load_state_dict(scale)
        random.set_state(state)
        self.position = position

    def _origin(self) -> dict[str, str]:
        return {"format": _FORMAT, "settings": self.settings.to_json(), "data": self.description.to_json()}


def read_origin(file: Path) -> tuple[Settings, Description, dict[str, str]]:
    """Return a checkpoint's settings, the description of its data, and all its metadata.

    Raises
    ------
    CheckpointError : if it is missing, truncated or foreign, or not written by a training run.
    """
    metadata = checkpoint.load_metadata(file)
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(f"{file} was not written by a training run of minires: its format is not {_FORMAT!r}")
    try:
        settings, description = metadata["settings"], metadata["data"]
    except KeyError as error:
        raise CheckpointError(f"{file} lacks the entry {error} in its metadata") from error
    return Settings.from_json(settings), Description.from_json(description), metadata


def model_tensors(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of the network among those that `Run.save_last` wrote, under the network's names."""
    return {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
