"""Find train/, val/ and test/ in a folder of images, and explain a folder with another layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from minires.data.arguments import counted, first, path
from minires.data.folder import ImageFolder
from minires.data.listing import broken_link, unusable, visible
from minires.errors import DataError

# Each split and the names that its directory may have.
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_WANTED = "train/ and test/ (or val/), each with a folder for each class"
_LOOKED_AT = 100  # folders that are enough to guess a layout


@dataclass(frozen=True)
class HeldOut:
    """The splits that are not used for training.

    Attributes
    ----------
    names : ("val", "test"): the first chooses the best network and the second tests it; or a single split for both
    note : what a user should know about an unused directory; "" if there is none
    """

    names: tuple[str, ...]
    note: str = ""


def split_directory(root: str | os.PathLike[str], split: str) -> Path:
    """Return the directory of a split: "train", "val" or "test".

    Raises
    ------
    DataError : if it is missing; the text says what is there instead.
    """
    root = path(root, "root")
    _check_links(root, split)
    found = [root / name for name in SPLITS[split] if (root / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{root} holds both {found[0].name}/ and {found[1].name}/; keep one of them")
    if not found:
        raise DataError(f"{root / split} is missing; expected {root} to hold {_WANTED}; {_explain(root, split)}")
    return found[0]


def held_out(root: str | os.PathLike[str]) -> HeldOut:
    """Return the splits of a folder other than train/.

    Raises
    ------
    DataError : if there is no other split, or if it has no folder for each class.
    """
    root = path(root, "root")
    for split in ("val", "test"):
        _check_links(root, split)
    there = [split for split in ("val", "test") if any((root / name).is_dir() for name in SPLITS[split])]
    if not there:
        split_directory(root, "test")  # raises
    if "test" in there and _unlabelled(root / "test"):
        text = (
            f"{root / 'test'} holds {counted(len(_files(root / 'test')), 'image')} without a folder for each class, as "
            "competitions hand them out: nothing says what they show"
        )
        if "val" in there:
            return HeldOut(("val",), f"{text}; the network is tested on val/ (minires predict names their classes)")
        raise DataError(
            f"{text}. Move a part of each class from train/ into val/CLASS/ to test the network on, and let minires "
            "predict name the classes of the others"
        )
    for split, other in (there, there[::-1]) if len(there) == 2 else ():
        if _is_blank(directory := split_directory(root, split)):
            raise DataError(
                f"{directory} holds no folder with images of a class: remove it, as {split_directory(root, other)} "
                "alone is enough, or put the images in"
            )
    return HeldOut(tuple(there))


def check_several_classes(images: ImageFolder) -> None:
    """Check that there are at least two classes.

    Raises
    ------
    DataError : for a single class; the text says what the folder seems to be.
    """
    if len(images.classes) > 1:
        return
    only = images.root / images.classes[0]
    inside = _folders(only) if only.is_dir() else []
    if len(inside) > 1 and not _files(only):
        hint = (
            f"it holds {len(inside)} folders ({first([entry.name for entry in inside])}): if these are the classes, "
            f"move them up into {images.root}"
        )
    else:
        hint = "expected a folder for each of two classes or more, such as cat/ and other/"
    raise DataError(
        f"{images.root} holds {counted(len(images), 'image')} in one class, {images.classes[0]}, so there is nothing "
        f"to tell apart; {hint}"
    )


def _check_links(root: Path, split: str) -> None:
    """Raise DataError if the directory of a split is a broken link."""
    for name in SPLITS[split]:
        if wrong := broken_link(root / name):
            raise DataError(f"{root / name} is {wrong}; restore what it led to, or remove it")


def _explain(root: Path, split: str) -> str:
    """Say what ``root`` seems to be, and what to do."""
    if not root.exists():
        wrong = broken_link(root)
        return f"{root} is {wrong}" if wrong else f"{root} does not exist"
    if not root.is_dir():
        return f"{root} is a file: unpack it, and name the folder"
    folders, images = _folders(root), _files(root)
    wanted = SPLITS[split] if split == "train" else (*SPLITS["val"], *SPLITS["test"])
    alike = [(entry.name, name) for entry in folders for name in wanted if entry.name.lower().startswith(name)]
    within = [entry for entry in folders if (entry / "train").is_dir()]
    classes = [entry.name for entry in folders if _files(entry)]
    found = [f"{entry.name}/" for entry in folders] + [entry.name for entry in images]
    if alike:
        hint = f"found {alike[0][0]}/: rename it to {alike[0][1]}/"
    elif within:
        hint = f"did you mean {within[0]}?"
    elif split == "test" and (root / "train").is_dir():
        hint = f"found {first(found)}: move a part of each class from train/ into test/"
    elif classes and root.name in {name for names in SPLITS.values() for name in names}:
        hint = f"it holds classes itself ({first(classes)}): did you mean {root.absolute().parent}?"
    elif classes:
        hint = (
            f"it holds folders of images ({first(classes)}): if these are the classes, move most of each into "
            "train/CLASS/ and the others into test/CLASS/"
        )
    elif images:
        names = first([entry.name for entry in images])
        hint = f"it holds {counted(len(images), 'image')} ({names}) in no folder of a class"
    else:
        hint = f"found {first(found)}" if found else "it is empty"
    return hint


def _unlabelled(directory: Path) -> bool:
    return bool(_files(directory)) and not _folders(directory)


def _is_blank(directory: Path) -> bool:
    """Return whether there are no images in a directory, and no images or folders in its folders."""
    folders = _folders(directory)
    return not _files(directory) and not any(_files(folder) or _folders(folder) for folder in folders)


def _folders(directory: Path) -> list[Path]:
    return [entry for entry in _visible(directory) if entry.is_dir()][:_LOOKED_AT]


def _files(directory: Path) -> list[Path]:
    """Return the images directly in a directory."""
    return [entry for entry in _visible(directory) if not unusable(entry) and entry.is_file()]


def _visible(directory: Path) -> list[Path]:
    try:
        return visible(directory)
    except OSError:
        return []
