"""Read the IDX format of the MNIST family: a magic number, the sizes, the bytes.

    0x00 0x00 0x08 ndim | ndim sizes, 4 bytes each, big-endian | unsigned bytes, row by row

0x08 stands for unsigned bytes, the only type in these data sets. A file may be gzipped.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minires.errors import DataError
from minires.options import integer

_UNSIGNED_BYTES = 0x0800
_GZIP = b"\x1f\x8b"


def read_bytes(path: str | os.PathLike[str], expected: str) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    DataError : if it cannot be read; the text names the file and says what was ``expected``.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; expected {expected}") from error


def _start(content: bytes) -> str:
    """Return the first bytes of a foreign file in a form that helps to recognise it."""
    if not content:
        return "nothing: it is empty"
    if content[:3] == b"\0\0\x08" and len(content) > 3:
        return f"{content[:4].hex()}, an IDX file of {content[3]} axes, or a part of one"
    return f"{content[:4].hex()} ({content[:16]!r})"


def read_idx(path: str | os.PathLike[str], ndim: int) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, gzipped or not.

    Parameters
    ----------
    path : the file
    ndim : the required number of axes: 3 for images, 1 for labels

    Returns
    -------
    A read-only uint8 array with ``ndim`` axes.

    Raises
    ------
    DataError : if the file is missing, truncated, longer than its header says, or not IDX with ``ndim`` axes.

    Source: "The IDX file format", Y. LeCun, C. Cortes & C. Burges, THE MNIST DATABASE.
    """
    magic = _UNSIGNED_BYTES + integer(ndim, "ndim", 1)
    expected = f"an IDX file of unsigned bytes with {ndim} axes (magic number {magic:#010x})"
    content = read_bytes(path, expected)
    if content[:2] == _GZIP:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is a damaged gzip file ({error}); expected {expected}") from error
    header = np.frombuffer(content[: 4 + 4 * ndim], ">u4") if len(content) >= 4 + 4 * ndim else None
    if header is None or header[0] != magic:
        raise DataError(f"{path} starts with {_start(content)}; expected {expected}")
    shape = tuple(int(size) for size in header[1:])
    if len(content) != header.nbytes + math.prod(shape):
        raise DataError(
            f"{path} holds {len(content)} bytes uncompressed; expected {header.nbytes + math.prod(shape)}: "
            f"a header of {header.nbytes} and an array of shape {shape}"
        )
    return np.frombuffer(content, np.uint8, offset=header.nbytes).reshape(shape)
