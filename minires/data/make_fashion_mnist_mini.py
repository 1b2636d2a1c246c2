"""Make the embedded part of Fashion-MNIST from the full set's IDX files.

    python -m minires.data.make_fashion_mnist_mini DIRECTORY [OUTPUT]

It takes the first 500 training images and the first 100 test images of each class, and keeps them in file order.
Debian's package dataset-fashion-mnist holds the files. The result depends only on the files and on the version of
zlib: every time stamp is fixed.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minires.data.dataset import Dataset
from minires.data.fashion_mnist import MINI, FashionMNIST
from minires.errors import DataError

PER_CLASS = {"train": 500, "test": 100}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
_UNIX_FILE = 0o644 << 16

_Bytes = npt.NDArray[np.uint8]


def first_of_each_class(dataset: Dataset, count: int) -> npt.NDArray[np.intp]:
    """Return the indices of the first ``count`` images of each class, in ascending order.

    Raises
    ------
    DataError : if a class has fewer.
    """
    taken = []
    for label, name in enumerate(dataset.classes):
        indices = np.flatnonzero(dataset.labels == label)[:count]
        if len(indices) < count:
            raise DataError(f"class {name!r} has {len(indices)} images; expected at least {count}")
        taken.append(indices)
    return np.sort(np.concatenate(taken))


def subset(root: Path) -> dict[str, _Bytes]:
    """Return the arrays of the embedded file: images (N, 28, 28) and labels (N,) of both splits, uint8."""
    arrays = {}
    for split, count in PER_CLASS.items():
        full = FashionMNIST(root, train=split == "train")
        indices = first_of_each_class(full, count)
        arrays[f"{split}_images"] = full.images[indices, 0]
        arrays[f"{split}_labels"] = full.labels[indices].astype(np.uint8)
    return arrays


def npz(arrays: Mapping[str, _Bytes]) -> bytes:
    """Return the bytes of a compressed .npz file with fixed time stamps."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, _UNIX_FILE
            member.create_system = 3
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(member, content.getvalue(), compresslevel=9)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file, and print the checksums that FASHION_MNIST.md and fashion_mnist.py quote."""
    parser = argparse.ArgumentParser(prog="python -m minires.data.make_fashion_mnist_mini")
    parser.add_argument("directory", type=Path, help="where the IDX files of Fashion-MNIST are")
    parser.add_argument("output", type=Path, nargs="?", default=MINI, help="default: beside this script")
    options = parser.parse_args(arguments)
    arrays = subset(options.directory)
    content = npz(arrays)
    options.output.write_bytes(content)
    print(f"{sha256(content).hexdigest()}  {options.output.name} ({len(content)} bytes)")
    for name, array in arrays.items():
        print(f"{sha256(array.tobytes()).hexdigest()}  {name} {array.shape}")


if __name__ == "__main__":
    main()
