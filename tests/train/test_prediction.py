from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import minires as mr
from minires import functional as F
from minires.checkpoint import load
from minires.data import FashionMNIST, Normalize
from minires.errors import DataError
from minires.train import predict, train


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


def test_one_bad_image_is_an_error_before_any_answer(checkpoint, picture, tmp_path):
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(DataError, match=r"cannot read .*b\.png"):
        predict(checkpoint, [picture[0], tmp_path / "b.png"])
