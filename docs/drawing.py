"""What the programs that draw the figures share."""

import pathlib
import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["plt", "save"]


def save(figure, name, note):
    """Write a figure as PNG to the folder that the command line names; ``note`` stands below it."""
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images") / name
    figure.supxlabel(note, fontsize=8, color="0.35")
    figure.savefig(path, dpi=100, metadata={"Software": None})  # not which matplotlib drew it
    print(path)
