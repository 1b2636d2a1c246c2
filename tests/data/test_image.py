import os
import struct

import numpy as np
import pytest
from PIL import Image

from minires.data import read_image
from minires.data.image import EXTENSIONS
from minires.errors import DataError, ShapeError


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)


def colours(seed, H, W):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)


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
    expected = [[0, 0, 1, 1, 1], [127, 128, 254, 255, 255]]  # v / 257, rounded; there are no ties
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


@pytest.mark.parametrize("name", ["turned.png", "turned.jpg", "turned.tif", "turned.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format_brings_the_image_upright(tmp_path, name, orientation):
    upright = np.full((24, 16, 3), 255, np.uint8)
    upright[:8, :8] = 0  # the upper left corner and the side lengths tell all eight apart
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / name, stored, exif=exif)
    assert np.array_equal(read_image(tmp_path / name, (24, 16)) > 127, upright.transpose(2, 0, 1) > 127)


@pytest.mark.parametrize("suffix", EXTENSIONS)
def test_a_file_of_every_ending_that_is_listed_can_be_read(tmp_path, suffix):
    form = {".jfif": "JPEG", ".jpe": "JPEG"}.get(suffix)
    Image.new("L", (5, 4), 255).convert("1" if suffix == ".pbm" else "L").save(tmp_path / f"x{suffix}", form)
    assert read_image(tmp_path / f"x{suffix}", (4, 5)).min() >= 250


def tags_that_cannot_be_written_back():
    """Return EXIF data with orientation 6, and with text as the resolution unit instead of a number."""
    tags = struct.pack("<IHHHIHHHHI", 8, 2, 0x112, 3, 1, 6, 0, 0x128, 2, 2) + b"2\0\0\0" + bytes(4)
    return b"Exif\0\0II*\0" + tags


def test_tags_that_cannot_be_written_back_turn_the_image_all_the_same(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    save(tmp_path / "x.jpg", pixels, exif=tags_that_cannot_be_written_back())
    image = read_image(tmp_path / "x.jpg", (16, 8))
    assert image[:, :7].max() < 30
    assert image[:, 9:].min() > 220


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged EXIF data
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_damaged_exif_data_never_stops_an_image(tmp_path, form):
    rng = np.random.default_rng(0)
    whole = Image.Exif()
    whole[0x0112], whole[0x010F], whole[0x011A] = 6, "maker", 72.0
    whole.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    pixels, content = colours(0, 6, 4), whole.tobytes()
    for case in range(40):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            damaged[rng.integers(6, len(damaged))] = rng.integers(256)
        if case % 4 == 0:
            damaged = damaged[: rng.integers(6, len(damaged))]
        try:
            save(tmp_path / "x", pixels, format=form, exif=bytes(damaged))
        except Exception:  # Pillow reads the tags to write some formats
            continue
        assert read_image(tmp_path / "x", 4).shape == (3, 4, 4)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what is left of a format
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM", "TGA", "JPEG2000"])
def test_a_damaged_file_is_read_or_an_error_that_names_it(tmp_path, monkeypatch, form):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**5)  # a damaged header may ask for gigabytes
    rng = np.random.default_rng(1)
    save(tmp_path / "x", colours(0, 12, 9), format=form)
    content = (tmp_path / "x").read_bytes()
    refused = []
    for case in range(40):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            damaged[rng.integers(len(damaged) if case % 2 else min(60, len(damaged)))] = rng.integers(256)
        (tmp_path / "x").write_bytes(damaged[: rng.integers(len(damaged))] if case % 4 == 0 else damaged)
        try:
            assert read_image(tmp_path / "x", 4).shape == (3, 4, 4)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) >= 5
    assert all(text.startswith(f"cannot read {tmp_path / 'x'}: ") for text in refused)


def square(mode):
    """Return a black square with transparent borders."""
    pixels = np.zeros((8, 8, len(mode)), np.uint8)
    pixels[2:6, 2:6, -1] = 255
    return Image.fromarray(pixels, mode)


def on_nothing(kind):
    """Return the square with one of PNG's kinds of transparency, and options to save it with."""
    if kind in ("LA", "RGBA"):
        return square(kind), {}
    if kind == "a palette of colours and alphas":
        return square("RGBA").quantize(4), {}
    grey = np.full((8, 8), 77, np.uint8)  # the value that means transparent
    grey[2:6, 2:6] = 0
    if kind == "one grey value":
        return Image.fromarray(grey), {"transparency": 77}
    if kind == "one colour":
        return Image.fromarray(grey).convert("RGB"), {"transparency": (77, 77, 77)}
    if kind == "one grey value of 16 bits":
        return Image.fromarray(grey.astype(np.uint16) * 257), {"transparency": 77 * 257}
    if kind == "white of two values":
        return Image.fromarray(grey == 77), {"transparency": 255}
    palette = Image.fromarray(grey).convert("P")
    return palette, {"transparency": palette.getpixel((0, 0))}


KINDS = [
    *("LA", "RGBA", "a palette of colours and alphas", "one colour of a palette", "one grey value", "one colour"),
    *("one grey value of 16 bits", "white of two values"),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_transparent_is_white(tmp_path, kind, channels):
    image, options = on_nothing(kind)
    image.save(tmp_path / "x.png", **options)
    expected = np.full((8, 8), 255)
    expected[2:6, 2:6] = 0
    assert read_image(tmp_path / "x.png", 8, channels).tolist() == [expected.tolist()] * channels


@pytest.mark.parametrize("form", ["WEBP", "TIFF", "GIF", "AVIF", "JPEG2000"])
def test_what_is_transparent_is_white_in_other_formats_too(tmp_path, form):
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(form, {})
    square("RGBA").save(tmp_path / "x", form, **options)
    image = read_image(tmp_path / "x", 8)
    assert image[:, 0].min() > 250
    assert image[:, 3:5, 3:5].max() < 5


def test_what_is_partly_transparent_is_mixed_with_white(tmp_path):
    save(tmp_path / "x.png", np.full((2, 2, 4), (0, 100, 200, 51), np.uint8))
    assert read_image(tmp_path / "x.png", 2)[:, 0, 0].tolist() == [204, 224, 244]  # a fifth of it, and 4/5 · 255


def test_grey_values_of_16_bits_in_a_pgm_are_scaled_to_8(tmp_path):
    values = np.array([0, 0x0102, 0x7F7F, 0xFF00], ">u2")
    (tmp_path / "x.pgm").write_bytes(b"P5 4 1 65535\n" + values.tobytes())
    assert read_image(tmp_path / "x.pgm", (1, 4), channels=1).tolist() == [[[0, 1, 127, 254]]]


def test_an_image_in_ink_is_converted(tmp_path):
    Image.new("RGB", (8, 8), (250, 5, 5)).convert("CMYK").save(tmp_path / "x.jpg", quality=100)
    image = read_image(tmp_path / "x.jpg", 8)
    assert np.abs(image.mean(axis=(1, 2)) - (250, 5, 5)).max() < 8  # JPEG's rounding


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty, 0 bytes"),
        (b"version https://git-lfs.github.com/", "its content is no image.*starts with b'version https://git-lfs"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "it is HEIC by its first bytes.*convert HEIC to JPEG or PNG"),
    ],
)
def test_a_file_that_is_no_image_is_told_for_what_it_is(tmp_path, content, reason):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"cannot read .*x\.jpg: {reason}"):
        read_image(tmp_path / "x.jpg", 4)


def test_a_missing_image_and_a_directory_are_errors_that_name_it(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png: there is no such file"):
        read_image(tmp_path / "nowhere.png", 4)
    with pytest.raises(DataError, match="it is a directory"):
        read_image(tmp_path, 4)


def test_a_bad_number_of_channels_is_an_error(tmp_path):
    with pytest.raises(ShapeError, match="channels must be 1"):
        read_image(tmp_path / "x.png", 4, channels=4)


def test_a_path_may_be_bytes(tmp_path):
    file = tmp_path / "red.png"
    Image.new("RGB", (4, 4), "red").save(file)
    assert np.array_equal(read_image(os.fsencode(file), 4), read_image(file, 4))
