"""What each tap of a filter shows of an image, as rectangles: from the outputs, and from the inputs.

From the outputs, tap (r, s) shows to a rectangle of outputs a rectangle of inputs, with gaps where there is a stride.

From the inputs it is the other way round, and there are no gaps: with a stride (s, t), only the taps with
r·dilation ≡ h + padding (mod s) reach input row h. All pixels with the same remainders of h by s and w by t, a
*phase*, meet the same taps, and each tap shows to a rectangle of the phase a rectangle of outputs. So gradients by
the input are gathered, and not scattered, and each job writes its own pixels.

Which pixels meet, `Geometry.taps` knows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from minires.device import Array, Size
from minires.geometry import Geometry


class Sight(NamedTuple):
    """What a tap shows: the targets of these rows and columns see the sources of those."""

    r: int
    s: int
    rows: slice
    cols: slice
    source_rows: slice
    source_cols: slice

    @property
    def step(self) -> int:
        """How far apart the source rows are."""
        return self.source_rows.step or 1

    def within(self, block: slice) -> tuple[slice, slice] | None:
        """(rows, source_rows) for the targets of a block of rows alone; None if they see nothing."""
        top, bottom = max(self.rows.start, block.start), min(self.rows.stop, block.stop)
        return (slice(top, bottom), self.sources(slice(top, bottom))) if top < bottom else None

    def sources(self, rows: slice) -> slice:
        """The source rows that these rows of targets see, of which all see one."""
        first = self.source_rows.start + (rows.start - self.rows.start) * self.step
        return slice(first, first + (rows.stop - rows.start - 1) * self.step + 1, self.step)


def from_outputs(geometry: Geometry, size: Size) -> list[Sight]:
    """The taps as the outputs see them, in an image of ``size`` (H, W)."""
    return [Sight(tap.r, tap.s, tap.rows_out, tap.cols_out, tap.rows_in, tap.cols_in) for tap in geometry.taps(size)]


def from_inputs(geometry: Geometry, size: Size) -> dict[Size, list[Sight]]:
    """The taps as the inputs of each phase see them; phases that meet no tap are left out."""
    phases: dict[Size, list[Sight]] = {}
    (s, t) = geometry.stride
    for tap in geometry.taps(size):
        i, j = tap.rows_in.start // s, tap.cols_in.start // t
        rows = slice(i, i + tap.rows_out.stop - tap.rows_out.start)
        cols = slice(j, j + tap.cols_out.stop - tap.cols_out.start)
        phase = tap.rows_in.start % s, tap.cols_in.start % t
        phases.setdefault(phase, []).append(Sight(tap.r, tap.s, rows, cols, tap.rows_out, tap.cols_out))
    return phases


def each_phase(image: Array, geometry: Geometry) -> Iterator[tuple[Size, Array, list[Sight]]]:
    """(phase, its pixels, what they see) of the phases that meet a tap; the pixels of the others are set to 0."""
    phases = from_inputs(geometry, (image.shape[0], image.shape[1]))
    for a, b in itertools.product(*map(range, geometry.stride)):
        pixels = every(image, (a, b), geometry.stride)
        if (a, b) in phases:
            yield (a, b), pixels, phases[a, b]
        else:
            pixels[...] = 0


def every(image: Array, phase: Size, stride: Size) -> Array:
    """The pixels of one phase, a view."""
    return image[phase[0] :: stride[0], phase[1] :: stride[1]]
