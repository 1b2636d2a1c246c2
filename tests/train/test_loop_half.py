"""Test runs in float16, which scale the loss."""

import functools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from interruptions import call_at, interrupt

from minires import optim
from minires.checkpoint import load, load_metadata, save
from minires.errors import CheckpointError, SettingsError, TrainingError
from minires.train import Interrupted, evaluate, train

# The largest gradient here is between 2^-14 and 2^6: times 2^10 it fits into float16, which ends at 2^16, times 2^30 it
# does not. So two steps are made, a third is skipped, and again.
TWO_OF_THREE = {"init_scale": 2.0**10, "growth_factor": 2.0**20, "backoff_factor": 2.0**-20, "growth_interval": 2}


@pytest.fixture(scope="module")
def half(recipe, tmp_path_factory):
    """Return the settings of an uninterrupted run in float16, its result, and the scale of each step."""
    settings = replace(recipe, dtype="float16", out=tmp_path_factory.mktemp("half") / "run")
    with pytest.MonkeyPatch.context() as patch:
        scales = scaling(patch)
        return settings, train(settings), scales


@pytest.fixture
def settings(half, tmp_path):
    return replace(half[0], out=tmp_path / "run")


def scaling(patch):
    """Make a new run scale its loss as above; return the list to which each step appends its scale."""
    scales, real = [], optim.LossScaler.scale

    def scale(scaler, loss):
        assert loss.dtype == np.float32
        scales.append(scaler.get_scale())
        return real(scaler, loss)

    patch.setattr(optim, "LossScaler", functools.partial(optim.LossScaler, **TWO_OF_THREE))
    patch.setattr(optim.LossScaler.func, "scale", scale)
    return scales


def test_a_step_that_overflows_is_skipped_and_the_run_goes_on(half):
    settings, result, scales = half
    assert scales == [2.0**10, 2.0**10, 2.0**30] * 2
    assert json.loads(load_metadata(settings.directory / "last.safetensors")["scaler"])["scale"] == 2.0**10
    assert [line["epoch"] for line in result.history] == [1, 2]


def test_checkpoints_hold_weights_in_float16_and_masters_and_statistics_in_float32(half):
    directory = half[0].directory
    last, best = load(directory / "last.safetensors"), load(directory / "best.safetensors")
    assert {value.dtype.name for name, value in last.items() if name.startswith("optimizer.")} == {"float32"}
    assert any(name.endswith(".master") for name in last)
    for name, value in best.items():
        wanted = "float32" if "running_" in name else "int64" if "num_batches" in name else "float16"
        assert value.dtype == last[f"model.{name}"].dtype == wanted, name


@pytest.mark.long  # emulated float16 is slow
def test_the_network_learns(settings):
    result = train(replace(settings, epochs=8, augment="none"))
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert result.best["test_accuracy"] >= 0.5  # by chance two of twenty would be right


# The second of three steps, and the first after two test batches; then others.
@pytest.mark.parametrize("number", [2, 6, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 3, 5, 8))])
def test_a_run_interrupted_anywhere_goes_on_bit_for_bit(half, settings, outcome, monkeypatch, number):
    with monkeypatch.context() as patch:
        scales = scaling(patch)
        call_at(patch, number, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    assert scales == half[2][: len(scales)]
    train(settings, resume=True)  # the options of the scaler, too, come from the checkpoint
    assert outcome(settings.directory) == outcome(half[0].directory)


def test_the_dtype_of_a_run_stays(half, whole, outcome):
    for (settings, *_), dtype, was in ((half, "float32", "float16"), (whole, "float16", "float32")):
        before = outcome(settings.directory)
        with pytest.raises(SettingsError, match=rf"cannot resume with `dtype` '{dtype}' \(the run has '{was}'\)"):
            train(replace(settings, dtype=dtype), resume=True)
        assert outcome(settings.directory) == before


def test_a_run_older_than_dtypes_goes_on_in_float32(whole, recipe, outcome, monkeypatch, tmp_path):
    settings = replace(recipe, out=tmp_path / "run")
    with monkeypatch.context() as patch:
        call_at(patch, 2, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    file = settings.directory / "last.safetensors"
    metadata = load_metadata(file)
    assert "scaler" not in metadata
    older = {name: value for name, value in json.loads(metadata["settings"]).items() if name != "dtype"}
    save(load(file), file, {**metadata, "settings": json.dumps(older)})
    train(settings, resume=True)
    assert outcome(settings.directory) == outcome(whole[0].directory)


@pytest.mark.parametrize("scaler", [None, "{", "[]", '{"scale": 1}'])
def test_a_run_whose_scaler_is_lost_or_damaged_is_not_resumed(half, tmp_path, scaler):
    kept = half[0].directory / "last.safetensors"
    metadata = {name: value for name, value in load_metadata(kept).items() if name != "scaler"}
    save(load(kept), tmp_path / "last.safetensors", {**metadata, **({} if scaler is None else {"scaler": scaler})})
    with pytest.raises(CheckpointError, match=r"no position to resume from|a loss scaler's state has"):
        train(replace(half[0], out=tmp_path / "run"), resume=tmp_path / "last.safetensors")


@pytest.mark.parametrize("file", ["best.safetensors", "last.safetensors"])
def test_evaluation_gives_the_recorded_numbers_to_the_last_digit(half, file):
    settings, result, _ = half
    line = result.best if file == "best.safetensors" else result.history[-1]
    found = evaluate(settings.directory / file)
    assert (found.loss, found.accuracy, found.recorded) == (line["test_loss"], line["test_accuracy"], line)


# The weights overflow, as they must at this rate; NumPy warns, and the run has to end by its own rule.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_layer(settings, monkeypatch):
    scaling(monkeypatch)
    message = r"the loss is \w+ in epoch 1, batch 2 of 3: the first layer whose output is not finite is [\w.]+ \(\w+\)"
    with pytest.raises(TrainingError, match=message) as told:
        train(replace(settings, lr=1e30, schedule="constant"))
    assert re.search(r"lower `lr` \(now 1e\+30\)", str(told.value))
    kept = load(settings.directory / "last.safetensors")
    assert all(np.isfinite(value.array).all() for value in kept.values())
