import numpy as np
import pytest

import minires as mr
from minires import functional as F
from minires.data import FashionMNIST
from minires.errors import CheckpointError
from minires.train import describe, load, predict


def test_the_network_of_a_run_is_loaded_in_one_call_and_predicts_what_predict_does(whole, root):
    settings, _ = whole
    model, images = load(settings.directory), describe(settings.directory)
    assert not model.training
    pixels = FashionMNIST(root, train=False).images[:3]
    with mr.no_grad():
        probabilities = F.softmax(model(mr.tensor(images.normalize(pixels[:1])))).array[0]
    answers = predict(settings.directory, pixels)
    assert len(answers) == 3
    assert answers[0][0] == (images.classes[int(probabilities.argmax())], probabilities.max())
    assert images.shape == pixels.shape[1:]
    last = load(settings.directory / "last.safetensors").state_dict()
    kept = mr.load(settings.directory / "last.safetensors")
    assert all(np.array_equal(value.array, kept[f"model.{name}"].array) for name, value in last.items())


def test_there_is_no_network_where_there_is_no_run(tmp_path):
    for function in (load, describe):
        with pytest.raises(CheckpointError, match="there is no run in"):
            function(tmp_path)
