"""Read a folder of image files with one directory for each class. Needs Pillow, the extra ``image``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minires.data.arguments import class_names, counted, first, path
from minires.data.dataset import Dataset
from minires.data.image import EXTENSIONS, image_size, read_image
from minires.data.listing import LeftOut, broken_link, composed, image_files, in_words, unusable, visible
from minires.errors import DataError

__all__ = ["EXTENSIONS", "ImageFolder", "read_image"]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(Dataset):
    """The images below a directory that holds one directory for each class: ``root/cat/001.jpg``.

    All images are decoded at once and kept in memory, N·3·H·W bytes. An image is a file whose name ends in one of
    ``EXTENSIONS``, also in a directory inside a class. Images are sorted by name. Links are followed. Names that
    begin with a dot are skipped at every depth.

    Broken links, empty files and unreadable files are left out, as are files whose names are not those of images.
    ``left_out`` lists them, and ``summary()`` describes them.

    Parameters
    ----------
    root : the directory; ``~`` stands for the home directory
    size : H and W of every image, an int or a pair; ``read_image`` says how it scales an image
    classes : the names of the directories, label by label. Give ``training_set.classes`` for a test set, so that its
        labels mean the same; a class may have no image. None for every directory in ``root``, sorted by name.
        Accents may be composed or not (Unicode's NFC or NFD); the attribute ``classes`` has them composed
    mean, std : of the red, green and blue channel; by default those of ImageNet, which pretrained networks expect

    Raises
    ------
    DataError : if a directory is missing, empty or not a class; if images are damaged (the text names all of
        them); if the images do not fit into memory; or if Pillow is missing.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int | tuple[int, int],
        classes: Sequence[str] | None = None,
        mean: Sequence[float] = _IMAGENET_MEAN,
        std: Sequence[float] = _IMAGENET_STD,
    ) -> None:
        shape = image_size(size)
        self.root = path(root, "root")
        folders, left_out = _class_folders(self.root)
        names = sorted(folders) if classes is None else list(class_names(classes))
        labels = {composed(name): label for label, name in enumerate(names)}
        _check_known(self.root, folders, names)
        files: list[Path] = []
        numbers: list[int] = []
        for name in sorted(folders):
            listings = [image_files(folder) for folder in folders[name]]
            found = [file for listing in listings for file in listing.files]
            left_out += [entry for listing in listings for entry in listing.left_out]
            if not found and classes is None:
                raise DataError(_without_images(folders[name][0], left_out))
            files += found
            numbers += [labels[name]] * len(found)
        if not files:
            raise DataError(_without_images(self.root, left_out))
        super().__init__(_read_all(files, shape), np.array(numbers), names, mean, std)
        self.files = tuple(files)
        self.left_out = tuple(left_out)

    def summary(self) -> str:
        """Return one line with the numbers of images and classes, and what was left out."""
        seen = set(self.labels.tolist())
        missing = [name for label, name in enumerate(self.classes) if label not in seen]
        total = f"{len(self.classes)} class" + ("" if len(self.classes) == 1 else "es")
        classes = f"{len(seen)} of {total}" if missing else total
        text = f"{counted(len(self), 'image')} in {classes}" + (f" (none of {first(missing)})" if missing else "")
        if self.left_out:
            text += f"; {len(self.left_out)} left out: {in_words(self.left_out, self.root)}"
        return text


def _class_folders(root: Path) -> tuple[dict[str, list[Path]], list[LeftOut]]:
    """Return the directories of each class by its composed name, and the files beside these directories."""
    if not root.is_dir():
        kind = "a file" if root.exists() else "missing"
        raise DataError(f"{root} is not a directory ({kind}); expected one that holds a directory for each class")
    try:
        paths = visible(root)
    except OSError as error:
        raise DataError(f"cannot read the directory {root}: {error.strerror}") from error
    folders: dict[str, list[Path]] = {}
    beside = []
    for entry in paths:
        if entry.is_dir() or (broken_link(entry) and entry.suffix.lower() not in EXTENSIONS):
            folders.setdefault(composed(entry.name), []).append(entry)
        else:
            beside.append(LeftOut(entry, unusable(entry) or "in no class: it lies beside the folders"))
    if not folders:
        images = [entry.name for entry in paths if entry.suffix.lower() in EXTENSIONS]
        found = f"{counted(len(images), 'image')} ({first(images)}) but no directory" if images else "no directory"
        raise DataError(f"{root} holds {found}; expected one for each class, with its images inside")
    return folders, beside


def _check_known(root: Path, folders: dict[str, list[Path]], names: Sequence[str]) -> None:
    """Raise DataError for directories that are not among the classes."""
    known = {composed(name) for name in names}
    unknown = [name for name in sorted(folders) if name not in known]
    if not unknown:
        return
    for name in unknown:
        for folder in folders[name]:
            if wrong := broken_link(folder):
                raise DataError(f"{folder} is {wrong}, and its name is none of a class; remove it")
    alike = [name for name in names if composed(name).casefold().strip() == unknown[0].casefold().strip()]
    hint = f"did you mean {alike[0]!r}?" if alike else "rename it, or add it to the training images too"
    if len(folders) == len(unknown) and not alike:  # perhaps a folder of unlabelled images
        hint += "; if its images have no labels, move them elsewhere: they can be predicted, not tested with"
    more = f" (nor are {first(unknown[1:])})" if unknown[1:] else ""
    raise DataError(f"{root / unknown[0]} is not one of the classes {', '.join(names)}{more}; {hint}")


def _without_images(directory: Path, left_out: Sequence[LeftOut]) -> str:
    inside = [entry for entry in left_out if entry.path.is_relative_to(directory)]
    if inside and inside[0].path == directory:
        return f"{directory} is {inside[0].reason}; make it readable, or remove it"
    found = f"found {in_words(inside, directory)}" if inside else "it is empty"
    return f"{directory} holds no image: {found}; expected files ending in {', '.join(EXTENSIONS)}"


def _read_all(files: Sequence[Path], size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return all images (N, 3, H, W); raise one DataError that names all damaged files."""
    shape = (len(files), 3, *size)
    try:
        images = np.empty(shape, np.uint8)
    except (ValueError, MemoryError) as error:
        raise DataError(
            f"the images, {shape} bytes, do not fit into memory ({error}); choose a smaller size"
        ) from error
    damaged: list[tuple[Path, DataError]] = []
    for image, file in zip(images, files, strict=True):
        try:
            image[...] = read_image(file, size)
        except DataError as error:
            if not damaged and error.__cause__ is not None and isinstance(error.__cause__, ImportError):
                raise
            damaged.append((file, error))
    if len(damaged) == 1:
        raise DataError(f"{damaged[0][1]}; replace or delete the file") from damaged[0][1]
    if damaged:
        others = first([str(file) for file, _ in damaged[1:]])
        raise DataError(
            f"{len(damaged)} of {len(files)} images cannot be read; replace or delete them. The first: "
            f"{damaged[0][1]}. The others: {others}"
        ) from damaged[0][1]
    return images
