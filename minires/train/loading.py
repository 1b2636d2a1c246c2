"""Load the network of a run, for use after training."""

from __future__ import annotations

import dataclasses
import json

from minires import checkpoint
from minires.checkpoint import AnyPath
from minires.nn import Module
from minires.train import sources
from minires.train.directory import network_of
from minires.train.settings import Settings
from minires.train.sources import Description
from minires.train.state import Metrics, Position, metrics_from, model_tensors, read_origin


def load(run: AnyPath, device: str = "cpu") -> Module:
    """Return the network of a run, in evaluation mode and in the run's dtype.

    The network takes normalised images. ``model(mr.tensor(describe(run).normalize(pixels)))`` returns the logits
    (N, classes) of uint8 ``pixels`` (N, C, H, W). `predict` does all of this in one call.

    Parameters
    ----------
    run : a run's directory, for its best network, or its best.safetensors or last.safetensors
    device : the device of the network

    Raises
    ------
    CheckpointError : if it is not a training run, or the directory has no best network, as in the first epoch.
    DeviceError : if the device is not available.
    """
    return load_network(run, device)[0]


def describe(run: AnyPath) -> Description:
    """Return the description of a run's images: ``classes``, ``shape`` (C, H, W) and ``normalize``.

    Parameters
    ----------
    run : as for `load`

    Raises
    ------
    CheckpointError : if it is not a training run, or the directory has no best network, as in the first epoch.
    """
    return read_origin(network_of(run))[1]


def load_network(run: AnyPath, device: str = "cpu") -> tuple[Module, Settings, Description, Metrics | None]:
    """Return the network of a run as `load` does, with the metadata of its checkpoint.

    Returns
    -------
    model : in evaluation mode
    settings, description : the settings of the run and the description of its images
    metrics : of the epoch after which the network was saved; None in the middle of an epoch, or before the first

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
        tensors = model_tensors(tensors)
        position = Position.from_json(metadata["position"])
        metrics = position.history[-1] if position.history and not position.batch else None
    model.load_state_dict(tensors)
    return model.eval(), settings, description, metrics
