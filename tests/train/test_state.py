import json
import math

import numpy as np
import pytest

import minires as mr
from minires import functional as F
from minires.data import FashionMNIST
from minires.errors import CheckpointError
from minires.train import describe, load, predict
from minires.train.state import Position, to_json


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


def test_json_has_null_for_what_is_not_finite_and_a_position_has_nan_again():
    position = Position(history=[{"epoch": 1, "test_loss": math.inf, "test_accuracy": 0.5}])
    text = position.to_json()
    assert json.loads(text, parse_constant=pytest.fail)["history"] == [
        {"epoch": 1, "test_loss": None, "test_accuracy": 0.5}
    ]
    assert math.isnan(Position.from_json(text).history[0]["test_loss"])
    assert to_json([math.nan, (1.5, -math.inf), "x"]) == '[null, [1.5, null], "x"]'


def test_the_best_epoch_has_a_finite_loss_if_there_is_one():
    def metrics(loss, accuracy, split="test"):
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}

    nan, fine, finer = metrics(math.nan, 0.9), metrics(2.0, 0.5), metrics(3.0, 0.6)
    assert Position().best is None
    assert Position(history=[nan]).best is nan
    assert Position(history=[nan, fine, finer, dict(finer)]).best is finer
    assert Position(history=[metrics(math.nan, 0.9, "val"), val := metrics(1.0, 0.1, "val")]).best is val
