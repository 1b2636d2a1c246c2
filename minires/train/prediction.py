"""Predict the classes of images with a trained network."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from minires import functional as F
from minires import kernels as kernel_sets
from minires.autograd.op import no_grad
from minires.checkpoint import AnyPath
from minires.data import read_image
from minires.errors import DataError
from minires.functional.creation import tensor
from minires.train import checks
from minires.train.loading import load_network

Image: TypeAlias = AnyPath | npt.NDArray[np.uint8]


def predict(
    run: AnyPath, images: Image | Iterable[Image], device: str = "cpu", top: int = 5, kernels: str | None = None
) -> list[list[tuple[str, float]]]:
    """Return the most probable classes of each image, computed in the run's dtype.

    Reading image files needs Pillow, the extra ``image``. An image is rotated as its EXIF data says, and made grey if
    the network learnt grey images. It is scaled until it just covers the size that the network learnt, and its centre
    is cut out. Then it is normalised as in training. (Fashion-MNIST shows light clothes on black, so its networks
    do badly on dark clothes on white.)

    Parameters
    ----------
    run : a run's directory, for its best network, or its best.safetensors or last.safetensors
    images : the path of one file, or a uint8 array (C, H, W) or (N, C, H, W) of the size that the network learnt; or
        several of these
    device : where to compute
    top : the number of classes to return
    kernels : "reference", "fast" or "cuda"; by default those of the device

    Returns
    -------
    A list with an entry for each image, even for a single one: pairs of a class and its probability, the most
    probable first.

    Raises
    ------
    CheckpointError : if it is not the checkpoint of a training run.
    DataError : if an image cannot be read or is not as above, or if Pillow is missing.
    SettingsError : if ``top`` or ``kernels`` is not as above.
    DeviceError : if the device is not available.
    """
    top = checks.plain(top)
    checks.integer("top", top)
    if kernels is not None:
        checks.kernels(kernels, device)
    model, settings, description, _ = load_network(run, device)
    several: Iterable[Any] = [images]
    if isinstance(images, Iterable) and not isinstance(images, str | bytes | os.PathLike | np.ndarray):
        several = images
    # Read all images first, so that an error comes before any computation.
    pixels = [image for each in several for image in _pixels(each, description.shape)]
    answers = []
    with no_grad(), kernel_sets.using(kernels) if kernels else contextlib.nullcontext():
        for image in pixels:
            x = tensor(description.normalize(image[None]), device=device).to(settings.dtype)
            probabilities = F.softmax(model(x).to("float32")).numpy()[0]
            order = np.argsort(-probabilities, kind="stable")[:top]
            answers.append([(description.classes[i], float(probabilities[i])) for i in order])
    return answers


def _pixels(image: Any, shape: tuple[int, ...]) -> list[npt.NDArray[np.uint8]]:
    """Return the images (C, H, W) of a file or an array."""
    C, H, W = shape
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.shape[-3:] != shape or image.ndim > 4:
            raise DataError(
                f"an array of images must be uint8, pixels from 0 to 255, of shape {shape} or (N, {C}, {H}, {W}): "
                f"channels, height, width; got {image.dtype} of shape {image.shape}"
            )
        return list(image.reshape(-1, *shape))
    if not isinstance(image, str | bytes | os.PathLike):
        raise DataError(f"an image must be the path of a file or a NumPy array, got a {type(image).__name__}")
    path = Path(os.fsdecode(image))
    if path.is_dir():
        raise DataError(f"{path} is a directory; name the images, as in {path / '*.jpg'}")
    return [read_image(path, (H, W), C)]
