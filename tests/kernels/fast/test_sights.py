from hypothesis import given
from hypothesis import strategies as st

from minires.kernels.fast.sights import from_inputs, from_outputs
from minires.testing import strategies as ms


def rows_of(sight):
    """The pairs (target row, source row) that meet through a sight."""
    targets = range(sight.rows.start, sight.rows.stop)
    sources = range(sight.source_rows.start, sight.source_rows.stop, sight.source_rows.step or 1)
    return list(zip(targets, sources, strict=True))


@given(case=ms.conv_cases(), inputs=st.booleans(), start=st.integers(0, 9), length=st.integers(1, 9))
def test_parts_of_a_sight_are_those_of_its_pairs(case, inputs, start, length):
    size, block = case.x[2:], slice(start, start + length)
    phases = from_inputs(case.geometry, size).values() if inputs else [from_outputs(case.geometry, size)]
    sights = [sight for phase in phases for sight in phase]
    for sight in sights:
        pairs = rows_of(sight)
        within = sight.within(block)
        expected = [pair for pair in pairs if block.start <= pair[0] < block.stop]
        found = [] if within is None else rows_of(sight._replace(rows=within[0], source_rows=within[1]))
        assert found == expected
