import pytest
from PIL import Image

from minires.data import ImageFolder
from minires.data.layout import check_several_classes, held_out, split_directory
from minires.errors import DataError


def made(root, *names):
    """Make an image for each name, or an empty directory for a name that ends in a slash."""
    for name in names:
        if name.endswith("/"):
            (root / name).mkdir(parents=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(root / name)
    return root


@pytest.mark.parametrize(
    ("names", "split", "hint"),
    [
        (["train/cat/1.png", "test/cat/1.png"], "train", "train"),
        (["train/cat/1.png", "valid/cat/1.png"], "val", "valid"),
        (["train/cat/1.png", "validation/cat/1.png"], "val", "validation"),
    ],
)
def test_a_split_has_a_directory(tmp_path, names, split, hint):
    assert split_directory(made(tmp_path, *names), split) == tmp_path / hint


@pytest.mark.parametrize(
    ("names", "split", "hint"),
    [
        (["data/train/cat/1.png", "data/test/cat/1.png"], "train", r"did you mean .*/data\?"),
        (["Train/cat/1.png"], "train", "found Train/: rename it to train/"),
        (["training_set/cat/1.png"], "train", "found training_set/: rename it to train/"),
        (["train/cat/1.png", "Val/cat/1.png"], "test", "found Val/: rename it to val/"),
        (
            ["train/cat/1.png", "dev/cat/1.png"],
            "test",
            "found dev/, train/: move a part of each class from train/ into",
        ),
        (["cat/1.png", "dog/1.png"], "train", r"holds folders of images \(cat, dog\): if these are the classes, move"),
        ([f"{i}.png" for i in range(5)], "train", r"holds 5 images \(0\.png, 1\.png, 2\.png and 2 more\) in no folder"),
        (["some/thing/else/1.png"], "train", "found some/$"),
        ([], "train", "it is empty"),
    ],
)
def test_a_missing_split_is_explained_by_what_is_there(tmp_path, names, split, hint):
    with pytest.raises(DataError, match=rf"{split} is missing; expected .* to hold train/ and test/ .*; .*{hint}"):
        split_directory(made(tmp_path, *names), split)


def test_a_root_that_is_train_itself_is_told_its_parent(tmp_path):
    made(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    with pytest.raises(DataError, match=rf"holds classes itself \(cat, dog\): did you mean {tmp_path}\?"):
        split_directory(tmp_path / "train", "train")


def test_a_root_that_is_not_there_or_a_file_is_told_so(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        split_directory(tmp_path / "nowhere", "train")
    (tmp_path / "cats.zip").touch()
    with pytest.raises(DataError, match=r"cats\.zip is a file: unpack it, and name the folder"):
        split_directory(tmp_path / "cats.zip", "train")
    with pytest.raises(DataError, match="test is missing"):
        held_out(made(tmp_path, "train/cat/1.png"))


def test_two_directories_for_one_split_are_an_error(tmp_path):
    with pytest.raises(DataError, match="holds both val/ and valid/; keep one of them"):
        split_directory(made(tmp_path, "val/cat/1.png", "valid/cat/1.png"), "val")


def test_test_images_without_classes_are_told_for_what_they_are(tmp_path):
    made(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png")
    with pytest.raises(DataError, match=r"test holds 2 images without a folder for each class.*into val/CLASS/"):
        held_out(tmp_path)
    found = held_out(made(tmp_path, "val/cat/2.png"))
    assert found.names == ("val",)
    assert "the network is tested on val/" in found.note


def test_several_classes_are_in_order(tmp_path):
    check_several_classes(ImageFolder(made(tmp_path, "cat/1.png", "dog/1.png"), 4))


def test_one_class_is_an_error_that_says_what_was_found(tmp_path):
    with pytest.raises(DataError, match=r"holds 1 image in one class, cat, .*; expected a folder for each of two"):
        check_several_classes(ImageFolder(made(tmp_path, "cat/1.png"), 4))


def test_a_level_too_many_is_told_for_what_it_is(tmp_path):
    made(tmp_path, "data/cat/1.png", "data/dog/1.png", "data/dog/2.png", "data/emu/1.png", "data/fox/1.png")
    with pytest.raises(DataError, match=r"one class, data, .*it holds 4 folders \(cat, dog, emu and 1 more\): .* move"):
        check_several_classes(ImageFolder(tmp_path, 4))


def test_a_split_that_is_a_link_to_nothing_is_an_error(tmp_path):
    made(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    (tmp_path / "val").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="val is a link to nothing; restore what it led to, or remove it"):
        held_out(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="again is a link to nothing"):
        split_directory(tmp_path / "again", "train")


@pytest.mark.parametrize(
    "names", [["val/cat/1.png", "test/"], ["val/cat/", "test/cat/1.png"], ["valid/cat/1.png", "test/cat/", "test/dog/"]]
)
def test_an_empty_split_beside_a_good_one_need_only_be_removed(tmp_path, names):
    made(tmp_path, "train/cat/1.png", "train/dog/1.png", *names)
    with pytest.raises(DataError, match=r"holds no folder with images of a class: remove it, as .* alone is enough"):
        held_out(tmp_path)
    blank = tmp_path / ("val" if "val/cat/" in names else "test")
    for folder in [*blank.iterdir(), blank]:
        folder.rmdir()
    assert len(held_out(tmp_path).names) == 1
