"""Read one image file as an array. Needs Pillow, the extra ``image``."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from minires.data import arguments
from minires.errors import DataError, ShapeError, install_command
from minires.geometry import pair

EXTENSIONS = (
    *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
_MODES = {1: "L", 3: "RGB"}
_ORIENTATION = 0x0112
# EXIF orientation -> the member of Pillow's Transpose that turns the image upright.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# Formats that only some versions of Pillow read, by bytes 4 to 12 of a file.
_BRANDS = {b"ftypavif": "AVIF", b"ftypavis": "AVIF", b"ftypheic": "HEIC", b"ftypheix": "HEIC", b"ftypmif1": "HEIC"}


def read_image(
    path: str | bytes | os.PathLike[str], size: int | tuple[int, int], channels: int = 3
) -> npt.NDArray[np.uint8]:
    """Return one image file as an array.

    Grey values v of 16 bits become v / 257, rounded to 8 bits, so that white stays white. Floats and integers of 32
    bits are refused, since the file does not say which value is white. Transparent pixels become white. An animation
    gives its first image.

    The image is rotated as its EXIF data says (damaged EXIF data is ignored). It keeps its proportions: it is scaled
    (bilinear) until it just covers ``size``, and its centre is cut out.

    Parameters
    ----------
    path : a file in any format that Pillow reads; ``~`` stands for the home directory
    size : H and W, an int or a pair
    channels : 3 for red, green and blue, 1 for grey

    Returns
    -------
    uint8 (channels, H, W).

    Raises
    ------
    DataError : if the file is missing, truncated, not an image, or an image of 32 bits, or if Pillow is missing.
    ShapeError : if ``size`` or ``channels`` is not as above.
    """
    H, W = image_size(size)
    if channels not in _MODES:
        raise ShapeError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    image_module, operations = _pillow("Image"), _pillow("ImageOps")
    file = arguments.path(path, "the image")
    try:
        upright = _decoded(file, _MODES[channels])
        fitted = operations.fit(upright, (W, H), image_module.Resampling.BILINEAR)
    except Exception as error:  # a damaged file can make Pillow's readers raise any exception
        raise DataError(
            f"cannot read {file}: {_reason(file, error)}; expected an image of 8 or 16 bits that Pillow reads"
        ) from error
    return np.ascontiguousarray(np.asarray(fitted, np.uint8).reshape(H, W, channels).transpose(2, 0, 1))


def image_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return H and W.

    Raises
    ------
    ShapeError : if ``size`` is not a positive integer or a pair of them.
    """
    H, W = pair(size, "size")
    if min(H, W) < 1:
        raise ShapeError(f"size must be at least 1, got {(H, W)}")
    return H, W


def _decoded(path: Path, mode: str) -> Any:
    image_module = _pillow("Image")
    with image_module.open(path) as file:
        file.load()
        turn = _TURNS.get(_orientation(file))
        image = _on_white(_eight_bits(file)).convert(mode)
    return image if turn is None else image.transpose(image_module.Transpose[turn])


def _orientation(file: Any) -> int:
    try:
        return int(file.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data raises many kinds of errors; the image itself may be fine
        return 1


def _eight_bits(image: Any) -> Any:
    """Convert an image of 16 bits to 8 bits. (Pillow's own conversion clips values at 255.)"""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if not deep:
        if image.mode in ("I", "F"):
            raise ValueError(
                f"its mode is {image.mode}, 32 bits, and the file does not say which value is white; "
                "convert it to 8 or 16 bits"
            )
        return image
    values = np.asarray(image).astype(np.uint32)
    from_array = _pillow("Image").fromarray
    grey = from_array(((values + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the grey value that means transparent
        grey.putalpha(from_array(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _on_white(image: Any) -> Any:
    if not image.has_transparency_data:
        return image
    image_module = _pillow("Image")
    picture = image.convert("RGBA")
    return image_module.alpha_composite(image_module.new("RGBA", picture.size, "white"), picture)


def _reason(path: Path, error: Exception) -> str:
    """Return a text that says why a file cannot be read."""
    if path.is_dir():
        return "it is a directory"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    pillow = _pillow("Image")
    if not isinstance(error, pillow.UnidentifiedImageError):
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return str(error) or type(error).__name__
    with path.open("rb") as file:
        start = file.read(24)
    if not start:
        return "it is empty, 0 bytes"
    brand = _BRANDS.get(start[4:12])
    if brand is not None:
        return (
            f"it is {brand} by its first bytes, which Pillow {pillow.__version__} here does not read, or it is damaged "
            "(Pillow 11.3 or newer reads AVIF; convert HEIC to JPEG or PNG)"
        )
    return f"its content is no image, whatever its name says: it starts with {start!r}"


def _pillow(module: str) -> ModuleType:
    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise DataError(f"reading image files needs Pillow: {install_command('image')}") from error
