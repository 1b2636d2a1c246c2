"""CIFAR-10 and CIFAR-100 in their binary version: 32×32 colour images.

A file is a sequence of records. A record is the label bytes (one in CIFAR-10; a coarse and a fine one in CIFAR-100)
and 3,072 bytes of pixels: the red, the green and the blue plane, each row by row. There is no header. So only the
size and the labels of a file show whether it is truncated or foreign.

Source: A. Krizhevsky 2009, "Learning multiple layers of features from tiny images";
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minires.data.arguments import flag, path, what_is_there
from minires.data.dataset import Dataset
from minires.data.idx import read_bytes
from minires.errors import DataError
from minires.options import integer

_PIXELS = 3 * 32 * 32
# Files that belong to another version or data set.
_OTHERS = {
    "cifar-10-batches-py": "of the version for Python",
    "cifar-100-python": "of the version for Python",
    "data_batch_1": "of the version for Python",
    "train": "of the version for Python",
    "data_batch_1.mat": "of the version for Matlab",
    "train.mat": "of the version for Matlab",
    "fine_label_names.txt": "of CIFAR-100",
    "train.bin": "of CIFAR-100",
    "test_batch.bin": "of CIFAR-10",
}

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()  # noqa: SIM905 (a hundred quoted names read worse)
)


class CIFAR10(Dataset):
    """CIFAR-10, images (N, 3, 32, 32): 50,000 for training, 10,000 for testing.

    Parameters
    ----------
    root : the directory of ``data_batch_1.bin`` … ``data_batch_5.bin`` and ``test_batch.bin``, or one that
        holds them in ``cifar-10-batches-bin``, as the archive unpacks
    train : True for the training images, False for the test images
    images_per_file : the number of records that each file must hold; not 10,000 for a part of the set

    Raises
    ------
    DataError : if a file is missing, truncated or foreign.
    """

    def __init__(self, root: str | os.PathLike[str], train: bool = True, images_per_file: int = 10_000) -> None:
        count = integer(images_per_file, "images_per_file", 1)
        names = [f"data_batch_{i}.bin" for i in range(1, 6)] if flag(train, "train") else ["test_batch.bin"]
        files = _find(path(root, "root"), "cifar-10-batches-bin", names, "cifar-10-binary.tar.gz")
        images, labels = _read(files, count, (10,))
        super().__init__(
            images,
            labels[:, 0],
            CIFAR10_CLASSES,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        )


class CIFAR100(Dataset):
    """CIFAR-100, images (N, 3, 32, 32) with the fine labels: 50,000 for training, 10,000 for testing.

    Parameters
    ----------
    root : the directory of ``train.bin`` and ``test.bin``, or one that holds them in ``cifar-100-binary``
    train : True for the training images, False for the test images
    images_per_file : the number of records that the file must hold; None for 50,000 (training) or 10,000 (testing)

    Raises
    ------
    DataError : if the file is missing, truncated or foreign.
    """

    def __init__(self, root: str | os.PathLike[str], train: bool = True, images_per_file: int | None = None) -> None:
        name, whole = ("train.bin", 50_000) if flag(train, "train") else ("test.bin", 10_000)
        count = whole if images_per_file is None else integer(images_per_file, "images_per_file", 1)
        files = _find(path(root, "root"), "cifar-100-binary", [name], "cifar-100-binary.tar.gz")
        images, labels = _read(files, count, (20, 100))
        super().__init__(
            images,
            labels[:, 1],
            CIFAR100_CLASSES,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
        )


def _find(root: Path, folder: str, names: Sequence[str], archive: str) -> list[Path]:
    directory = root / folder if (root / folder).is_dir() else root
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise DataError(
            f"{directory / missing[0]} is missing; expected {', '.join(names)} of the binary version, "
            f"unpacked from {archive} (https://www.cs.toronto.edu/~kriz/{archive}); {_other(directory, missing[0])}"
        )
    return [directory / name for name in names]


def _other(directory: Path, wanted: str) -> str:
    """Say which other data set or version the directory holds, if any."""
    for found, kind in _OTHERS.items():
        if (directory / found).exists():
            return f"found {found}, which is {kind}"
    return what_is_there(directory, wanted)


def _read(
    files: Sequence[Path], count: int, labels_below: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the images (N, 3, 32, 32) and label bytes (N, len(labels_below)) of ``files``, in order."""
    leading = len(labels_below)
    size = count * (leading + _PIXELS)
    expected = f"{size} bytes: {count} records of {leading} + {_PIXELS}"
    images = np.empty((len(files) * count, 3, 32, 32), np.uint8)
    labels = np.empty((len(files) * count, leading), np.uint8)
    for i, file in enumerate(files):
        content = read_bytes(file, expected)
        if len(content) != size:
            raise DataError(f"{file} holds {len(content)} bytes; expected {expected}; unpack or download it again")
        records = np.frombuffer(content, np.uint8).reshape(count, leading + _PIXELS)
        wrong = np.argwhere(records[:, :leading] >= np.array(labels_below))
        if wrong.size:
            record, byte = wrong[0]
            raise DataError(
                f"{file} is no CIFAR file: byte {byte} of record {record} is {records[record, byte]}; "
                f"expected a label from 0 to {labels_below[byte] - 1}"
            )
        rows = slice(i * count, (i + 1) * count)
        labels[rows] = records[:, :leading]
        images[rows] = records[:, leading:].reshape(count, 3, 32, 32)
    return images, labels
