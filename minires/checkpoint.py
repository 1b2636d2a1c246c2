"""Tensors by name in a file: safetensors, never pickle, and never half a file.

What `save` writes, any reader of safetensors opens, PyTorch's and the web's among them; what those write,
`load` opens.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asnumpy
from minires.errors import CheckpointError, DtypeError
from minires.functional.creation import tensor

StrPath: TypeAlias = str | os.PathLike[str]
_RESERVED = "__metadata__"
_SIZES = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}  # bytes, by kind of dtype


def save(path: StrPath, state_dict: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors or arrays, in any memory order, to one file.

    The file appears under its name when it is complete: a crash, a full disk or an error leaves what was
    there before.

    Parameters
    ----------
    path : the file; an existing one is replaced
    state_dict : tensors or arrays by name, on any device; floats of 16, 32 or 64 bits, integers, bools
    metadata : texts by name, kept beside the tensors

    Raises
    ------
    TypeError : if a name, or a key or value of the metadata, is not a string.
    DtypeError : if a value is no array, or of a dtype that the format lacks.
    CheckpointError : if the file cannot be written, or a tensor has the one name that the format keeps for itself.

    Identity that tests it: `load` gives back the same bits, shapes and dtypes.
    """
    from safetensors.numpy import save as to_bytes

    for text in (*state_dict, *(item for pair in (metadata or {}).items() for item in pair)):
        if not isinstance(text, str):
            raise TypeError(f"names and metadata of a checkpoint are strings, got {text!r}")
    if _RESERVED in state_dict:
        raise CheckpointError(
            f"cannot write {path}: {_RESERVED!r} is where the format keeps its metadata; rename that tensor"
        )
    arrays = {name: _storable(name, value) for name, value in state_dict.items()}
    write_whole(path, to_bytes(arrays, metadata=dict(metadata) if metadata else None))


def load(path: StrPath) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises
    ------
    CheckpointError : if the file is missing, truncated or foreign, or holds a dtype that NumPy lacks.
    """
    with _opened(path) as file:
        state = {}
        for name in file.keys():  # noqa: SIM118 (it is no dictionary)
            try:
                state[name] = tensor(file.get_tensor(name))
            except Exception as error:  # each version of safetensors has its own for a dtype that NumPy lacks
                kind = file.get_slice(name).get_dtype()
                raise CheckpointError(
                    f"{path} holds {name} as {kind}, which NumPy cannot; expected floats of 16, 32 or 64 bits, "
                    "integers or bools: convert it before saving"
                ) from error
    return state


def load_metadata(path: StrPath) -> dict[str, str]:
    """The texts kept beside the tensors of a safetensors file; reads the head of the file alone.

    Raises
    ------
    CheckpointError : if the file is missing, truncated or foreign.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


def write_whole(path: StrPath, content: bytes) -> None:
    """Write a file that appears under its name when it is complete, and on the disk.

    Raises
    ------
    CheckpointError : if it cannot be written; nothing is left behind, and an existing file stays as it was.
    """
    try:
        whole = Path(path)
        beside = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}.partial")
        try:
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, whole)
        finally:
            with contextlib.suppress(OSError):  # it is gone, or never was
                beside.unlink()
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have, as ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(f"cannot write {path}: {reason}; nothing was changed") from error


def leftovers(path: StrPath) -> list[Path]:
    """What `write_whole` left beside ``path`` when the process was killed in the middle of it."""
    path = Path(path)
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))


def _storable(name: str, value: Any) -> Array:
    array = asnumpy(value.array if isinstance(value, Tensor) else value)
    if array.dtype.itemsize not in _SIZES.get(array.dtype.kind, ()):
        raise DtypeError(f"{name} is {array.dtype}; a checkpoint holds floats of 16, 32 or 64 bits, integers and bools")
    # The library copies raw memory: strides, and bytes the other way round, would be lost. (np.ascontiguousarray
    # would turn a number into an array of one.)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _opened(path: StrPath) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        if not Path(path).is_file():
            raise CheckpointError(f"{path} is missing; expected a checkpoint in the safetensors format")
        return safe_open(path, framework="np")
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} is truncated or foreign ({error}); expected a checkpoint in the safetensors format"
        ) from error
