"""Draw the training curve. Needs matplotlib, the extra ``plot``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minires.checkpoint import write_whole
from minires.train.state import split_of

CAPTION = (
    "train: mean over the epoch while the weights move, on augmented images, in training mode; "
    "{split}: after the epoch, in evaluation mode"
)


def draw(history: Sequence[dict[str, Any]], best: dict[str, Any], path: Path, run: str) -> bool:
    """Draw loss and accuracy over the epochs into a PNG file. A loss that is not finite leaves a gap.

    Parameters
    ----------
    history : the metrics of each epoch
    best : the metrics of the best epoch, for the title
    path : the file; an existing one is replaced
    run : what was trained on which data, for the title

    Returns
    -------
    True if the file was drawn; False if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    epochs, split = [metrics["epoch"] for metrics in history], split_of(best)
    for axes, name, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        for part, style in (("train", "--"), (split, "-")):
            values = [metrics[f"{part}_{name}"] for metrics in history]
            axes.plot(epochs, values, style, marker="o", markersize=3, label=part)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{run}: best {split} accuracy {best[f'{split}_accuracy']:.4f} after epoch {best['epoch']}")
    figure.supxlabel(CAPTION.format(split=split), fontsize=8, color="0.35")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_whole(path, content.getvalue())
    return True
