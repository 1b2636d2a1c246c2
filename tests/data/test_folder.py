import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minires.data import ImageFolder, read_image
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


def test_an_image_is_cut_around_its_centre(tmp_path):
    pixels = colours(0, 4, 10)
    save(tmp_path / "wide.png", pixels)
    assert np.array_equal(read_image(tmp_path / "wide.png", 4), pixels[:, 3:7].transpose(2, 0, 1))


def test_an_image_is_scaled_to_the_size(tmp_path):
    save(tmp_path / "flat.png", np.full((9, 6, 3), (10, 200, 30), np.uint8))
    image = read_image(tmp_path / "flat.png", (20, 30))
    assert image.shape == (3, 20, 30)
    assert image.flags.c_contiguous
    assert [np.unique(channel).tolist() for channel in image] == [[10], [200], [30]]


def test_grey_and_colour_are_converted_into_each_other(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    save(tmp_path / "grey.png", grey)
    assert np.array_equal(read_image(tmp_path / "grey.png", (3, 4), channels=1), grey[None])
    assert np.array_equal(read_image(tmp_path / "grey.png", (3, 4)), np.stack([grey] * 3))
    save(tmp_path / "colour.png", np.stack([grey] * 3, axis=-1))
    assert np.array_equal(read_image(tmp_path / "colour.png", (3, 4), channels=1), grey[None])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_values_of_16_bits_are_scaled_to_8(tmp_path, suffix):
    values = np.array([[0, 128, 129, 255, 256], [32639, 32768, 65406, 65407, 65535]], np.uint16)
    save(tmp_path / f"deep{suffix}", values)
    expected = [[0, 0, 1, 1, 1], [127, 128, 254, 255, 255]]  # v / 257, rounded; halves do not occur
    assert expected == np.round(values / 257).astype(int).tolist()
    assert read_image(tmp_path / f"deep{suffix}", (2, 5), channels=1)[0].tolist() == expected
    assert read_image(tmp_path / f"deep{suffix}", (2, 5)).tolist() == [expected] * 3


def test_the_order_of_the_bytes_of_16_bits_does_not_matter(tmp_path):
    values = np.array([[0, 0x0102, 0x7F7F, 0xFF00]], np.uint16)
    head = b"MM\0*\0\0\0\x08"  # a TIFF of big-endian numbers: its one directory of tags, then the pixels
    tags = [(256, 4), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, 1), (279, 8)]
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHIHH", tag, 3, 1, v, 0) for tag, v in tags)
    (tmp_path / "big.tif").write_bytes(head + directory + bytes(4) + values.astype(">u2").tobytes())
    assert read_image(tmp_path / "big.tif", (1, 4), channels=1).tolist() == [[[0, 1, 127, 254]]]


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_an_image_of_32_bits_is_an_error_that_names_it_and_its_mode(tmp_path, dtype, mode):
    save(tmp_path / "deep.tif", np.ones((4, 4), dtype))
    with pytest.raises(DataError, match=rf"cannot read .*deep\.tif: its mode is {mode}, 32 bits"):
        read_image(tmp_path / "deep.tif", 4)


def test_an_image_is_turned_as_its_exif_data_say(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90° clockwise
    pixels = colours(0, 3, 5)
    save(tmp_path / "turned.png", pixels, exif=exif)
    turned = np.rot90(pixels, -1).transpose(2, 0, 1)
    assert np.array_equal(read_image(tmp_path / "turned.png", (5, 3)), turned)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_a_truncated_image_is_an_error_that_names_it(root, suffix):
    file = root / "dog" / f"c{suffix}"
    save(file, colours(0, 40, 40))
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(DataError, match=f"cannot read {file}"):
        ImageFolder(root, 4)


@pytest.mark.parametrize("content", [b"", b"this is text, whatever the name says" * 9])
def test_a_foreign_file_is_an_error_that_names_it(root, content):
    file = root / "cat" / "foreign.jpeg"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"cannot read {file}.*expected an image"):
        ImageFolder(root, 4)


def test_a_missing_image_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png"):
        read_image(tmp_path / "nowhere.png", 4)


def test_folders_without_classes_or_images_are_errors(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a directory"):
        ImageFolder(tmp_path / "nowhere", 4)
    with pytest.raises(DataError, match="holds no directory"):
        ImageFolder(tmp_path, 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no image; expected files ending in \.bmp"):
        ImageFolder(tmp_path, 4)


@pytest.mark.parametrize("size", [0, (4, 0), 1.5, (1, 2, 3), "4"])
def test_a_bad_size_is_an_error(root, size):
    with pytest.raises(ShapeError, match="size must be"):
        ImageFolder(root, size)


def test_a_size_that_no_memory_holds_is_an_error(root):
    with pytest.raises(DataError, match=r"do not fit into memory .*; choose a smaller size"):
        ImageFolder(root, 2**40)


def test_a_bad_number_of_channels_is_an_error(root):
    with pytest.raises(ShapeError, match="channels must be 1"):
        read_image(root / "dog" / "b.png", 4, channels=4)


def test_without_pillow_the_error_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # what makes an import fail
    with pytest.raises(DataError, match=r"pip install 'minires-net\[image\]'"):
        ImageFolder(root, 4)


def test_importing_the_data_wing_imports_no_extra():
    code = "import sys, minires.data; print([m for m in ('PIL', 'matplotlib', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
