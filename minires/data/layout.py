"""Find train/, val/ and test/ in a folder of images, and say what a folder of another layout seems to be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from minires.data.folder import ImageFolder
from minires.data.listing import first, unusable, visible
from minires.errors import DataError

# Each split and the names that its directory may have.
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_WANTED = "train/ and test/ (or val/), each with a folder for each class"
_LOOKED_AT = 100  # folders, to guess what a layout is


@dataclass(frozen=True)
class HeldOut:
    """The splits that are not trained with.

    Attributes
    ----------
    names : ("val", "test"): the first chooses the best network and the last has the last word; or one of the two,
        which then does both
    note : what a user should know about a directory that is not used, "" for nothing
    """

    names: tuple[str, ...]
    note: str = ""


def split_directory(root: str | os.PathLike[str], split: str) -> Path:
    """Return the directory of a split: "train", "val" or "test".

    Raises
    ------
    DataError : if it is missing; the text says what is there in its place.
    """
    root = Path(os.path.expanduser(root))
    found = [root / name for name in SPLITS[split] if (root / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{root} holds both {found[0].name}/ and {found[1].name}/; keep one of them")
    if not found:
        raise DataError(f"{root / split} is missing; expected {root} to hold {_WANTED}; {_explain(root, split)}")
    return found[0]


def held_out(root: str | os.PathLike[str]) -> HeldOut:
    """Return which splits a folder has beside train/.

    Raises
    ------
    DataError : if there is none, or none with a folder for each class.
    """
    root = Path(os.path.expanduser(root))
    there = [split for split in ("val", "test") if any((root / name).is_dir() for name in SPLITS[split])]
    if not there:
        split_directory(root, "test")  # raises
    if "test" in there and _unlabelled(root / "test"):
        text = (
            f"{root / 'test'} holds {len(_files(root / 'test'))} images without a folder for each class, as "
            "competitions hand them out: nothing says what they show"
        )
        if "val" in there:
            return HeldOut(("val",), f"{text}; the network is tested on val/ (minires predict names their classes)")
        raise DataError(
            f"{text}. Move a part of each class from train/ into val/CLASS/ to test the network on, and let minires "
            "predict name the classes of the others"
        )
    return HeldOut(tuple(there))


def check_several_classes(images: ImageFolder) -> None:
    """Make sure that there is something to tell apart.

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
            f"it holds {len(inside)} folders ({first([path.name for path in inside])}): if these are the classes, move "
            f"them up into {images.root}"
        )
    else:
        hint = "expected a folder for each of two classes or more, such as cat/ and other/"
    raise DataError(
        f"{images.root} holds {len(images)} images in one class, {images.classes[0]}, so there is nothing to tell "
        f"apart; {hint}"
    )


def _explain(root: Path, split: str) -> str:
    """Return what ``root`` seems to be, and what to do."""
    if not root.exists():
        return f"{root} does not exist"
    if not root.is_dir():
        return f"{root} is a file: unpack it, and name the folder"
    folders, images = _folders(root), _files(root)
    wanted = SPLITS[split] if split == "train" else (*SPLITS["val"], *SPLITS["test"])
    alike = [(path.name, name) for path in folders for name in wanted if path.name.lower().startswith(name)]
    within = [path for path in folders if (path / "train").is_dir()]
    classes = [path.name for path in folders if _files(path)]
    found = [f"{path.name}/" for path in folders] + [path.name for path in images]
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
        hint = f"it holds {len(images)} images ({first([path.name for path in images])}) in no folder of a class"
    else:
        hint = f"found {first(found)}" if found else "it is empty"
    return hint


def _unlabelled(directory: Path) -> bool:
    return bool(_files(directory)) and not _folders(directory)


def _folders(directory: Path) -> list[Path]:
    return [path for path in _visible(directory) if path.is_dir()][:_LOOKED_AT]


def _files(directory: Path) -> list[Path]:
    """Return the images directly in a directory."""
    return [path for path in _visible(directory) if not unusable(path) and path.is_file()]


def _visible(directory: Path) -> list[Path]:
    try:
        return visible(directory)
    except OSError:
        return []
