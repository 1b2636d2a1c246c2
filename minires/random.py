"""Random numbers as functions of (seed, stream, index). Earlier draws do not change later ones.

A stream is a name such as "dropout" or "data.shuffle". An index selects one draw of the stream, for example by epoch,
layer or step. The seed and both are hashed into the key of a counter-based generator:

    key   = blake2b-128(JSON of [seed, stream, *index])                           (1)
    draws = Philox4x64-10 with that key, counter 0                                (2)

So (seed, stream, index) always gives the same bits: in any order, in any thread and after a resume. One stream cannot
change another. The bits of (1) and (2) do not depend on the platform.
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
    """A seed, and the number of ``next_draws`` calls for each stream.

    Raises
    ------
    TypeError, ValueError : if ``seed`` is not an integer from 0 to 2**64 − 1.
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.manual_seed(seed)

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self._seed

    def manual_seed(self, seed: int) -> None:
        """Set the seed and reset the counter of every stream to zero."""
        seed = _checked_seed(seed)
        with self._lock:
            self._seed, self._counters = seed, dict[str, int]()

    def draws(self, stream: str, *index: int) -> np.random.Generator:
        """Return the NumPy generator of (this seed, ``stream``, ``index``). No counter changes."""
        return _keyed(self._seed, stream, index)

    def next_draws(self, stream: str) -> np.random.Generator:
        """Return ``draws(stream, n)`` in the n-th call with this stream, n = 0, 1, 2, …"""
        with self._lock:
            count = self._counters.get(stream, 0)
            drawn = _keyed(self._seed, stream, (count,))
            self._counters[stream] = count + 1
        return drawn

    def get_state(self) -> dict[str, Any]:
        """Return the seed and the counters as a dictionary that JSON can store."""
        with self._lock:
            return {"seed": self._seed, "counters": dict(self._counters)}

    __getstate__ = get_state  # for pickling and copying

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._lock = threading.Lock()
        self.set_state(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``get_state`` returned.

        Raises
        ------
        CheckpointError : if ``state`` is not such a dictionary; the generator then keeps its state.
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
    """Set the seed of everything that minires draws: initial weights, dropout, shuffling, augmentation.

    Without a call the seed is 0, so a program gives the same result each time it runs.

    Raises
    ------
    TypeError, ValueError : if ``seed`` is not an integer from 0 to 2**64 − 1.
    """
    default_generator.manual_seed(seed)


def draws(stream: str, *index: int, seed: int | None = None) -> np.random.Generator:
    """Return the NumPy generator of (seed, stream, index), a pure function of the three.

    Parameters
    ----------
    stream : the name of what is drawn, for example "data.shuffle"
    index : integers that select one draw of the stream, for example an epoch
    seed : an integer; None stands for the default generator's seed

    Returns
    -------
    A new generator, at the start of its sequence.

    Raises
    ------
    TypeError, ValueError : if the seed, the stream or the index has another type or is out of range.

    Identity that tests it: its raw bits equal those of Philox4x64-10 written in plain Python.
    """
    return _keyed(default_generator.seed if seed is None else _checked_seed(seed), stream, index)


def next_draws(stream: str) -> np.random.Generator:
    """Return ``draws(stream, n)`` in the n-th call with this stream since ``manual_seed``, n = 0, 1, 2, …"""
    return default_generator.next_draws(stream)


def get_state() -> dict[str, Any]:
    """Return the default generator's seed and counters as a dictionary that JSON can store, for a checkpoint."""
    return default_generator.get_state()


def set_state(state: Mapping[str, Any]) -> None:
    """Restore the default generator's state from what ``get_state`` returned.

    Raises
    ------
    CheckpointError : if ``state`` is not such a dictionary; the generator then keeps its state.
    """
    default_generator.set_state(state)
