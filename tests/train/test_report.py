import pytest

from minires.train import Settings, report
from minires.train.report import changes, gap, how_to_go_on


@pytest.mark.parametrize(
    ("last", "steps", "message"),
    [
        ({"train_loss": 0.5, "test_loss": 0.9, "train_accuracy": 0.9, "test_accuracy": 0.8}, 500, ""),
        ({"train_loss": 0.1, "test_loss": 0.9, "train_accuracy": 0.9, "test_accuracy": 0.8}, 500, "overfitting"),
        ({"train_loss": 0.1, "test_loss": 0.9, "train_accuracy": 0.9, "test_accuracy": 0.9}, 500, "label smoothing"),
        ({"train_loss": 0.1, "val_loss": 0.9, "train_accuracy": 0.9, "val_accuracy": 0.8}, 500, "the val loss is far"),
        # 0.9 ** 10 = 0.35
        ({"train_loss": 0.1, "test_loss": 9.0, "train_accuracy": 0.9, "test_accuracy": 0.1}, 10, "35 % of the running"),
        (
            {"train_loss": 9e9, "test_loss": 1e36, "train_accuracy": 0.1, "test_accuracy": 0.1},
            10,
            "lower learning",
        ),
        ({"train_loss": 0.1, "test_loss": float("nan"), "train_accuracy": 0.9, "test_accuracy": 0.1}, 10, ""),
    ],
)
def test_a_test_loss_far_above_the_training_loss_is_explained(last, steps, message):
    found = gap(last, steps, 10)
    assert message in found
    assert bool(found) == bool(message)


def test_what_changes_when_a_run_is_resumed_is_told_side_by_side():
    saved = Settings(data="cifar10", root="/here", schedule="cosine")
    now = Settings(data="cifar10", root="/there", schedule="cosine", epochs=20, device="cuda", kernels="reference")
    lines = changes(now, saved, 1e-6, 0.1)
    assert lines[0] == (
        "epochs are 20 and were 8: from here on the schedule cosine is that of a run of 20 epochs, in which lr was "
        "1e-06 and is 0.1 in the next step"
    )
    assert [line.split(";")[0].split()[0] for line in lines] == ["epochs", "root", "device", "kernels"]
    assert [line.count("no longer bit for bit") for line in lines] == [0, 0, 1, 1]
    assert changes(saved, saved, 0.1, 0.1) == []
    assert "in which lr stays 0.1" in changes(now, saved, 0.1, 0.1)[0]


def test_the_command_that_goes_on_can_be_pasted(tmp_path):
    assert how_to_go_on(tmp_path / "my run") == f"go on with: minires train --resume '{tmp_path}/my run'"


def test_without_a_stdout_nothing_is_printed(monkeypatch):
    monkeypatch.setattr(report.sys, "stdout", None)
    report.say(Settings(), "text")
