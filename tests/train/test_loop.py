import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from interruptions import call_at, interrupt

import minires as mr
from minires import functional, kernels, random
from minires.checkpoint import load, load_metadata, save
from minires.errors import CheckpointError, DataError, DeviceError, SettingsError, TrainingError
from minires.train import Interrupted, evaluate, loop, train

BATCHES = 3 + 2  # of an epoch: to train, then to test


def test_a_run_leaves_metrics_a_curve_and_two_checkpoints(whole, outcome):
    settings, result = whole
    names = {path.name for path in settings.directory.iterdir()}
    assert names == {"best.safetensors", "last.safetensors", "metrics.jsonl", "curve.png"}
    metrics, bits = outcome(settings.directory)
    assert [line["epoch"] for line in metrics] == [1, 2]
    assert set(result.history[0]) == {
        "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "seconds", "images_per_second"
    }  # fmt: skip
    for line in result.history:
        assert line["train_accuracy"] * 39 == pytest.approx(round(line["train_accuracy"] * 39))
        assert line["images_per_second"] > 0
    assert result.best == max(result.history, key=lambda line: line["test_accuracy"])
    best = mr.models.resnet20(in_channels=1)
    best.load_state_dict(load(settings.directory / "best.safetensors"))  # strict: the network and nothing else
    if result.best["epoch"] == 2:
        for name, value in bits["best.safetensors"].items():
            assert bits["last.safetensors"][f"model.{name}"] == value


def test_the_network_learns(settings):
    result = train(replace(settings, epochs=8, augment="none"))
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    # The stripes tell the classes apart; by chance two of twenty would be right.
    assert result.best["test_accuracy"] >= 0.5


def test_the_same_settings_give_the_same_bits(whole, settings, outcome):
    train(settings)
    assert outcome(settings.directory) == outcome(whole[0].directory)


def test_another_seed_gives_other_bits(whole, settings, outcome):
    train(replace(settings, seed=1))
    assert outcome(settings.directory) != outcome(whole[0].directory)


@pytest.mark.parametrize(
    "number",  # a first step, the last, a test batch, and the same of the second epoch; then all the others
    [
        number if number in (1, BATCHES - 2, BATCHES, BATCHES + 2) else pytest.param(number, marks=pytest.mark.long)
        for number in range(1, 2 * BATCHES + 1)
    ],
)
def test_a_run_interrupted_anywhere_goes_on_bit_for_bit(whole, settings, outcome, monkeypatch, number):
    with monkeypatch.context() as patch:
        call_at(patch, number, interrupt)
        with pytest.raises(
            Interrupted, match=r"interrupted after \d of 2 epochs and \d of 3 batches, all saved"
        ) as told:
            train(settings)
    assert f"go on with: minires train --resume {settings.directory}" in str(told.value)
    mr.manual_seed(12345)  # the generator's state in between has no effect
    random.next_draws("nn.dropout")
    result = train(settings, resume=True)
    assert outcome(settings.directory) == outcome(whole[0].directory)
    assert [line["test_loss"] for line in result.history] == [line["test_loss"] for line in whole[1].history]


def test_a_run_interrupted_again_and_again_goes_on_bit_for_bit(whole, settings, outcome, monkeypatch):
    resume = False
    for _ in range(20):
        with monkeypatch.context() as patch:
            call_at(patch, 2, interrupt)
            try:
                train(settings, resume=resume)
            except Interrupted:
                resume = True
            else:
                break
    assert outcome(settings.directory) == outcome(whole[0].directory)


@pytest.mark.parametrize("number", [2, BATCHES - 1, BATCHES + 2])
def test_a_second_interrupt_stops_at_once_and_leaves_the_last_checkpoint(whole, settings, outcome, monkeypatch, number):
    with monkeypatch.context() as patch:
        call_at(patch, number, lambda: (interrupt(), interrupt()))
        with pytest.raises(Interrupted, match=r"stopped at once; go on with: .* from the last position saved"):
            train(settings)
    train(settings, resume=True)
    assert outcome(settings.directory) == outcome(whole[0].directory)


def test_a_crash_loses_an_epoch_at_most(whole, settings, outcome, monkeypatch):
    def crash():
        raise MemoryError

    with monkeypatch.context() as patch:
        call_at(patch, BATCHES + 2, crash)
        with pytest.raises(MemoryError):
            train(settings)
    assert len(outcome(settings.directory)[0]) == 1
    train(settings, resume=settings.directory / "last.safetensors")
    assert outcome(settings.directory) == outcome(whole[0].directory)


def test_a_crash_between_the_files_of_an_epoch_is_mended(whole, settings, outcome, monkeypatch):
    real = loop.write_whole

    def fail(path, content):
        if content:
            raise OSError("No space left on device")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_whole", fail)  # metrics.jsonl; the checkpoints have been written
        with pytest.raises(OSError, match="No space left"):
            train(settings)
    train(settings, resume=True)
    assert outcome(settings.directory) == outcome(whole[0].directory)


def test_resuming_a_finished_run_changes_nothing(whole, outcome):
    settings, result = whole
    before = outcome(settings.directory)
    again = train(settings, resume=True)
    assert (again.history, again.best) == (result.history, result.best)
    assert outcome(settings.directory) == before


def test_a_run_can_go_on_in_another_directory(whole, settings, outcome, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        call_at(patch, BATCHES + 2, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    before = outcome(settings.directory)
    train(replace(settings, out=tmp_path / "other"), resume=settings.directory)
    assert outcome(tmp_path / "other") == outcome(whole[0].directory)
    assert outcome(settings.directory) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "resnet20", "momentum": 0.0, "schedule": "constant"},
        {"nesterov": True, "schedule": "cosine", "label_smoothing": 0.1},
        {"schedule": "multistep", "milestones": (1,), "augment": "none", "weight_decay": 0.0},
    ],
)
def test_other_recipes_go_on_bit_for_bit(settings, outcome, monkeypatch, tmp_path, changes):
    settings = replace(settings, **changes)
    train(replace(settings, out=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        call_at(patch, BATCHES + 2, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    train(settings, resume=True)
    assert outcome(settings.directory) == outcome(tmp_path / "whole")


def test_a_directory_that_holds_something_is_refused(settings):
    settings.directory.mkdir()
    (settings.directory / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match=r"run exists and is not empty and holds no run to resume; choose another"):
        train(settings)
    assert [path.name for path in settings.directory.iterdir()] == ["thesis.txt"]
    with pytest.raises(SettingsError, match=r"thesis\.txt is a file; choose a directory \(`out`\)"):
        train(replace(settings, out=settings.directory / "thesis.txt"))


def test_an_empty_directory_is_welcome(settings):
    settings.directory.mkdir()
    assert train(replace(settings, epochs=1)).directory == settings.directory


def test_resuming_nothing_is_an_error(settings):
    with pytest.raises(CheckpointError, match=r"nothing to resume: .*run is missing"):
        train(settings, resume=True)
    assert not settings.directory.exists()


def test_resuming_the_best_network_is_an_error_that_names_the_last(whole):
    settings, _ = whole
    with pytest.raises(CheckpointError, match=r"best\.safetensors holds no position to resume from; expected the last"):
        train(settings, resume=settings.directory / "best.safetensors")


def test_resuming_a_foreign_checkpoint_is_an_error(settings, tmp_path):
    save({"x": np.zeros(1)}, tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match="was not written by a training run of minires"):
        train(settings, resume=tmp_path / "last.safetensors")
    assert not settings.directory.exists()


def test_resuming_with_a_contradictory_setting_changes_nothing(whole, outcome):
    settings, _ = whole
    before = outcome(settings.directory)
    with pytest.raises(SettingsError, match=r"cannot resume with `lr` 0\.1 \(the run has 0\.05\); leave it out"):
        train(replace(settings, lr=0.1), resume=True)
    assert outcome(settings.directory) == before


def test_resuming_with_other_data_is_an_error(whole, other_root):
    settings, _ = whole
    with pytest.raises(DataError, match="the training data have changed since the run began: images 30, was 40"):
        train(replace(settings, root=other_root), resume=True)


@pytest.mark.parametrize(("changes", "error"), [({"root": "nowhere"}, DataError), ({"device": "cuda:7"}, DeviceError)])
def test_what_cannot_begin_leaves_no_directory(settings, changes, error):
    with pytest.raises(error):
        train(replace(settings, **changes))
    assert not settings.directory.exists()


# The weights overflow, as they must at this rate; NumPy warns, and the run has to end by its own rule.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_layer(settings):
    settings = replace(settings, lr=1e30, schedule="constant")
    message = (
        r"the loss is \w+ in epoch 1, batch 2 of 3: the first layer whose output is not finite is ([\w.]+) \(\w+\).*"
        r"lower `lr` \(now 1e\+30\)"
    )
    with pytest.raises(TrainingError, match=message) as told:
        train(settings)
    layer = re.search(message, str(told.value))[1]
    assert layer in dict(mr.models.resnet20().named_modules())
    kept = load(settings.directory / "last.safetensors")
    assert all(np.isfinite(value.array).all() for value in kept.values())
    assert not (settings.directory / "best.safetensors").exists()


def test_a_test_loss_that_is_not_finite_is_recorded_with_its_cause_before_training_fails(settings, capfd):
    # One step, with which the weights overflow: the loss before it was finite, that of the test after it is not.
    settings = replace(settings, lr=1e30, schedule="constant", batch_size=40, quiet=False)
    with pytest.raises(TrainingError, match="the loss is nan in epoch 2, batch 1 of 1: the first layer"):
        train(settings)
    (line,) = (settings.directory / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["test_loss"] is None
    printed = capfd.readouterr().out
    assert "test: the loss of batch 1 of 1 is nan: the first layer whose output is not finite is " in printed
    assert np.isnan(evaluate(settings.directory).loss)


def nan_at(monkeypatch, number):
    """Make the loss of the step or test batch with this number, from 1, NaN."""
    calls, real = [], functional.cross_entropy

    def cross_entropy(*arguments, **options):
        calls.append(1)
        loss = real(*arguments, **options)
        return loss * np.nan if len(calls) == number else loss

    monkeypatch.setattr(functional, "cross_entropy", cross_entropy)


def test_a_run_goes_on_after_a_test_loss_that_is_not_finite(whole, settings, outcome, monkeypatch):
    with monkeypatch.context() as patch:
        nan_at(patch, BATCHES)
        result = train(settings)
    metrics, bits = outcome(settings.directory)
    assert bits["last.safetensors"] == outcome(whole[0].directory)[1]["last.safetensors"]
    assert [line["test_loss"] for line in metrics] == [None, whole[1].history[1]["test_loss"]]
    assert np.isnan(result.history[0]["test_loss"])
    assert result.best["epoch"] == 2  # whatever the accuracy of the first
    again = train(settings, resume=True)
    assert repr(again.history) == repr(result.history)
    assert load_metadata(settings.directory / "best.safetensors")["metrics"] == json.dumps(
        metrics[1] | again.history[1]
    )
    assert outcome(settings.directory) == (metrics, bits)


def test_a_crash_in_the_test_does_not_cost_the_epoch(whole, settings, outcome, monkeypatch):
    def crash():
        raise MemoryError

    with monkeypatch.context() as patch:
        call_at(patch, BATCHES, crash)
        with pytest.raises(MemoryError):
            train(settings)
    steps = []
    with monkeypatch.context() as patch:
        call_at(patch, 3, lambda: steps.append(load_metadata(settings.directory / "last.safetensors")["position"]))
        train(settings, resume=True)  # two test batches, then the first step of the second epoch
    assert [json.loads(position)["epoch"] for position in steps] == [1]
    assert outcome(settings.directory) == outcome(whole[0].directory)


def test_a_run_computes_with_the_kernels_that_were_asked_for(settings, monkeypatch):
    def forbidden(*_):
        raise AssertionError

    monkeypatch.setattr("minires.kernels.fast.conv2d", forbidden)
    monkeypatch.setattr(kernels, "_sets", {})
    train(replace(settings, epochs=1, kernels="reference"))
    assert evaluate(settings.directory).recorded["epoch"] == 1  # with the run's


def test_the_generator_and_the_threads_are_given_back(settings):
    mr.manual_seed(7)
    random.next_draws("mine")
    state, count = random.get_state(), mr.get_num_threads()
    train(replace(settings, epochs=1, threads=3))
    assert random.get_state() == state
    assert mr.get_num_threads() == count


def test_a_quiet_run_says_nothing_and_another_tells_each_epoch(settings, capfd, tmp_path):
    train(replace(settings, epochs=1))
    assert capfd.readouterr() == ("", "")
    train(replace(settings, quiet=False, out=tmp_path / "loud"))
    out, err = capfd.readouterr()
    kinds = [line[:9].strip() for line in out.splitlines()]
    assert kinds == ["model", "data", "steps", "kernels", "run", "epoch 1/2", "epoch 2/2"]
    assert err == ""  # no progress bar if stderr is not a terminal


def test_without_matplotlib_a_line_says_how_to_get_the_curve(settings, capfd, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    train(replace(settings, epochs=1, quiet=False))
    assert "no curve.png: drawing it needs matplotlib: pip install 'minires-net[plot]'" in capfd.readouterr().out
    assert not (settings.directory / "curve.png").exists()
