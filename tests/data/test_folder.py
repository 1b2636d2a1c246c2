import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from minires.data import ImageFolder
from minires.errors import DataError, ShapeError


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def colours(seed, H, W):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(["dog/b.png", "dog/a.PNG", "cat/deep/er/1.png", "cat/2.bmp"]):
        save(tmp_path / name, colours(seed, 6, 5))
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "README.md").write_text("not a class")
    (tmp_path / ".cache").mkdir()
    return tmp_path


def test_a_folder_is_read_class_by_class_in_the_order_of_names(root):
    dataset = ImageFolder(root, size=(6, 5))
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert [file.name for file in dataset.files] == ["2.bmp", "1.png", "a.PNG", "b.png"]
    for image, seed in zip(dataset.images, [3, 2, 1, 0], strict=True):
        assert np.array_equal(image, colours(seed, 6, 5).transpose(2, 0, 1))
    assert len(dataset.mean) == len(dataset.std) == 3


def test_given_classes_fix_the_labels_of_a_folder_that_lacks_some(root):
    dataset = ImageFolder(root, 4, classes=["bird", "dog", "cat"])
    assert dataset.classes == ("bird", "dog", "cat")
    assert dataset.labels.tolist() == [2, 2, 1, 1]


def test_a_directory_that_is_not_one_of_the_classes_is_an_error(root):
    with pytest.raises(DataError, match="dog is not one of the classes cat, bird"):
        ImageFolder(root, 4, classes=["cat", "bird"])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_a_truncated_image_is_an_error_that_names_it(root, suffix):
    file = root / "dog" / f"c{suffix}"
    save(file, colours(0, 40, 40))
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(DataError, match=f"cannot read {file}"):
        ImageFolder(root, 4)


def test_a_file_of_something_else_is_an_error_that_names_it_and_shows_how_it_starts(root):
    file = root / "cat" / "foreign.jpeg"
    file.write_bytes(b"<!DOCTYPE html>, whatever the name says" * 9)
    with pytest.raises(DataError, match=f"cannot read {file}: its content is no image.*starts with b'<!DOCTYPE html>"):
        ImageFolder(root, 4)


def test_all_damaged_images_are_told_at_once(root):
    for name in ("cat/a.jpg", "dog/b.jpg", "dog/c.jpg"):
        (root / name).write_bytes(b"text")
    with pytest.raises(DataError, match=r"3 of 7 images cannot be read; .*a\.jpg: .* others: .*dog/b\.jpg, .*c\.jpg"):
        ImageFolder(root, 4)


def test_folders_without_classes_or_images_are_errors(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a directory"):
        ImageFolder(tmp_path / "nowhere", 4)
    with pytest.raises(DataError, match="holds no directory"):
        ImageFolder(tmp_path, 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no image: it is empty; expected files ending in \.avif"):
        ImageFolder(tmp_path, 4)


@pytest.mark.parametrize("size", [0, (4, 0), 1.5, (1, 2, 3), "4"])
def test_a_bad_size_is_an_error(root, size):
    with pytest.raises(ShapeError, match="size must be"):
        ImageFolder(root, size)


def test_a_size_that_no_memory_holds_is_an_error(root):
    with pytest.raises(DataError, match=r"do not fit into memory .*; choose a smaller size"):
        ImageFolder(root, 2**40)


def test_without_pillow_the_error_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # what makes an import fail
    with pytest.raises(DataError, match=r"pip install 'minires-net\[image\]'"):
        ImageFolder(root, 4)


def test_importing_the_data_wing_imports_no_extra():
    code = "import sys, minires.data; print([m for m in ('PIL', 'matplotlib', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_summary_counts_images_classes_and_what_was_left_out(root):
    (root / "dog" / "broken.png").symlink_to(root / "nowhere.png")
    for name in "abcd":
        (root / "dog" / f"{name}.heic").write_bytes(b"?")
    (root / "cat" / "empty.png").touch()
    Image.new("RGB", (4, 4)).save(root / "stray.png")
    dataset = ImageFolder(root, 4)
    assert dataset.summary() == (
        "4 images in 2 classes; 9 left out: "
        "README.md, cat/notes.txt, dog/a.heic and 3 more (not an image by its name); "
        "stray.png (in no class: it lies beside the folders); cat/empty.png (empty, 0 bytes); "
        "dog/broken.png (a link to nothing)"
    )
    assert (root / "dog" / "broken.png", "a link to nothing") in dataset.left_out


def test_a_summary_names_the_classes_without_images(root):
    assert ImageFolder(root, 4, ["cat", "dog", "emu"]).summary().startswith("4 images in 2 of 3 classes (none of emu);")
    for file in (root / "dog").iterdir():
        file.unlink()
    assert ImageFolder(root, 4, ["cat", "dog"]).summary().startswith("2 images in 1 of 2 classes (none of dog);")


def test_a_class_of_which_everything_was_left_out_is_an_error_that_says_why(root):
    (root / "emu").mkdir()
    (root / "emu" / "1.heic").write_bytes(b"?")
    with pytest.raises(DataError, match=r"emu holds no image: found 1\.heic \(not an image by its name\); expected"):
        ImageFolder(root, 4)


def test_names_with_composed_and_decomposed_accents_are_the_same_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    assert composed != decomposed
    for part, name in (("train", decomposed), ("train", "z"), ("test", composed)):
        save(tmp_path / part / name / "1.png", colours(0, 4, 4))
    training = ImageFolder(tmp_path / "train", 4)
    assert training.classes == ("z", composed)
    assert ImageFolder(tmp_path / "test", 4, training.classes).labels.tolist() == [1]
    assert ImageFolder(tmp_path / "train", 4, ["z", decomposed]).classes == ("z", decomposed)  # as they were given
    save(tmp_path / "train" / composed / "2.png", colours(1, 4, 4))
    assert sorted(ImageFolder(tmp_path / "train", 4).labels.tolist()) == [0, 1, 1]


def test_a_name_that_differs_in_its_case_is_asked_about(root):
    with pytest.raises(DataError, match=r"cat is not one of the classes Cat, dog; did you mean 'Cat'\?"):
        ImageFolder(root, 4, ["Cat", "dog"])
    with pytest.raises(DataError, match=r"cat is not one of the classes emu \(nor are dog\); rename it, or"):
        ImageFolder(root, 4, ["emu"])


def test_images_without_class_directories_are_told_for_what_they_are(tmp_path):
    for name in ("cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"):
        save(tmp_path / name, colours(0, 4, 4))
    with pytest.raises(DataError, match=r"holds 4 images \(cat\.0\.png, .* and 1 more\) but no directory; exp"):
        ImageFolder(tmp_path, 4)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "cats.zip").touch()
    with pytest.raises(DataError, match=r"cats\.zip is not a directory \(a file\)"):
        ImageFolder(tmp_path / "cats.zip", 4)


def test_the_home_directory_may_be_written_as_a_tilde(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(ImageFolder(f"~/{root.name}", 4)) == 4


def test_a_class_that_is_a_link_to_nothing_is_an_error_as_an_empty_one(root):
    (root / "bird").symlink_to(root / "nowhere")
    with pytest.raises(DataError, match="bird is a link to nothing; make it readable, or remove it"):
        ImageFolder(root, 4)
    known = ImageFolder(root, 4, ["bird", "cat", "dog"])
    assert "(none of bird); 3 left out:" in known.summary()
    assert "bird (a link to nothing)" in known.summary()
    with pytest.raises(DataError, match="bird is a link to nothing, and its name is none of a class; remove it"):
        ImageFolder(root, 4, ["cat", "dog"])


def test_a_class_that_is_a_loop_of_links_is_an_error(root):
    (root / "bird").symlink_to(root / "bird")
    with pytest.raises(DataError, match=r"bird is a link that cannot be followed: .*; make it readable, or remove it"):
        ImageFolder(root, 4)
    with pytest.raises(DataError, match=r"bird is a link that cannot be followed: .*, and its name is none of a class"):
        ImageFolder(root, 4, ["cat", "dog"])


def test_classes_of_numpy_become_plain_strings(root):
    dataset = ImageFolder(os.fsencode(root), 4, classes=np.array(["cat", "dog"]))
    assert [type(name) for name in dataset.classes] == [str, str]
