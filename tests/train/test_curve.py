import sys

import pytest
from PIL import Image

from minires.train import curve

HISTORY = [
    {"epoch": i + 1, "train_loss": 1 / (i + 1), "test_loss": 1.0, "train_accuracy": i / 10, "test_accuracy": 0.5}
    for i in range(3)
]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_curve_is_a_picture(tmp_path, epochs):
    assert curve.draw(HISTORY[:epochs], HISTORY[0], tmp_path / "curve.png", "a run")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**20)) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_the_curve_says_which_split_its_figures_are_of(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda figure, text: titles.append(text))
    labels = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda *_, label, **__: labels.append(label) or [])
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda *_: None)
    history = [{name.replace("test", "val"): value for name, value in line.items()} for line in HISTORY]
    assert curve.draw(history, history[0], tmp_path / "curve.png", "resnet20 on digits")
    assert labels == ["train", "val"] * 2
    assert titles == ["resnet20 on digits: best val accuracy 0.5000 after epoch 1"]


def test_without_matplotlib_nothing_is_drawn(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what makes an import fail
    assert not curve.draw(HISTORY, HISTORY[0], tmp_path / "curve.png", "a run")
    assert not any(tmp_path.iterdir())
