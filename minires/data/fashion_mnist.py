"""Fashion-MNIST: 28×28 grey images of clothes in ten classes. The package embeds a part of it.

Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747. Provenance and licence: FASHION_MNIST.md.
"""

from __future__ import annotations

import io
import os
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minires.data.arguments import flag, path, what_is_there
from minires.data.dataset import Dataset
from minires.data.idx import read_bytes, read_idx
from minires.errors import DataError

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MINI = Path(__file__).with_name("fashion_mnist_mini.npz")
MINI_SHA256 = "a97961033a6f8fdbd83ff9626b295dc0364a467f5a42a11a339c108c417f7d09"

_Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


class FashionMNIST(Dataset):
    """Fashion-MNIST, images (N, 1, 28, 28).

    Parameters
    ----------
    root : the directory of the full set's IDX files, 60,000 training and 10,000 test images
        (``train-images-idx3-ubyte`` and its three siblings, each with or without ``.gz``), or a directory
        that holds them in ``FashionMNIST/raw``; None for the 5,000 and 1,000 images embedded in the package
    train : True for the training images, False for the test images

    ``mean`` and ``std`` are always those of the 60,000 training images.

    Raises
    ------
    DataError : if a file is missing, truncated, foreign or damaged.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, train: bool = True) -> None:
        train = flag(train, "train")
        images, labels = _embedded(train) if root is None else _full(path(root, "root"), train)
        super().__init__(images[:, None], labels, CLASSES, mean=(0.2860,), std=(0.3530,))


def _embedded(train: bool) -> _Arrays:
    content = read_bytes(MINI, f"the embedded Fashion-MNIST subset, SHA-256 {MINI_SHA256}; install minires again")
    if sha256(content).hexdigest() != MINI_SHA256:
        raise DataError(
            f"{MINI} is damaged: its SHA-256 is {sha256(content).hexdigest()}, expected {MINI_SHA256}; "
            "install minires again"
        )
    split = "train" if train else "test"
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"]


def _full(root: Path, train: bool) -> _Arrays:
    prefix = "train" if train else "t10k"
    images_file = _find(root, f"{prefix}-images-idx3-ubyte")
    labels_file = _find(root, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (28, 28) or not len(images):
        raise DataError(f"{images_file} holds an array of shape {images.shape}; expected (N, 28, 28), N ≥ 1")
    if len(labels) != len(images):
        raise DataError(
            f"{labels_file} holds {len(labels)} labels; expected {len(images)}, one for each image of {images_file}"
        )
    if labels.max() >= len(CLASSES):
        raise DataError(f"{labels_file} holds a label {labels.max()}; expected 0 to {len(CLASSES) - 1}")
    return images, labels


def _find(root: Path, name: str) -> Path:
    for directory in (root, root / "FashionMNIST" / "raw"):
        for candidate in (directory / name, directory / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    dotted = re.sub(r"-(idx\d)", r".\1", name)  # the name on some mirrors
    found = [file for file in (dotted, f"{dotted}.gz") if (root / file).is_file()]
    hint = f"found {found[0]}: rename it" if found else what_is_there(root, name)
    raise DataError(f"{root / name} is missing; expected this IDX file of Fashion-MNIST, or {name}.gz; {hint}")
