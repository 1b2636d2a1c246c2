"""Test runs on a folder with val/, test/ or both."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from interruptions import call_at, interrupt
from PIL import Image

from minires.cli import main
from minires.errors import DataError
from minires.train import Interrupted, Settings, evaluate, train

EPOCH = 2 + 1  # batches: to train, then to choose by


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return a folder of two classes, with 4 training, 3 validation and 2 test images each."""
    root, rng = tmp_path_factory.mktemp("folder"), np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        for shade, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 100, (8, 8, 3)) + 100 * shade
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def recipe(both):
    return Settings(data="folder", root=both, size=8, epochs=2, batch_size=4, lr=0.05, augment="none", quiet=True)


@pytest.fixture
def settings(recipe, tmp_path):
    return replace(recipe, epochs=1, out=tmp_path / "run")


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """Return the settings of a run of two epochs with val/ and test/, and its result."""
    settings = replace(recipe, out=tmp_path_factory.mktemp("whole"))
    return settings, train(settings)


def test_the_best_network_is_chosen_by_val_and_tested_once_by_test(whole, outcome):
    settings, result = whole
    assert all({"val_loss", "val_accuracy"} < set(line) and "test_loss" not in line for line in result.history)
    assert result.best == max(result.history, key=lambda line: line["val_accuracy"])
    assert result.test.images == 4
    found = evaluate(settings.directory)
    assert (found.loss, found.accuracy, found.split) == (result.test.loss, result.test.accuracy, "test")
    assert found.recorded == result.best
    assert json.loads((settings.directory / "test.json").read_text()) == {
        "epoch": result.best["epoch"],
        "test_loss": found.loss,
        "test_accuracy": found.accuracy,
        "images": 4,
    }
    before = outcome(settings.directory)
    assert train(settings, resume=True).test == result.test
    assert outcome(settings.directory) == before


@pytest.mark.parametrize("split", ["val", "test"])
def test_one_split_alone_chooses_and_says_which_it_is(settings, both, tmp_path, split):
    for name in ("train", split):
        shutil.copytree(both / name, tmp_path / "one" / name)
    settings = replace(settings, root=tmp_path / "one")
    result = train(settings)
    assert result.test is None
    assert not (settings.directory / "test.json").exists()
    found = evaluate(settings.directory)
    assert (found.accuracy, found.split) == (result.best[f"{split}_accuracy"], split)


def test_a_run_interrupted_on_the_way_has_its_last_word_when_it_ends(whole, settings, outcome, monkeypatch):
    settings = replace(settings, epochs=2)
    with monkeypatch.context() as patch:
        call_at(patch, 2 * EPOCH - 1, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    assert not (settings.directory / "test.json").exists()
    assert train(settings, resume=True).test == whole[1].test
    assert outcome(settings.directory) == outcome(whole[0].directory)


def test_a_run_that_chose_by_test_does_not_go_on_choosing_by_val(settings, both, tmp_path):
    for name in ("train", "test"):
        shutil.copytree(both / name, tmp_path / "one" / name)
    settings = replace(settings, root=tmp_path / "one")
    train(settings)
    shutil.copytree(both / "val", tmp_path / "one" / "val")
    with pytest.raises(DataError, match="has chosen its best network by test/ so far, and would now by val/"):
        train(settings, resume=True)


def test_a_run_says_what_it_found_and_which_split_a_figure_is_of(settings, capfd):
    train(replace(settings, quiet=False, batch_size=9))
    told = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[:5]] == ["model", "data", "steps", "kernels", "run"]
    assert told[1] == "data     folder: 8 train, 6 val, 4 test images of 3×8×8, 2 classes"
    assert told[5:9] == [
        "train: 8 images in 2 classes",
        "val: 6 images in 2 classes",
        "test: 4 images in 2 classes",
        "batch-size 9 is more than the 8 training images: an epoch is one step with all of them",
    ]
    assert " val loss " in told[9]
    assert "test" not in told[9]
    assert told[-1].startswith("test accuracy ")
    assert told[-1].endswith("of the best network (epoch 1), on 4 images that played no part in choosing it")


def test_evaluation_says_which_images_it_left_out(whole, both, tmp_path, capsys):
    shutil.copytree(both / "test", tmp_path / "other" / "test")
    (tmp_path / "other" / "test" / "cat" / "empty.png").touch()
    evaluate(whole[0].directory, root=tmp_path / "other", quiet=False)
    assert "test: 4 images in 2 classes; 1 left out: cat/empty.png (empty, 0 bytes)\n" in capsys.readouterr().err


def test_the_command_says_which_split_a_figure_is_of(settings, capsys):
    words = [f"--{name}={getattr(settings, name)}" for name in ("data", "root", "size", "augment", "out")]
    assert main(["train", *words, "--epochs=1", "--batch-size=4"]) == 0
    assert "finished: val accuracy " in capsys.readouterr().out
    assert main(["evaluate", str(settings.directory)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("on 4 test images")
    assert second.endswith("recorded on the val images after epoch 1")


def test_the_last_word_is_spoken_also_where_the_best_network_was_missing(whole, tmp_path):
    settings, result = whole
    shutil.copytree(settings.directory, tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").unlink()
    again = train(replace(settings, out=tmp_path / "run"), resume=True)
    assert again.best == result.history[-1]
    assert json.loads((tmp_path / "run" / "test.json").read_text())["epoch"] == 2
    assert again.test.accuracy == evaluate(tmp_path / "run").accuracy
