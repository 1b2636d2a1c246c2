"""What the programs that draw the figures share."""

import pathlib
import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["plt", "save"]


def save(figure, name):
    """Write a figure as PNG to the folder that the command line names."""
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images") / name
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})  # the same bytes wherever it is drawn again
    print(path)
