import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference import shape as sh
from minires.testing import MEMORY_ORDERS, lay_out

SIDES = st.sampled_from([1, 1, 1, 0])  # the least length of an axis: empty arrays now and then
INDICES = ("basic", "integers", "mask", "mixed")
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


def integers(seed, shape, dtype=np.float64, layout="C"):
    """Return small integers: sums of their products are exact in either dtype."""
    x = np.random.default_rng(seed).integers(-9, 10, shape).astype(dtype)
    return lay_out(x, layout)


@st.composite
def arrays(draw, min_dims=0, min_side=0):
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=max(min_side, draw(SIDES)), max_side=4))
    return integers(draw(seeds), shape, draw(dtypes), draw(st.sampled_from(MEMORY_ORDERS)))


def hwnc(shape):
    N, C, H, W = shape
    return integers(0, (H, W, N, C), np.float32).transpose(2, 3, 0, 1)


def order(x):
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def same(actual, expected):
    assert isinstance(actual, np.ndarray)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def cannot_be_written(view):
    with pytest.raises(ValueError, match="read-only"):
        view[...] = 0
    return True


@pytest.mark.numpy_only
@given(x=arrays(), data=st.data())
def test_reshape_keeps_the_row_major_order(x, data):
    shape = data.draw(st.sampled_from([(-1,), (x.size,), (1, x.size), x.shape, (*x.shape, 1)]))
    if x.size:
        shape = data.draw(st.sampled_from([shape, -1, (-1, 1)]))
    y = sh.reshape(x, shape)
    same(y, x.reshape(shape))
    assert y.ravel().tolist() == x.ravel().tolist()
    assert cannot_be_written(y)


@pytest.mark.numpy_only
@given(x=arrays(), data=st.data())
def test_transpose_moves_every_element_and_its_inverse_moves_it_back(x, data):
    axes = tuple(data.draw(st.permutations(range(x.ndim))))
    y = sh.transpose(x, axes)
    for where in np.ndindex(y.shape):
        source = dict(zip(axes, where, strict=True))
        assert y[where] == x[tuple(source[axis] for axis in range(x.ndim))]
    inverse = tuple(np.argsort(np.array(axes, int)).tolist())
    same(sh.transpose(y, inverse), x)
    same(sh.transpose(x, tuple(axis - x.ndim for axis in axes)), y)
    same(sh.transpose(x), x.T)
    assert cannot_be_written(y)


@pytest.mark.numpy_only
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3), seed=seeds)
def test_broadcast_to_is_numpys(shapes, seed):
    x = integers(seed, shapes.input_shapes[0])
    y = sh.broadcast_to(x, shapes.result_shape)
    same(y, np.broadcast_to(x, shapes.result_shape))
    assert cannot_be_written(y)


@given(x=arrays(), value=st.sampled_from([0.0, -1.5, np.inf]), data=st.data())
def test_pad_puts_the_value_around_and_its_adjoint_cuts_it_off(x, value, data):
    widths = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=x.ndim, max_size=x.ndim))
    y = sh.pad(x, widths, value)
    expected = np.full([b + n + a for n, (b, a) in zip(x.shape, widths, strict=True)], value, x.dtype)
    inside = tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, widths, strict=True))
    expected[inside] = x
    same(y, expected)
    gy = integers(1, y.shape, x.dtype)
    assert np.vdot(gy, sh.pad(x, widths)) == np.vdot(gy[inside], x)


@st.composite
def indexed(draw, kind):
    """Draw an array and an index: slices, None, Ellipsis, integers, integer arrays, masks."""
    x = draw(arrays(min_side=1, min_dims=0 if kind in ("basic", "mask") else 1))
    rng = np.random.default_rng(draw(seeds))
    if kind == "basic":
        index = draw(hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True))
    elif kind == "integers":
        result = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
        index = draw(hnp.integer_array_indices(x.shape, result_shape=st.just(result)))
    elif kind == "mask":
        axes = draw(st.integers(0, x.ndim))
        index = rng.random(x.shape[:axes]) < 0.5
    else:
        picks = rng.integers(-x.shape[-1], x.shape[-1], 5)
        index = (..., None, picks) if draw(st.booleans()) else (..., picks.tolist())
    return x, index


@pytest.mark.parametrize("kind", INDICES)
@given(data=st.data())
def test_getitem_is_numpys_but_never_a_scalar(kind, data):
    x, index = data.draw(indexed(kind))
    y = sh.getitem(x, index)
    same(y, np.asarray(x[index]))
    assert not np.shares_memory(x, y) or cannot_be_written(y)


@pytest.mark.numpy_only
def test_a_single_element_is_an_array_of_no_axes():
    x = integers(0, (2, 3))
    y = sh.getitem(x, (1, 2))
    same(y, np.asarray(x[1, 2]))
    assert np.shares_memory(x, y)
    same(sh.getitem_grad(np.asarray(5.0), (1, 2), x.shape), np.array([[0.0, 0, 0], [0, 0, 5]]))


@pytest.mark.parametrize("kind", INDICES)
@given(data=st.data())
def test_getitem_grad_puts_back_what_a_scalar_loop_puts_back(kind, data):
    x, index = data.draw(indexed(kind))
    gy = integers(7, sh.getitem(x, index).shape, x.dtype)
    places = np.asarray(np.arange(x.size).reshape(x.shape)[index])
    expected = [0.0] * x.size
    for place, g in zip(places.ravel().tolist(), gy.ravel().tolist(), strict=True):
        expected[place] += g
    same(sh.getitem_grad(gy, index, x.shape), np.array(expected, x.dtype).reshape(x.shape))


@pytest.mark.parametrize("kind", INDICES)
@given(data=st.data())
def test_getitem_grad_is_the_adjoint_of_getitem(kind, data):
    x, index = data.draw(indexed(kind))
    y = sh.getitem(x, index)
    gy = integers(7, y.shape, x.dtype)
    assert np.vdot(gy, y) == np.vdot(sh.getitem_grad(gy, index, x.shape), x)


def test_an_element_picked_three_times_gets_three_gradients():
    ga = sh.getitem_grad(np.array([1.0, 10.0, 100.0, 1000.0]), np.array([2, 0, 2, -1]), (3,))
    assert ga.tolist() == [10, 0, 1101]


@st.composite
def joined(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    sizes, dtype, seed = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)), draw(dtypes), draw(seeds)
    pieces = []
    for i, size in enumerate(sizes):
        piece = list(shape)
        piece[axis] = size
        pieces.append(integers(seed + i, piece, dtype, draw(st.sampled_from(MEMORY_ORDERS))))
    return pieces, axis


@pytest.mark.numpy_only
@given(case=joined())
def test_split_takes_apart_what_concatenate_joins(case):
    pieces, axis = case
    y = sh.concatenate(pieces, axis)
    same(y, np.concatenate(pieces, axis))
    back = sh.split(y, [piece.shape[axis] for piece in pieces], axis)
    assert len(back) == len(pieces)
    for piece, original in zip(back, pieces, strict=True):
        same(piece, original)
        assert cannot_be_written(piece)


def test_arrays_join_and_fall_apart_along_the_first_axis_unless_told_otherwise():
    x, y = integers(0, (2, 3)), integers(1, (2, 3))
    same(sh.concatenate([x, y]), np.concatenate([x, y]))
    same(sh.stack([x, y]), np.stack([x, y]))
    same(sh.split(x, [1, 1])[1], x[1:])


@given(x=arrays(), count=st.integers(1, 3), data=st.data())
def test_stack_is_numpys(x, count, data):
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    parts = [x + x.dtype.type(i) for i in range(count)]
    same(sh.stack(parts, axis), np.stack(parts, axis))


@pytest.mark.numpy_only
def test_activations_keep_their_memory_order():
    x = hwnc((2, 3, 4, 6))
    every_other = sh.getitem(x, (slice(None), slice(None), slice(None, None, 2), slice(None, None, 2)))
    results = [
        sh.pad(x, [(0, 0), (1, 2), (3, 0), (0, 0)]),
        sh.concatenate([x, np.ascontiguousarray(x)], 1),
        every_other,
        sh.getitem_grad(every_other, np.s_[:, :, ::2, ::2], x.shape),
    ]
    assert [order(y) for y in results] == [[2, 3, 0, 1]] * len(results)
    assert order(sh.concatenate([np.ascontiguousarray(x), x], 1)) == [0, 1, 2, 3]


def test_results_that_are_not_views_do_not_share_memory_with_inputs():
    x = integers(0, (3, 4))
    for y in (
        sh.pad(x, [(0, 0), (0, 0)]),
        sh.concatenate([x]),
        sh.stack([x]),
        sh.getitem_grad(x, ..., x.shape),
    ):
        assert not np.shares_memory(x, y)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: sh.reshape(x, (5,)), r"\(2, 3\) \(6 elements\) to \(5,\)"),
        (lambda x: sh.reshape(x, (-1, -1)), r"\(2, 3\)"),
        (lambda x: sh.transpose(x, (0, 0)), r"\(0, 0\) .* \(2, 3\)"),
        (lambda x: sh.transpose(x, (0, 1, 2)), "axis 2 is out of range for an array with 2 axes"),
        (lambda x: sh.transpose(x, (0,)), r"\(0,\) .* \(2, 3\)"),
        (lambda x: sh.broadcast_to(x, (3, 2)), r"\(2, 3\) to \(3, 2\)"),
        (lambda x: sh.broadcast_to(x, (3,)), r"\(2, 3\) to \(3,\)"),
        (lambda x: sh.pad(x, [(1, 1)]), r"\(2, 3\) needs 2 pairs"),
        (lambda x: sh.pad(x, [(1, 1), (0, -1)]), r"\(0, -1\)"),
        (lambda x: sh.getitem_grad(x, 0, (2, 3)), r"\(2, 3\), .* an output of \(3,\)"),
        (lambda x: sh.concatenate([]), "no array"),
        (lambda x: sh.concatenate([np.array(1.0)]), r"\(\)"),
        (lambda x: sh.concatenate([x, x.T]), r"\(2, 3\) and \(3, 2\) differ"),
        (lambda x: sh.concatenate([x, x[0]]), r"\(2, 3\) and \(3,\) differ"),
        (lambda x: sh.concatenate([x[0], x[0, 0]]), r"one or more axes, got shapes \(3,\) and \(\)"),
        (lambda x: sh.concatenate([x], 2), "axis 2"),
        (lambda x: sh.split(x, [1, 2]), r"\[1, 2\] .* \(2, 3\)"),
        (lambda x: sh.split(x, [3, -1]), r"\[3, -1\]"),
        (lambda x: sh.stack([]), "no array"),
        (lambda x: sh.stack([x, x.T]), r"\(2, 3\) and \(3, 2\)"),
        (lambda x: sh.stack([x], 3), "axis 3"),
    ],
)
def test_shapes_that_do_not_fit_raise_and_are_named(call, text):
    with pytest.raises(ShapeError, match=text):
        call(integers(0, (2, 3)))


@pytest.mark.numpy_only
def test_an_index_out_of_range_is_an_index_error():
    with pytest.raises(IndexError, match="5"):
        sh.getitem(np.ones(3), 5)
    with pytest.raises(IndexError, match="3"):
        sh.getitem_grad(np.ones(1), np.array([3]), (3,))


def test_mixed_dtypes_do_not_join():
    parts = [np.ones(2, np.float32), np.ones(2, np.float64)]
    for join in (sh.concatenate, sh.stack):
        with pytest.raises(DtypeError, match="float32, float64"):
            join(parts)
