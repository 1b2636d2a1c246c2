"""A run and its position: everything that decides how it goes on, and its journey into a file and back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minires import checkpoint, optim, random
from minires.checkpoint import AnyPath
from minires.errors import CheckpointError
from minires.nn import Module
from minires.train import sources
from minires.train.directory import BEST, LAST, network_of
from minires.train.settings import Settings
from minires.train.sources import Description

_FORMAT = "minires.train 1"
_MODEL, _OPTIMIZER = "model.", "optimizer."

Metrics = dict[str, Any]


def split_of(metrics: Metrics) -> str:
    """Return the split, "val" or "test", that the metrics of an epoch are of; it chooses the best network."""
    return "val" if "val_accuracy" in metrics else "test"


def to_json(value: Any) -> str:
    """Return one line of JSON as all readers know it, with null for a number that is not finite."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def metrics_from(saved: Mapping[str, Any]) -> Metrics:
    """Return the metrics of an epoch as they were before their journey through JSON: NaN for null."""
    return {name: math.nan if value is None else value for name, value in saved.items()}


@dataclass
class Position:
    """How far a run is: epochs that are done, batches of the next one, and what these have added up to.

    Attributes
    ----------
    epoch, batch : how many are done
    loss, hits, images : of the batches of this epoch: Σ loss · images, right answers, images
    seconds : that these batches took
    history : the metrics of the epochs done, one dictionary each
    best_from : how many of these epochs have no part in choosing the best network, since it is no longer there
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
        """The metrics of the best epoch, the first of several: a finite loss, then accuracy, on images held out."""
        return max(self.history[self.best_from :], key=_goodness, default=None)

    def to_json(self) -> str:
        """The position as one line of JSON."""
        return to_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Position:
        """The position that `to_json` wrote.

        Raises
        ------
        TypeError, ValueError : if it wrote no such text.
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
        state = json.dumps(random.get_state())
        metadata = {**self._origin(), "position": self.position.to_json(), "random": state}
        if self.scaler is not None:
            metadata["scaler"] = json.dumps(self.scaler.state_dict())
        checkpoint.save(tensors, directory / LAST, metadata)

    def save_best(self, directory: Path, metrics: Metrics) -> None:
        """Write the network alone, under its own names, with the metrics that it reached."""
        metadata = {**self._origin(), "metrics": to_json(metrics)}
        checkpoint.save(self.model.state_dict(), directory / BEST, metadata)

    def restore(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Go on where `save_last` wrote ``file``; sets the default generator's state.

        Raises
        ------
        CheckpointError : if the file is not such a checkpoint, or of another network.
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


def load(run: AnyPath, device: str = "cpu") -> Module:
    """Return the network of a run, in evaluation mode and in the run's dtype.

    It takes images as `describe` says: ``model(mr.tensor(describe(run).normalize(pixels)))`` are the logits
    (N, classes) of uint8 ``pixels`` (N, C, H, W). `predict` does it all in one call.

    Parameters
    ----------
    run : a run's directory, which stands for its best network, or its best.safetensors or last.safetensors
    device : where to put it

    Raises
    ------
    CheckpointError : if it is no training run, or has not finished its first epoch.
    DeviceError : if the device is not available.
    """
    return load_network(run, device)[0]


def describe(run: AnyPath) -> Description:
    """Return what the network of a run knows of its images: ``classes``, ``shape`` (C, H, W) and ``normalize``.

    Parameters
    ----------
    run : as for `load`

    Raises
    ------
    CheckpointError : if it is no training run, or has not finished its first epoch.
    """
    return read_origin(network_of(run))[1]


def load_network(run: AnyPath, device: str = "cpu") -> tuple[Module, Settings, Description, Metrics | None]:
    """Return the network of a run as `load` does, with what its checkpoint says of it.

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
    file = network_of(run)
    settings, description, metadata = read_origin(file)
    model = sources.network(dataclasses.replace(settings, device=device, kernels=None), description)
    tensors = checkpoint.load(file)
    metrics: Metrics | None = None
    if "metrics" in metadata:
        metrics = metrics_from(json.loads(metadata["metrics"]))
    elif "position" in metadata:
        tensors = _without_prefix(tensors)
        position = Position.from_json(metadata["position"])
        metrics = position.history[-1] if position.history and not position.batch else None
    model.load_state_dict(tensors)
    return model.eval(), settings, description, metrics


def _without_prefix(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
