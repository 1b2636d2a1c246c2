import json
import re
import signal
from dataclasses import replace

import pytest
from idx_files import write_set

from minires.checkpoint import load, load_metadata
from minires.train import Settings, loop, train

TIMES = ("seconds", "images_per_second")


@pytest.fixture(autouse=True)
def ctrl_c():
    """Handle Ctrl-C as in a terminal, even if the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_drawing(request, monkeypatch):
    """Write an empty curve.png, except in tests of the curve: drawing takes longer than the rest of a run."""
    if not {"curve", "matplotlib"} & set(re.split(r"\W|_", request.node.name)):
        monkeypatch.setattr(
            loop, "_draw_curve", lambda run: run.position.best and (run.settings.directory / loop.CURVE).touch()
        )


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Return a data set of 40 training and 20 test images: noise, and stripes that a network can learn."""
    return write_set(tmp_path_factory.mktemp("idx"), 40, 20)


@pytest.fixture(scope="session")
def other_root(tmp_path_factory):
    """Return such a data set with 30 training images."""
    return write_set(tmp_path_factory.mktemp("other"), 30, 20)


@pytest.fixture(scope="session")
def recipe(root):
    """Return settings of two epochs of three steps; each epoch leaves out one image of 40."""
    return Settings(data="fashion-mnist", root=root, epochs=2, batch_size=13, lr=0.05, augment="crop-flip", quiet=True)


@pytest.fixture(scope="session")
def whole(recipe, tmp_path_factory):
    """Return the settings of an uninterrupted run, and its result."""
    settings = replace(recipe, out=tmp_path_factory.mktemp("whole") / "run")
    return settings, train(settings)


@pytest.fixture
def settings(recipe, tmp_path):
    """Return the recipe with a separate directory."""
    return replace(recipe, out=tmp_path / "run")


@pytest.fixture
def outcome():
    """Return a function from a directory to all results of its run, except times."""

    def read(directory):
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        metrics = [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
        bits = {}
        for file in ("best.safetensors", "last.safetensors"):
            bits[file] = {name: value.array.tobytes() for name, value in load(directory / file).items()}
        bits["scaler"] = load_metadata(directory / "last.safetensors").get("scaler")
        return metrics, bits

    return read
