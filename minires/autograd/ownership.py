"""Decide when a backward pass may write into the memory of a gradient.

A backward pass can save memory and time in three ways. It adds a gradient to another one in place, it lets an
operation overwrite the gradient that it received, and it puts a gradient into ``.grad`` without a copy. Each of these
is safe only if nobody else holds the memory. Then the backward pass *owns* the gradient.

It owns a gradient

- that an operation with ``hands_over = True`` returned. The ``backward`` of such an operation promises to keep no
  reference to the memory of its results, and to return the same memory only once;
- that it computed as the sum of two others.

It does not own a gradient

- that the caller gave, or that any other operation returned: ``a + b`` returns one gradient for both operands;
- that a hook received or returned, as the hook may keep it;
- that is both kept for the caller and passed on to an operation;
- in a backward pass that is recorded (``create_graph=True``), as the graph holds every tensor.

An operation may write into the gradients that it received only where `Op.may_overwrite` says so, and a hook never.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minires.autograd.op import recording
from minires.autograd.tensor import Tensor
from minires.device import Array
from minires.errors import GraphError
from minires.values import METHODS


class Arrived(NamedTuple):
    """A gradient that arrived at a node, and whether the backward pass owns its memory."""

    gradient: Tensor
    owned: bool


def added(first: Arrived, second: Arrived) -> Arrived:
    """Return the sum of two gradients of one node, in the memory of the first if that is owned."""
    if first.owned:
        METHODS["add_in_place"](first.gradient, second.gradient)
        return first
    return Arrived(first.gradient + second.gradient, owned=not recording())


def for_caller(arrived: Arrived, like: Array | None = None) -> Tensor:
    """Return a gradient that the caller may write into, in the memory order of ``like``, if given.

    It is the gradient itself if that is owned and in this order, otherwise a clone.
    """
    gradient, owned = arrived
    if owned and (like is None or gradient._array.strides == like.strides):
        return gradient
    return gradient.clone(like)


@contextlib.contextmanager
def unchanged(gradients: Sequence[Tensor | None], holder: str) -> Iterator[None]:
    """Return a context manager that raises GraphError if ``holder`` writes into gradients inside it."""
    given = [gradient for gradient in gradients if gradient is not None]
    before = [gradient._version.count for gradient in given]
    yield
    if before != [gradient._version.count for gradient in given]:
        raise GraphError(f"{holder} changed its gradient in place, but others may need it: return a new one, 2 * gy")
