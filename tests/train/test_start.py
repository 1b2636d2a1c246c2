"""Test where a run may begin, and how it may be resumed."""

import errno
import os
import pathlib
from dataclasses import replace

import numpy as np
import pytest
from interruptions import call_at, interrupt

import minires as mr
from minires.errors import CheckpointError, DataError, SettingsError
from minires.optim import SGD, OneCycleLR
from minires.train import Interrupted, evaluate, train
from minires.train.directory import locked_directory

BATCHES = 3 + 2  # of an epoch: to train, then to test


def test_a_run_that_was_stopped_in_its_first_epoch_is_replaced(whole, settings, outcome, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        call_at(patch, 2, interrupt)
        with pytest.raises(Interrupted):
            train(replace(settings, lr=0.1, batch_size=10))
    train(replace(settings, quiet=False))
    assert "replacing a run that was stopped in its first epoch, after 2 batches" in capfd.readouterr().out
    assert outcome(settings.directory) == outcome(whole[0].directory)


@pytest.mark.parametrize("number", [BATCHES, BATCHES + 2])
def test_a_run_that_has_made_its_first_epoch_is_not_replaced(settings, outcome, monkeypatch, number):
    with monkeypatch.context() as patch:
        call_at(patch, number, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    with pytest.raises(
        SettingsError, match=r"exists and is not empty; resume the run in it \(`resume` .*run\), or choose"
    ):
        train(settings)


@pytest.mark.parametrize("extra", ["thesis.txt", "best.safetensors"])
def test_a_run_beside_something_else_is_not_replaced(settings, monkeypatch, extra):
    with monkeypatch.context() as patch:
        call_at(patch, 1, interrupt)
        with pytest.raises(Interrupted):
            train(settings)
    (settings.directory / extra).write_text("years of work")
    with pytest.raises(SettingsError, match="exists and is not empty"):
        train(settings)
    (settings.directory / extra).unlink()
    (settings.directory / "last.safetensors").write_text("not a run's")
    with pytest.raises(SettingsError, match="exists and is not empty"):
        train(settings)


def test_nothing_is_written_in_a_directory_that_holds_no_run(settings):
    settings.directory.mkdir()
    (settings.directory / "thesis.txt").write_text("years of work")
    (settings.directory / ".lock").write_text("of another program")
    paths = [settings.directory, *settings.directory.iterdir()]
    before = [path.stat().st_mtime_ns for path in paths]
    with pytest.raises(SettingsError, match="exists and is not empty and holds no run to resume; choose another"):
        train(settings)
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert (settings.directory / ".lock").read_text() == "of another program"


def test_a_directory_that_cannot_be_read_is_an_error_that_says_what_to_do(settings, monkeypatch):
    settings.directory.mkdir()

    def iterdir(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(pathlib.Path, "iterdir", iterdir)
    with pytest.raises(SettingsError, match=r"cannot read .*run: Permission denied; choose another directory"):
        train(settings)


def test_a_directory_in_use_is_refused_and_can_still_be_read(whole, outcome):
    settings, result = whole
    before = outcome(settings.directory)
    with locked_directory(settings.directory):
        for resume in (True, False):
            with pytest.raises(SettingsError, match=rf"run is in use: process {os.getpid()} on .* trains there"):
                train(settings, resume=resume)
        assert evaluate(settings.directory).accuracy == result.best["test_accuracy"]
    assert outcome(settings.directory) == before
    train(settings, resume=True)


def test_more_epochs_follow_the_schedule_of_a_run_of_that_many(settings, outcome, tmp_path, capfd):
    constant = replace(settings, schedule="constant")
    train(replace(constant, epochs=2, out=tmp_path / "whole"))
    train(replace(constant, epochs=1))
    train(replace(constant, epochs=2, quiet=False), resume=True)
    assert outcome(settings.directory) == outcome(tmp_path / "whole")
    said = "epochs are 2 and were 1: from here on the schedule constant is that of a run of 2 epochs, in which lr stays"
    assert said in capfd.readouterr().out


def test_more_epochs_of_a_schedule_that_has_ended_raise_the_rate_again_and_say_so(settings, capfd):
    first = train(replace(settings, epochs=1))
    result = train(replace(settings, epochs=2, quiet=False), resume=True)
    lr = OneCycleLR(SGD([mr.tensor(np.zeros(1), requires_grad=True)], 0.05), 0.05, 6)
    last, following = first.history[0]["lr"], lr.rate(0.05, 3)
    assert f"in which lr was {last:.3g} and is {following:.3g} in the next step" in capfd.readouterr().out
    assert [line["lr"] for line in result.history] == [last, lr.rate(0.05, 5)]
    with pytest.raises(SettingsError, match=r"cannot resume with `epochs` 1 \(the run has 2\)"):
        train(replace(settings, epochs=1), resume=True)


def test_the_data_may_move_and_kernels_change_when_resuming_and_both_are_told(settings, root, capfd, tmp_path):
    train(replace(settings, epochs=1))
    (tmp_path / "moved").symlink_to(root, target_is_directory=True)
    moved = replace(settings, root=tmp_path / "moved", kernels="reference", quiet=False)
    train(moved, resume=True)
    out = capfd.readouterr().out
    assert f"root is {tmp_path / 'moved'} and was {root}" in out
    assert "kernels is reference and was that of the device; the results are no longer bit for bit those of" in out
    with pytest.raises(
        DataError, match=r"there is no directory .*gone, where the run's data should be; say where they are by `root`"
    ):
        train(replace(settings, root=tmp_path / "gone", epochs=3), resume=True)


def test_a_run_without_its_best_network_goes_on_and_chooses_from_the_epochs_that_follow(
    settings, outcome, monkeypatch, capfd
):
    with monkeypatch.context() as patch:
        call_at(patch, BATCHES + 2, interrupt)  # in the second epoch
        with pytest.raises(Interrupted):
            train(settings)
    best = settings.directory / "best.safetensors"
    best.unlink()
    with pytest.raises(
        CheckpointError, match=r"best\.safetensors is missing: name .*last\.safetensors for the network"
    ):
        evaluate(settings.directory)
    result = train(replace(settings, quiet=False), resume=True)
    assert f"{best} is missing: the best network is chosen from epoch 2 on" in capfd.readouterr().out
    assert result.best == result.history[1]
    assert evaluate(settings.directory).recorded == result.history[1]
    more = train(replace(settings, epochs=3), resume=True)  # an epoch whose network is lost does not count
    assert more.best in more.history[1:]
    assert evaluate(settings.directory).recorded == more.best


def test_a_finished_run_without_its_best_network_gets_that_of_its_last_epoch(whole, tmp_path, capfd):
    settings, result = whole
    copy = replace(settings, out=tmp_path / "copy", quiet=False)
    copy.directory.mkdir()
    (copy.directory / "last.safetensors").write_bytes((settings.directory / "last.safetensors").read_bytes())
    again = train(copy, resume=True)
    assert "is missing: the best network is chosen from epoch 2 on" in capfd.readouterr().out
    assert again.best["epoch"] == 2
    assert evaluate(copy.directory).recorded == result.history[1]
    assert evaluate(copy.directory).accuracy == result.history[1]["test_accuracy"]


def test_a_damaged_best_network_is_an_error_before_anything_is_written(whole, tmp_path):
    settings, _ = whole
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "last.safetensors").write_bytes((settings.directory / "last.safetensors").read_bytes())
    (tmp_path / "copy" / "best.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"best\.safetensors .*Without it \(remove it\) the run goes on"):
        train(replace(settings, out=tmp_path / "new"), resume=tmp_path / "copy")
    assert not (tmp_path / "new").exists()
