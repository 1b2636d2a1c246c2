import dataclasses

import pytest

from minires.checkpoint import save
from minires.errors import CheckpointError, DataError, SettingsError
from minires.train import evaluate, train


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    return train(dataclasses.replace(recipe, label_smoothing=0.1, out=tmp_path_factory.mktemp("evaluated")))


@pytest.mark.parametrize("file", ["best.safetensors", "last.safetensors"])
def test_evaluation_gives_the_recorded_numbers_to_the_last_digit(trained, file):
    line = trained.best if file == "best.safetensors" else trained.history[-1]
    found = evaluate(trained.directory / file)
    assert (found.loss, found.accuracy, found.images) == (line["test_loss"], line["test_accuracy"], 20)
    assert found.recorded == line


def test_a_directory_stands_for_its_best_network(trained, tmp_path):
    assert evaluate(trained.directory) == evaluate(trained.directory / "best.safetensors")
    with pytest.raises(
        CheckpointError,
        match=r"there is no run in .*: neither best\.safetensors nor last\.safetensors; expected a run's",
    ):
        evaluate(tmp_path)


def test_another_batch_size_gives_the_same_accuracy(trained):
    found = evaluate(trained.directory / "last.safetensors", batch_size=7)
    line = trained.history[-1]
    assert found.accuracy == line["test_accuracy"]
    # 20 layers, with sums of up to 576 products, each addition rounded by 2^-24 at most, in another order.
    assert found.loss == pytest.approx(line["test_loss"], rel=20 * 576 * 2**-24)


def test_other_data_with_the_same_classes_can_be_asked_for(trained):
    found = evaluate(trained.directory / "last.safetensors", data="fashion-mnist-mini", batch_size=500)
    assert found.images == 1000


def test_data_with_other_classes_are_an_error(trained, tmp_path):
    with pytest.raises(SettingsError, match="`data` cifar10 needs a `root`"):
        evaluate(trained.directory / "last.safetensors", data="cifar10")
    bytes_of_a_test_set = bytes(10_000 * 3073)
    (tmp_path / "test_batch.bin").write_bytes(bytes_of_a_test_set)
    with pytest.raises(DataError, match=r"the test set has the classes airplane, .*; the network learnt T-shirt/top, "):
        evaluate(trained.directory / "last.safetensors", data="cifar10", root=tmp_path)


def test_a_checkpoint_of_no_run_is_an_error(trained, tmp_path):
    with pytest.raises(CheckpointError, match="is missing"):
        evaluate(tmp_path / "nowhere.safetensors")
    save({}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="was not written by a training run"):
        evaluate(tmp_path / "a.safetensors")
    save({}, tmp_path / "b.safetensors", {"format": "minires.train 1"})
    with pytest.raises(CheckpointError, match="lacks the entry 'settings'"):
        evaluate(tmp_path / "b.safetensors")
