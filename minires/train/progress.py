"""A progress bar where somebody watches."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from minires.train.settings import Settings


def progress_bar(settings: Settings, total: int, title: str, done: int = 0) -> Any:
    """Return a bar of ``total`` steps; a silent one if the run is quiet, or stderr is closed or no terminal."""
    silent = True if settings.quiet or sys.stderr is None else None  # None: silent where it is no terminal
    return tqdm(total=total, initial=done, desc=title, leave=False, disable=silent)
