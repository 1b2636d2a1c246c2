"""The slices of targets and sources that each tap of a window joins, seen from the outputs or from the inputs.

From the outputs, a tap (r, s) joins a rectangle of outputs, the targets, with a rectangle of inputs, the sources. With
a stride there are gaps between the sources.

From the inputs, the targets are inputs and the sources are outputs. With a stride (s, t), only the taps with
r·dilation ≡ h + padding (mod s) reach the input row h. All pixels with the same remainders of h by s and of w by t form
a *phase*: the same taps reach them, and each tap joins a rectangle of the phase with a rectangle of outputs without
gaps. So a gradient with respect to the input is gathered rather than scattered, and each job writes its own pixels.

`Geometry.taps` computes which pixels a tap joins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from minires.device import Array, Size
from minires.geometry import Geometry


class TapSlices(NamedTuple):
    """The rows and columns of targets that the tap (r, s) joins with rows and columns of sources."""

    r: int
    s: int
    rows: slice
    cols: slice
    source_rows: slice
    source_cols: slice

    @property
    def step(self) -> int:
        """The distance between two source rows."""
        return self.source_rows.step or 1

    def within(self, block: slice) -> tuple[slice, slice] | None:
        """Return (rows, source_rows) for the targets in a block of rows, or None if the tap reaches none of them."""
        top, bottom = max(self.rows.start, block.start), min(self.rows.stop, block.stop)
        return (slice(top, bottom), self.sources(slice(top, bottom))) if top < bottom else None

    def sources(self, rows: slice) -> slice:
        """Return the source rows of some target rows, all of which the tap reaches."""
        first = self.source_rows.start + (rows.start - self.rows.start) * self.step
        return slice(first, first + (rows.stop - rows.start - 1) * self.step + 1, self.step)


def output_taps(geometry: Geometry, size: Size) -> list[TapSlices]:
    """Return the taps as seen from the outputs, for an image of ``size`` (H, W)."""
    return [
        TapSlices(tap.r, tap.s, tap.rows_out, tap.cols_out, tap.rows_in, tap.cols_in) for tap in geometry.taps(size)
    ]


def input_taps(geometry: Geometry, size: Size) -> dict[Size, list[TapSlices]]:
    """Return the taps as seen from the inputs of each phase, without the phases that no tap reaches."""
    phases: dict[Size, list[TapSlices]] = {}
    (s, t) = geometry.stride
    for tap in geometry.taps(size):
        i, j = tap.rows_in.start // s, tap.cols_in.start // t
        rows = slice(i, i + tap.rows_out.stop - tap.rows_out.start)
        cols = slice(j, j + tap.cols_out.stop - tap.cols_out.start)
        phase = tap.rows_in.start % s, tap.cols_in.start % t
        phases.setdefault(phase, []).append(TapSlices(tap.r, tap.s, rows, cols, tap.rows_out, tap.cols_out))
    return phases


def each_phase(image: Array, geometry: Geometry) -> Iterator[tuple[Size, Array, list[TapSlices]]]:
    """Yield (phase, its pixels, its taps) for the phases that a tap reaches; set the pixels of the others to 0."""
    phases = input_taps(geometry, (image.shape[0], image.shape[1]))
    for a, b in itertools.product(*map(range, geometry.stride)):
        pixels = phase_of(image, (a, b), geometry.stride)
        if (a, b) in phases:
            yield (a, b), pixels, phases[a, b]
        else:
            pixels[...] = 0


def phase_of(image: Array, phase: Size, stride: Size) -> Array:
    """Return the pixels of one phase, a view."""
    return image[phase[0] :: stride[0], phase[1] :: stride[1]]
