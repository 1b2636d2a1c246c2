import os

import pytest
from PIL import Image

from minires.data import ImageFolder, listing
from minires.data.listing import LeftOut, image_files, in_words


@pytest.fixture
def root(tmp_path):
    for name in ("b.png", "a.JPG", "deep/er/c.png"):
        picture(tmp_path / "cat" / name)
    return tmp_path / "cat"


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def names(found, root):
    return [str(path.relative_to(root)) for path in found]


def reasons(root):
    return {str(path.relative_to(root)): reason for path, reason in image_files(root).left_out}


def test_images_at_every_depth_are_found_in_the_order_of_their_paths(root):
    assert names(image_files(root).files, root) == ["a.JPG", "b.png", "deep/er/c.png"]
    assert image_files(root).left_out == []


def test_links_to_files_and_folders_are_followed(root, tmp_path):
    picture(tmp_path / "elsewhere" / "more" / "d.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "e.png").symlink_to(tmp_path / "elsewhere" / "more" / "d.png")
    assert names(image_files(root).files, root) == ["a.JPG", "b.png", "deep/er/c.png", "e.png", "linked/more/d.png"]


def test_a_class_may_be_a_link(root, tmp_path):
    picture(tmp_path / "d" / "dog" / "1.png")
    (tmp_path / "d" / "cat").symlink_to(root)
    assert ImageFolder(tmp_path / "d", 4).labels.tolist() == [0, 0, 0, 1]


def test_a_loop_of_links_is_left_out_and_said(root):
    (root / "deep" / "er" / "again").symlink_to(root)
    (root / "self.png").symlink_to(root / "self.png")
    assert len(image_files(root).files) == 3
    found = reasons(root)
    assert found["deep/er/again"] == "a link to a folder that it is in"
    assert "symbolic links" in found["self.png"]


def test_a_link_to_the_folder_of_all_classes_brings_no_images_of_others(root):
    picture(root.parent / "dog" / "1.png")
    (root / "up").symlink_to(root.parent)
    (root.parent / "emu").symlink_to(root.parent)
    assert reasons(root) == {"up": "a link to a folder that it is in"}
    assert len(image_files(root).files) == 3
    assert image_files(root.parent / "emu").files == []


def test_two_folders_that_link_to_each_other_end(tmp_path):
    for here, there in (("a", "b"), ("b", "a")):
        picture(tmp_path / here / "1.png")
        (tmp_path / here / "other").symlink_to(tmp_path / there)
    assert names(image_files(tmp_path / "a").files, tmp_path / "a") == ["1.png", "other/1.png"]


def test_hidden_and_system_files_are_skipped_at_every_depth_and_not_mentioned(root):
    for name in (".ipynb_checkpoints/a.png", "deep/.cache/a.png", "deep/._c.png", "__MACOSX/a.png", "@eaDir/a.png"):
        picture(root / name)
    for name in (".DS_Store", "Thumbs.db", "deep/desktop.ini"):
        (root / name).touch()
    assert len(image_files(root).files) == 3
    assert image_files(root).left_out == []


def test_what_cannot_be_used_is_left_out_with_a_reason(root, monkeypatch):
    (root / "notes.txt").write_text("text")
    (root / "photo.heic").write_bytes(b"?")
    (root / "broken.png").symlink_to(root / "nowhere.png")
    (root / "empty.png").touch()
    os.mkfifo(root / "pipe.png")
    picture(root / "secret.png")
    picture(root / "locked" / "d.png")
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # chmod has no effect for root, who runs the tests in a container.
    monkeypatch.setattr(listing.os, "scandir", scandir)
    monkeypatch.setattr(listing.os, "access", lambda path, mode: path.name != "secret.png")
    assert reasons(root) == {
        "broken.png": "a link to nothing",
        "empty.png": "empty, 0 bytes",
        "locked": "a folder that cannot be read: Permission denied",
        "notes.txt": "not an image by its name",
        "photo.heic": "not an image by its name",
        "pipe.png": "not a regular file",
        "secret.png": "no permission to read it",
    }
    assert len(image_files(root).files) == 3


def test_reasons_are_grouped_and_the_first_names_of_each_told(root):
    left_out = [LeftOut(root / f"{i}.txt", "text") for i in range(5)] + [LeftOut(root / "x" / "y.png", "empty")]
    assert in_words(left_out, root) == "0.txt, 1.txt, 2.txt and 2 more (text); x/y.png (empty)"
    assert in_words([], root) == ""


def test_a_link_to_nothing_is_told_whatever_its_name(root):
    for name in ("broken", "broken.txt", "broken.png"):
        (root / name).symlink_to(root / "nowhere")
    assert set(reasons(root).values()) == {"a link to nothing"}
    assert len(reasons(root)) == 3
    (root.parent / "dog").symlink_to(root / "nowhere")
    assert reasons_of(root.parent / "dog") == ["a link to nothing"]


def reasons_of(folder):
    return [reason for _, reason in image_files(folder).left_out]
