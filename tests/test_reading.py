"""docs/reading.md lists the files of a training step, and a short path through them."""

import pathlib
import re
import sys

import numpy as np

import minires as mr
from minires import models, nn, optim

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "minires"
SHORT, WHOLE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8").split("## The whole step")


def listed(text):
    """Return the files of the package that a text links, in order."""
    return re.findall(r"\]\(\.\./minires/([\w/]+\.py)\)", text)


def files_of_a_step():
    """Return the files of the package that the second training step of a ResNet-20 on the reference kernels runs."""
    net, loss_of = models.resnet20(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    rng = np.random.default_rng(0)
    images = mr.tensor(rng.standard_normal((2, 3, 8, 8)).astype(np.float32))
    labels = mr.tensor(rng.integers(0, 10, 2))
    seen = set()

    def trace(frame, event, _):
        seen.add(frame.f_code.co_filename)

    def step():
        loss = loss_of(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with mr.kernels.using("reference"):
        step()  # imports what it needs
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            step()
        finally:
            sys.settrace(before)
    paths = (pathlib.Path(name) for name in seen if not name.startswith("<"))
    return {path.relative_to(PACKAGE).as_posix() for path in paths if path.is_relative_to(PACKAGE)}


def test_the_list_is_the_files_of_a_training_step():
    assert sorted(listed(WHOLE)) == sorted(files_of_a_step())


def test_the_short_path_is_short():
    short = listed(SHORT)
    assert len(short) <= 12
    assert set(short) <= set(listed(WHOLE))
    assert sum(len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) for file in short) <= 1500
