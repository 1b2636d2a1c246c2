"""Save and load tensors by name in safetensors files: never with pickle, and never an incomplete file.

Any reader of safetensors, in PyTorch or elsewhere, opens what `save` writes, and `load` opens what they write.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from minires.autograd.tensor import Tensor
from minires.device import Array, asnumpy
from minires.errors import CheckpointError, DtypeError
from minires.functional.creation import tensor
from minires.nn import Module
from minires.nn.state import as_array

StrPath: TypeAlias = str | os.PathLike[str]
AnyPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_RESERVED = "__metadata__"
_HOLDS = "a checkpoint holds floats of 16, 32 or 64 bits, integers and bools, as tensors or arrays"
_SIZES = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}  # bytes, by kind of dtype
_LONGEST_HEADER = 100_000_000  # bytes, by the format
_TORCH_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_MAGIC = {
    b"\x93NUMPY": "NumPy's .npy, a single array; read it with np.load",
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes; read it with h5py, and give the arrays to load_state_dict by name",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
}


def save(state_dict: Mapping[str, Any], path: AnyPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors or arrays to one file. The arguments have the order of PyTorch's and safetensors' functions.

    The file gets its name when it is complete. After a crash or an error, the previous file is still there.

    Parameters
    ----------
    state_dict : tensors of minires or PyTorch, or arrays, by name, on any device and in any memory order; floats of
        16, 32 or 64 bits, integers, bools
    path : the file; an existing file is replaced
    metadata : strings by name, stored with the tensors

    Raises
    ------
    TypeError : if the state and the path are exchanged, the state is not a dictionary, or a name, or a key or value
        of the metadata, is not a string.
    DtypeError : if a value is not an array, or has a dtype that the format lacks.
    CheckpointError : if the file cannot be written, or a tensor has the one name that the format reserves.

    Identity that tests it: `load` returns the same bits, shapes and dtypes.
    """
    from safetensors.numpy import save as to_bytes

    _check_arguments(state_dict, path, metadata)
    for text in (*state_dict, *(item for pair in (metadata or {}).items() for item in pair)):
        if not isinstance(text, str):
            raise TypeError(
                f"names and metadata of a checkpoint are strings, got {text!r}: convert it, with str or json.dumps"
            )
    if _RESERVED in state_dict:
        raise CheckpointError(
            f"cannot write {_text(path)}: {_RESERVED!r} is where the format keeps its metadata; rename that tensor"
        )
    arrays = {name: _storable(name, value) for name, value in state_dict.items()}
    write_whole(path, to_bytes(arrays, metadata=dict(metadata) if metadata else None))


def load(path: AnyPath) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, on the CPU.

    Raises
    ------
    CheckpointError : if the file is missing, truncated or of another format, or holds a dtype that NumPy lacks. The
        message says what the file is and what to do with it.
    """
    with _opened(path) as file:
        state = {}
        for name in file.keys():  # noqa: SIM118 (it is not a dictionary)
            try:
                state[name] = tensor(file.get_tensor(name))
            except Exception as error:  # versions of safetensors raise different errors for a dtype that NumPy lacks
                kind = file.get_slice(name).get_dtype()
                raise CheckpointError(
                    f"{_text(path)} holds {name} as {kind}, which NumPy cannot; expected floats of 16, 32 or 64 bits, "
                    "integers or bools: convert it before saving"
                ) from error
    return state


def load_metadata(path: AnyPath) -> dict[str, str]:
    """Return the metadata of a safetensors file. This reads only the start of the file.

    Raises
    ------
    CheckpointError : if the file is missing, truncated or of another format.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


def write_whole(path: AnyPath, content: bytes) -> None:
    """Write a file so that it gets its name when it is complete and on the disk.

    Raises
    ------
    CheckpointError : if it cannot be written; an existing file then stays as it was, and no other file remains.
    """
    try:
        whole = Path(_text(path))
        beside = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}.partial")
        try:
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, whole)
        finally:
            with contextlib.suppress(OSError):  # it was renamed, or never created
                beside.unlink()
    except (OSError, ValueError) as error:  # ValueError: an impossible path, such as ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(f"cannot write {_text(path)}: {reason}; nothing was changed") from error


def leftovers(path: StrPath) -> list[Path]:
    """Return the partial files that `write_whole` left beside ``path`` when the process was killed."""
    path = Path(path)
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))


def _text(path: Any) -> str:
    """Return the path as a string, as it was given."""
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise TypeError(f"path must be a string, bytes or a pathlib.Path, got {path!r}") from error


def _check_arguments(state_dict: Any, path: Any, metadata: Any) -> None:
    """Raise TypeError if an argument of `save` has the wrong type."""
    if isinstance(state_dict, str | bytes | os.PathLike):
        raise TypeError(f"save takes the state first and then the path: save(state_dict, {_text(state_dict)!r})")
    if isinstance(state_dict, Module):
        raise TypeError(f"save takes a state, not a {type(state_dict).__name__}: save(model.state_dict(), path)")
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"a state is a dictionary of tensors by name, not a {type(state_dict).__name__}")
    if not isinstance(metadata, Mapping | None):
        raise TypeError(f"metadata must be a dictionary of strings, got {metadata!r}")
    _text(path)


def _storable(name: str, value: Any) -> Array:
    """Return a value of a state as a C-order NumPy array in the machine's byte order."""
    try:
        given = as_array(value)
    except (TypeError, RuntimeError) as error:
        raise DtypeError(f"{name} is not to be had as an array ({error}); {_HOLDS}: convert it") from error
    if given is None:
        advice = "put what is in there beside the other tensors, under names of its own"
        if not isinstance(value, Mapping):
            advice = "make an array of it, with np.array, or put it into the metadata, as a string"
        raise DtypeError(f"{name} is a {type(value).__name__}, {value!r:.60}; {_HOLDS}: {advice}")
    array = asnumpy(given)
    if array.dtype.itemsize not in _SIZES.get(array.dtype.kind, ()):
        how = "convert it, with .astype(…)"
        if array.dtype.kind == "c":
            how = "keep its real and its imaginary part under two names"
        elif type(value).__module__.partition(".")[0] == "torch":
            how = "convert it, with .to(…)"
        raise DtypeError(f"{name} is {array.dtype}; {_HOLDS}: {how}")
    # The library copies raw memory, so strides and a foreign byte order would be lost. (np.ascontiguousarray would
    # turn a 0-d array into a 1-d one.)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _opened(path: AnyPath) -> Any:
    """Return an open safetensors file, or raise CheckpointError."""
    from safetensors import SafetensorError, safe_open

    text = _text(path)
    try:
        whole = Path(text)
        if whole.is_dir():
            raise CheckpointError(f"{text} is a directory; {_inside(whole)}")
        if not whole.is_file():
            raise CheckpointError(f"{text} is missing; expected a checkpoint in the safetensors format")
        return safe_open(text, framework="np")
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{text} {_what_it_is(text, error)}") from error


# Messages for files that are not checkpoints


def _inside(directory: Path) -> str:
    """Return advice for a path that is a directory."""
    found = sorted(file.name for file in directory.glob("*.safetensors"))
    return f"name the file in it: {', '.join(found)}" if found else "there is no .safetensors file in it"


def _what_it_is(path: str, error: Exception) -> str:
    """Return what a file is that is not safetensors, judged by its first bytes, and what to do with it."""
    try:
        with open(path, "rb") as file:
            head, size = file.read(1024), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as unreadable:
        return f"cannot be read: {getattr(unreadable, 'strerror', None) or unreadable}"
    if not size:
        return "is empty: whatever wrote it did not finish; write or download it again"
    if told := (size <= 8 and _what_text_it_is(head)) or _what_is_missing(path, head, size):
        return told
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return _what_zip_it_is(path)
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        torch = "a PyTorch file (in the format before 1.6)" if _TORCH_MAGIC in head else "a pickle, maybe of PyTorch"
        return f"is {torch}, which could run any code when read; {_through_pytorch(path)}"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return f"is {kind}"
    told = _what_text_it_is(head)
    return told or f"is not a checkpoint in the safetensors format, or damaged ({error}); it begins with {head[:16]!r}"


def _through_pytorch(path: str) -> str:
    return (
        f"read it with PyTorch, state = torch.load({path!r}, weights_only=True), and give the tensors to "
        "model.load_state_dict(state), or convert the file once, mr.save(state, 'name.safetensors')"
    )


def _what_zip_it_is(path: str) -> str:
    try:
        names = zipfile.ZipFile(path).namelist()
    except (zipfile.BadZipFile, OSError):
        return "is a truncated zip archive, as PyTorch (.pth) and NumPy (.npz) write; copy or download it again"
    if any(name.endswith("data.pkl") for name in names):
        return f"is a PyTorch file (a zip archive with a pickle, which could run any code); {_through_pytorch(path)}"
    if names and all(name.endswith(".npy") for name in names):
        return f"is NumPy's .npz; read it with dict(np.load({path!r})), which mr.save and load_state_dict take"
    return f"is a zip archive of {', '.join(names[:3]) or 'nothing'}; unpack it first"


def _what_text_it_is(head: bytes) -> str:
    """Return what kind of text a file is, given its start; "" if it is not text."""
    try:
        text = head.decode(errors="strict" if len(head) < 1024 else "ignore")
    except UnicodeDecodeError:
        return ""
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return ""
    if text.startswith("version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself; fetch that with: git lfs pull"
    if text.lstrip()[:9].lower().startswith(("<!doctype", "<html", "<?xml")):
        return "is a web page, which a download gave in place of the file; look at it in a browser"
    return f"is a text file, which begins with {text[:30]!r}; expected a checkpoint in the safetensors format"


def _what_is_missing(path: str, head: bytes, size: int) -> str:
    """Return how much is missing of a truncated safetensors file; "" if it is complete or another file."""
    told = f"is truncated: it has {size} bytes"
    length = int.from_bytes(head[:8], "little")  # of the header, a JSON dictionary
    if size <= 8:
        return f"{told}; copy or download it again"
    if head[8:9] != b"{" or length > _LONGEST_HEADER:
        return ""
    whole = 8 + length
    if size >= whole:
        try:
            with open(path, "rb") as file:
                header = json.loads(file.read(whole)[8:])
            whole += max((entry["data_offsets"][1] for key, entry in header.items() if key != _RESERVED), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return ""
    return f"{told} of {whole} or more; copy or download it again" if size < whole else ""
