"""Show a progress bar in a terminal."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from minires.train.settings import Settings


def progress_bar(settings: Settings, total: int, title: str, done: int = 0) -> Any:
    """Return a progress bar of ``total`` steps; it is silent if the run is quiet or stderr is not a terminal."""
    silent = True if settings.quiet or sys.stderr is None else None  # None: tqdm asks whether stderr is a terminal
    return tqdm(total=total, initial=done, desc=title, leave=False, disable=silent)
