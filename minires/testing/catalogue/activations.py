"""ReLU, sigmoid and tanh."""

from __future__ import annotations

from minires import functional as F
from minires.testing.catalogue.elementary import unary
from minires.testing.catalogue.entry import Entry

ENTRIES = (
    Entry("relu", unary("relu(x0)", F.relu, exact="apart")),
    Entry("relu, near its corner", unary("relu(x0)", F.relu, smooth="beside zero")),
    Entry("sigmoid", unary("x0.sigmoid()", lambda x: x.sigmoid())),
    Entry("tanh", unary("x0.tanh()", lambda x: x.tanh())),
)
