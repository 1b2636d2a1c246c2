import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import minires as mr
from minires import functional as F
from minires.checkpoint import load
from minires.data import FashionMNIST, Normalize
from minires.errors import DataError, SettingsError
from minires.train import describe, evaluate, predict, train
from minires.train import load as load_run


@pytest.fixture(scope="module", params=["float32", "float16"])
def dtype(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(recipe, dtype, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicting")
    train(replace(recipe, epochs=1, dtype=dtype, out=out))
    return out / "best.safetensors"


@pytest.fixture
def picture(root, tmp_path):
    pixels = FashionMNIST(root, train=False).images[3, 0]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png", pixels


def test_probabilities_are_those_of_the_network(checkpoint, dtype, picture):
    file, pixels = picture
    model = mr.models.resnet20(in_channels=1).to("cpu", dtype)
    model.load_state_dict(load(checkpoint))
    image = Normalize((0.2860,), (0.3530,))(pixels[None, None])
    logits = model.eval()(mr.tensor(image, dtype=dtype))
    expected = F.softmax(logits.to("float32")).array[0]
    (answers,) = predict(checkpoint, [file], top=10)
    classes = FashionMNIST().classes
    assert dict(answers) == dict(zip(classes, expected.tolist(), strict=True))
    assert [probability for _, probability in answers] == sorted(expected.tolist(), reverse=True)


def test_the_five_most_probable_classes_are_named(checkpoint, picture):
    assert [len(answers) for answers in predict(checkpoint, [picture[0]] * 2)] == [5, 5]


def test_a_directory_stands_for_its_best_network(checkpoint, picture):
    assert predict(checkpoint.parent, [picture[0]]) == predict(checkpoint, [picture[0]])


def test_an_image_is_brought_to_the_size_and_the_channels_that_were_learnt(checkpoint, tmp_path):
    colour = np.full((50, 40, 3), 90, np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(colour[:28, :28, 0]).save(tmp_path / "grey.png")
    first, second = predict(checkpoint, [tmp_path / "colour.png", tmp_path / "grey.png"])
    assert first == second


def test_one_path_is_one_image_and_arrays_are_images_too(checkpoint, picture):
    file, pixels = picture
    (answers,) = predict(checkpoint, [file])
    for images, count in (
        (file, 1),
        (str(file), 1),
        (pixels[None], 1),
        (np.stack([pixels, pixels])[:, None], 2),
        ([pixels[None], file], 2),
        (iter([str(file), pixels[None, None]]), 2),
    ):
        assert predict(checkpoint, images) == [answers] * count
    assert [len(each) for each in predict(checkpoint, file, top=np.int64(2))] == [2]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 28, 28)), r"must be uint8, .* of shape \(1, 28, 28\) or \(N, 1, 28, 28\): .* got float64"),
        (np.zeros((28, 28), np.uint8), r"got uint8 of shape \(28, 28\)"),
        ([np.zeros((3, 28, 28), np.uint8)], r"got uint8 of shape \(3, 28, 28\)"),
        ([3], "an image must be the path of a file or a NumPy array, got a int"),
        ("", r"\. is a directory; name the images, as in \*\.jpg"),
    ],
)
def test_what_is_no_image_is_an_error_that_says_what_is(checkpoint, images, message):
    with pytest.raises(DataError, match=message):
        predict(checkpoint, images)


def test_a_directory_is_no_image(checkpoint, tmp_path):
    with pytest.raises(DataError, match=r"is a directory; name the images, as in .*\*\.jpg"):
        predict(checkpoint, tmp_path)


def test_options_out_of_range_are_errors(checkpoint, picture):
    with pytest.raises(SettingsError, match="`top` must be an integer of at least 1, got 0"):
        predict(checkpoint, picture[0], top=0)
    with pytest.raises(SettingsError, match="`kernels` cuda are for a GPU, and `device` is cpu"):
        predict(checkpoint, picture[0], kernels="cuda")


def test_the_reference_kernels_predict_the_same(checkpoint, picture):
    (fast,), (reference,) = (predict(checkpoint, picture[0], kernels=name) for name in (None, "reference"))
    assert [name for name, _ in reference] == [name for name, _ in fast]
    for (_, mine), (_, theirs) in zip(fast, reference, strict=True):
        assert mine == pytest.approx(theirs, rel=20 * 576 * 2**-24)  # 20 layers, sums of up to 576, as in evaluation


def test_one_bad_image_is_an_error_before_any_answer(checkpoint, picture, tmp_path):
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(DataError, match=r"cannot read .*b\.png"):
        predict(checkpoint, [picture[0], tmp_path / "b.png"])


def test_a_single_thing_that_is_no_image_is_an_error_as_several_are(checkpoint, picture):
    file, pixels = picture
    for wrong, kind in ((Image.new("L", (28, 28)), "Image"), (3, "int"), (mr.tensor(pixels[None]), "Tensor")):
        with pytest.raises(DataError, match=f"must be the path of a file or a NumPy array, got a {kind}"):
            predict(checkpoint, wrong)
    assert predict(checkpoint, os.fsencode(file)) == predict(os.fsencode(checkpoint), file)


@pytest.mark.parametrize("use", [load_run, evaluate, describe, lambda run: predict(run, [])])
def test_a_run_is_named_by_a_path(use):
    for run in (None, 3):
        with pytest.raises(TypeError, match=f"a run is named by the path of its directory or of its file, got {run}"):
            use(run)
