from hypothesis import given
from hypothesis import strategies as st

from minires.kernels.fast.tap_slices import input_taps, output_taps
from minires.testing import strategies as ms


def rows_of(tap):
    """Return the pairs (target row, source row) that a tap joins."""
    targets = range(tap.rows.start, tap.rows.stop)
    sources = range(tap.source_rows.start, tap.source_rows.stop, tap.source_rows.step or 1)
    return list(zip(targets, sources, strict=True))


@given(case=ms.conv_cases(), inputs=st.booleans(), start=st.integers(0, 9), length=st.integers(1, 9))
def test_a_block_of_rows_has_the_pairs_of_its_rows(case, inputs, start, length):
    size, block = case.x[2:], slice(start, start + length)
    phases = input_taps(case.geometry, size).values() if inputs else [output_taps(case.geometry, size)]
    taps = [tap for phase in phases for tap in phase]
    for tap in taps:
        pairs = rows_of(tap)
        within = tap.within(block)
        expected = [pair for pair in pairs if block.start <= pair[0] < block.stop]
        found = [] if within is None else rows_of(tap._replace(rows=within[0], source_rows=within[1]))
        assert found == expected
