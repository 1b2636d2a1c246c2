"""What a trained network sees in image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minires import functional as F
from minires.autograd.op import no_grad
from minires.checkpoint import StrPath
from minires.data import read_image
from minires.functional.creation import tensor
from minires.train.state import load_network


def predict(
    checkpoint: StrPath, images: Sequence[StrPath], device: str = "cpu", top: int = 5
) -> list[list[tuple[str, float]]]:
    """The most probable classes of each image, computed in the run's dtype. Needs Pillow, the extra ``image``.

    An image is turned as its EXIF data says, made grey if the network knows grey images only, scaled until it just
    covers the size that the network learnt, cut to it around its centre, and normalised as in training.
    (Fashion-MNIST shows light clothes on black; an image of dark ones on white is another matter to it.)

    Parameters
    ----------
    checkpoint : best.safetensors or last.safetensors of a run, or its directory, which stands for the best
    images : the files
    device : where to compute
    top : how many classes to name

    Returns
    -------
    For each image, pairs of a class and its probability, the largest first.

    Raises
    ------
    CheckpointError : if it is not the checkpoint of a training run.
    DataError : if an image cannot be read, or Pillow is not installed.
    DeviceError : if the device is not available.
    """
    model, settings, description, _ = load_network(Path(checkpoint), device)
    C, H, W = description.shape
    pixels = [read_image(image, (H, W), C) for image in images]  # all of them first: an error comes before any answer
    answers = []
    for image in pixels:
        with no_grad():
            x = tensor(description.normalize(image[None]), device=device).to(settings.dtype)
            probabilities = F.softmax(model(x).to("float32")).numpy()[0]
        order = np.argsort(-probabilities, kind="stable")[:top]
        answers.append([(description.classes[i], float(probabilities[i])) for i in order])
    return answers
