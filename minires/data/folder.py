"""Image files: one image, or a folder with one directory a class. Needs Pillow, the extra ``image``."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.data.dataset import Dataset
from minires.errors import DataError, ShapeError, install_command
from minires.geometry import pair

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_MODES = {1: "L", 3: "RGB"}
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(Dataset):
    """The images below a directory that has one directory a class: ``root/cat/001.jpg``.

    All images are decoded at once and held in memory, N·3·H·W bytes. Only files whose name ends in one of
    ``EXTENSIONS`` are looked at, in the order of their names, directories inside a class included.

    Parameters
    ----------
    root : the directory
    size : H and W of every image, an int or a pair; see ``read_image`` for how an image is brought to it
    classes : the names of the directories, label by label, as ``training_set.classes``: give them for a test
        set, so that its labels mean the same. None: every directory in ``root``, sorted by name
    mean, std : of the red, green and blue channel; ImageNet's where not given, as pretrained networks expect

    Raises
    ------
    DataError : if a directory is missing, not a class or empty, if an image cannot be read, if they do not fit into
        memory, or without Pillow.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int | tuple[int, int],
        classes: Sequence[str] | None = None,
        mean: Sequence[float] = _IMAGENET_MEAN,
        std: Sequence[float] = _IMAGENET_STD,
    ) -> None:
        found = _directories(Path(root))
        names = found if classes is None else list(classes)
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise DataError(f"{Path(root) / unknown[0]} is not one of the classes {', '.join(names)}")
        files = [(file, names.index(name)) for name in found for file in _images(Path(root) / name)]
        shape = (len(files), 3, *_size(size))
        try:
            images = np.empty(shape, np.uint8)
        except (ValueError, MemoryError) as error:
            raise DataError(
                f"the images, {shape} bytes, do not fit into memory ({error}); choose a smaller size"
            ) from error
        for image, (file, _) in zip(images, files, strict=True):
            image[...] = read_image(file, size)
        super().__init__(images, np.array([label for _, label in files]), names, mean, std)
        self.files = tuple(file for file, _ in files)


def read_image(path: str | os.PathLike[str], size: int | tuple[int, int], channels: int = 3) -> npt.NDArray[np.uint8]:
    """One image file as an array.

    Grey values of 16 bits are brought to 8, v / 257 rounded, so that white stays white. Floats and integers of 32
    bits are refused: which of them is white, the file does not say.

    The image is turned as its EXIF data says, scaled (bilinear) until it just covers ``size`` with its own
    proportions, and cut to ``size`` around its centre.

    Parameters
    ----------
    path : a file in any format that Pillow reads
    size : H and W, an int or a pair
    channels : 3 for red, green and blue, 1 for grey

    Returns
    -------
    uint8 (channels, H, W).

    Raises
    ------
    DataError : if the file is missing, truncated, no image, or one of 32 bits, or if Pillow is not installed.
    ShapeError : if ``size`` or ``channels`` is not as above.
    """
    H, W = _size(size)
    if channels not in _MODES:
        raise ShapeError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    image_module = _pillow("Image")
    operations = _pillow("ImageOps")
    try:
        with image_module.open(path) as file:
            upright = _eight_bits(operations.exif_transpose(file)).convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise DataError(f"cannot read {path}: {error}; expected an image of 8 or 16 bits that Pillow reads") from error
    fitted = operations.fit(upright, (W, H), image_module.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(fitted, np.uint8).reshape(H, W, channels).transpose(2, 0, 1))


def _eight_bits(image: Any) -> Any:
    """An image of 16 bits as one of 8. (Pillow's own conversion cuts off what is above 255.)"""
    if image.mode in ("I", "F"):
        raise ValueError(f"its mode is {image.mode}, 32 bits, and what is white among them the file does not say")
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.uint32)
    return _pillow("Image").fromarray(((values + 128) // 257).astype(np.uint8))


def _pillow(module: str) -> ModuleType:
    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise DataError(f"reading image files needs Pillow: {install_command('image')}") from error


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    H, W = pair(size, "size")
    if min(H, W) < 1:
        raise ShapeError(f"size must be at least 1, got {(H, W)}")
    return H, W


def _directories(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; expected one that holds a directory for each class")
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise DataError(f"{root} holds no directory; expected one for each class, with its images inside")
    return found


def _images(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise DataError(f"{directory} holds no image; expected files ending in {', '.join(EXTENSIONS)}")
    return files
