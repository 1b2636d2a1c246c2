import json
import math

import pytest

from minires.train.state import Position, to_json


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
