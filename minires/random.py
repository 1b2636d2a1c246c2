"""Random numbers as functions of (seed, stream, index), never of how often somebody drew before.

A stream is a name such as "dropout" or "data.shuffle"; an index says which draw of it is meant: an epoch, a
layer, a step. Both are digested together with the seed into the key of a counter-based generator:

    key   = blake2b-128(JSON of [seed, stream, *index])                           (1)
    draws = Philox4x64-10 with that key, counter 0                                (2)

So whoever asks for (seed, stream, index) gets the same bits, in any order, in any thread and after any
resume, and one stream cannot disturb another. The bits of (1) and (2) do not depend on the platform.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from minires.errors import CheckpointError

_SEEDS = 2**64


def _checked_seed(seed: Any) -> int:
    if not _is_integer(seed):
        raise TypeError(f"a seed must be an integer from 0 to 2**64 - 1, got {seed!r}")
    if not 0 <= int(seed) < _SEEDS:
        raise ValueError(f"a seed must be an integer from 0 to 2**64 - 1, got {int(seed)}")
    return int(seed)


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool | np.bool_)


def _keyed(seed: int, stream: str, index: tuple[int, ...]) -> np.random.Generator:
    if not isinstance(stream, str) or not all(map(_is_integer, index)):
        raise TypeError(f"a draw is named by a string and integers, got {stream!r} and {index!r}")
    name = json.dumps([seed, stream, *map(int, index)])
    key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")  # (1)
    return np.random.Generator(np.random.Philox(key=key))  # (2)


class Generator:
    """A seed, and how many draws each stream has handed out through ``next_draws``.

    Raises
    ------
    TypeError, ValueError : if ``seed`` is not an integer from 0 to 2**64 − 1.
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.manual_seed(seed)

    @property
    def seed(self) -> int:
        """The seed that all draws are keyed by."""
        return self._seed

    def manual_seed(self, seed: int) -> None:
        """Start afresh from ``seed``: every stream's counter goes back to zero."""
        seed = _checked_seed(seed)
        with self._lock:
            self._seed, self._counters = seed, dict[str, int]()

    def draws(self, stream: str, *index: int) -> np.random.Generator:
        """The NumPy generator of (this seed, ``stream``, ``index``); changes nothing here."""
        return _keyed(self._seed, stream, index)

    def next_draws(self, stream: str) -> np.random.Generator:
        """``draws(stream, n)`` for the n-th call with this stream, n = 0, 1, 2, …"""
        with self._lock:
            count = self._counters.get(stream, 0)
            drawn = _keyed(self._seed, stream, (count,))
            self._counters[stream] = count + 1
        return drawn

    def get_state(self) -> dict[str, Any]:
        """The seed and the counters as a dictionary that JSON can hold."""
        with self._lock:
            return {"seed": self._seed, "counters": dict(self._counters)}

    __getstate__ = get_state  # for pickling and copying

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self.set_state(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises
        ------
        CheckpointError : if ``state`` is not such a dictionary; the generator keeps its state.
        """
        try:
            seed, counters = _checked_seed(state["seed"]), dict(state["counters"])
            valid = len(state) == 2 and all(
                isinstance(stream, str) and _is_integer(count) and count >= 0 for stream, count in counters.items()
            )
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            raise CheckpointError(
                "a random state must be {'seed': integer, 'counters': {stream: count}} as get_state returns it, "
                f"got {state!r}"
            )
        with self._lock:
            self._seed, self._counters = seed, {stream: int(count) for stream, count in counters.items()}


default_generator = Generator()


def manual_seed(seed: int) -> None:
    """Seed everything that minires draws: initial weights, dropout, shuffling, augmentation.

    Without a call the seed is 0: a program gives the same result each time it runs.

    Raises
    ------
    TypeError, ValueError : if ``seed`` is not an integer from 0 to 2**64 − 1.
    """
    default_generator.manual_seed(seed)


def draws(stream: str, *index: int, seed: int | None = None) -> np.random.Generator:
    """The NumPy generator that belongs to (seed, stream, index): a pure function of the three.

    Parameters
    ----------
    stream : the name of what is drawn, as "data.shuffle"
    index : integers that tell one draw of the stream from another, as an epoch
    seed : the default generator's seed where None

    Returns
    -------
    A fresh generator, always at its beginning.

    Raises
    ------
    TypeError, ValueError : for a seed, stream or index of another kind.

    Identity that tests it: its raw bits are Philox4x64-10's, written out in plain Python.
    """
    return _keyed(default_generator.seed if seed is None else _checked_seed(seed), stream, index)


def next_draws(stream: str) -> np.random.Generator:
    """``draws(stream, n)`` for the n-th call with this stream since ``manual_seed``, n = 0, 1, 2, …"""
    return default_generator.next_draws(stream)


def get_state() -> dict[str, Any]:
    """The default generator's seed and counters, for a checkpoint: a dictionary that JSON can hold."""
    return default_generator.get_state()


def set_state(state: Mapping[str, Any]) -> None:
    """Let the default generator go on from what ``get_state`` returned.

    Raises
    ------
    CheckpointError : if ``state`` is not such a dictionary; nothing is changed then.
    """
    default_generator.set_state(state)
