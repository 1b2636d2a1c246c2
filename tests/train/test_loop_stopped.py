from dataclasses import replace

import pytest
from interruptions import interrupt

from minires import checkpoint
from minires.errors import CheckpointError, SettingsError
from minires.train import Interrupted, curve, loop, train


@pytest.mark.parametrize("file", ["last.safetensors", "best.safetensors", "metrics.jsonl", "curve.png"])
def test_what_a_killed_run_left_half_written_is_ignored_and_removed(settings, file):
    settings.directory.mkdir()
    (settings.directory / f".{file}.0123abcd.partial").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="nothing to resume"):  # killed while it saved for the first time
        train(settings, resume=True)
    settings = replace(settings, epochs=1)
    train(settings)
    (settings.directory / f".{file}.0123abcd.partial").write_bytes(b"half")
    train(settings, resume=True)
    names = {path.name for path in settings.directory.iterdir()}
    assert names == {"best.safetensors", "last.safetensors", "metrics.jsonl", "curve.png"}


def test_half_a_file_of_somebody_else_is_kept(settings):
    settings.directory.mkdir()
    (settings.directory / ".thesis.txt.partial").write_text("years of work")
    with pytest.raises(SettingsError, match="exists and is not empty"):
        train(settings)
    assert (settings.directory / ".thesis.txt.partial").read_text() == "years of work"


def interrupt_when(monkeypatch, module, name, times):
    """Press Ctrl-C, once or twice, when a function is called for the first time."""
    real = getattr(module, name)

    def interrupted(*arguments, **options):
        monkeypatch.setattr(module, name, real)
        for _ in range(times):
            interrupt()
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, interrupted)


def test_an_interrupt_while_the_curve_is_drawn_says_how_to_go_on(whole, settings, outcome, monkeypatch):
    for times, message in (
        (1, "interrupted after 2 of 2 epochs and 0 of 3 batches, all saved"),
        (2, "stopped at once"),
    ):
        with monkeypatch.context() as patch:
            interrupt_when(patch, curve, "draw", times)
            with pytest.raises(Interrupted, match=f"{message}; go on with: minires train --resume "):
                train(settings, resume=times == 2)
        assert (settings.directory / "curve.png").exists()  # by the first, which let the drawing end
        assert outcome(settings.directory) == outcome(whole[0].directory)


def test_an_interrupt_in_the_first_save_waits_and_a_second_leaves_nothing(whole, settings, outcome, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_when(patch, checkpoint.os, "replace", 2)
        with pytest.raises(Interrupted, match="stopped at once, before anything was saved; begin again"):
            train(settings)
    assert not settings.directory.exists()
    with monkeypatch.context() as patch:
        interrupt_when(patch, loop.Run, "save_last", 1)
        with pytest.raises(Interrupted, match="interrupted after 0 of 2 epochs and 0 of 3 batches, all saved; go on"):
            train(settings)
    train(settings, resume=True)
    assert outcome(settings.directory) == outcome(whole[0].directory)
