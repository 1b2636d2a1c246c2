"""Find the image files below a directory, and list the files left out with their reasons."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from minires.data.arguments import first
from minires.data.image import EXTENSIONS

# Files and directories that operating systems, archives and network drives add.
_SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "thumbs.db", "desktop.ini"}


class LeftOut(NamedTuple):
    """A file or directory that is not used, and the reason."""

    path: Path
    reason: str


class Listing(NamedTuple):
    """The image files below a directory, and the files that are not used."""

    files: list[Path]
    left_out: list[LeftOut]


def composed(name: str) -> str:
    """Return a name with composed accents (NFC); macOS and archives made there decompose them."""
    return unicodedata.normalize("NFC", name)


def visible(directory: Path) -> list[Path]:
    """Return the paths in a directory, sorted by name, without hidden and system files.

    Raises
    ------
    OSError : if the directory cannot be read.
    """
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    return [
        directory / name
        for name in sorted(names, key=composed)
        if not name.startswith(".") and name.lower() not in _SYSTEM
    ]


def image_files(directory: Path) -> Listing:
    """Return the image files below a directory, sorted by path; links are followed.

    A file is an image if its name ends in one of ``EXTENSIONS``. Names that begin with a dot and system files are
    skipped at every depth, and not listed. A link to a directory that contains the link is left out.
    """
    listing = Listing([], [])
    around = frozenset(map(_identity, directory.absolute().parents))
    pending = [(directory, around)]
    while pending:
        folder, above = pending.pop()
        try:
            identity, paths = _identity(folder), visible(folder)
        except OSError as error:
            reason = f"a folder that cannot be read: {error.strerror}"
            listing.left_out.append(LeftOut(folder, broken_link(folder) or reason))
            continue
        if identity in above:
            listing.left_out.append(LeftOut(folder, "a link to a folder that it is in"))
            continue
        for path in paths:
            if path.is_dir():
                pending.append((path, above | {identity}))
            elif reason := unusable(path):
                listing.left_out.append(LeftOut(path, reason))
            else:
                listing.files.append(path)
    listing.files.sort(key=_in_order)
    listing.left_out.sort(key=lambda entry: _in_order(entry.path))
    return listing


def unusable(path: Path) -> str:
    """Return why a file is not a usable image, judged without reading it; "" if it may be one."""
    try:
        status = path.stat()
    except OSError as error:
        return broken_link(path) or error.strerror or str(error)
    if path.suffix.lower() not in EXTENSIONS:
        return "not an image by its name"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if not status.st_size:
        return "empty, 0 bytes"
    return "" if os.access(path, os.R_OK) else "no permission to read it"


def broken_link(path: Path) -> str:
    """Return what is wrong with a link that cannot be followed; "" for any other path."""
    if not path.is_symlink():
        return ""
    try:
        path.stat()
    except FileNotFoundError:
        return "a link to nothing"
    except OSError as error:  # such as a loop of links
        return f"a link that cannot be followed: {error.strerror}"
    return ""


def in_words(left_out: Iterable[LeftOut], root: Path) -> str:
    """Return the files left out as text: the first names for each reason; "" if there are none."""
    groups: dict[str, list[str]] = {}
    for path, reason in left_out:
        groups.setdefault(reason, []).append(_below(path, root))
    return "; ".join(f"{first(names)} ({reason})" for reason, names in groups.items())


def _identity(directory: Path) -> tuple[int, int]:
    """Return a key of a directory that is the same through any link to it."""
    status = directory.stat()
    return status.st_dev, status.st_ino


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _in_order(path: Path) -> tuple[str, ...]:
    return tuple(map(composed, path.parts))
