import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.matmul import matmul
from minires.kernels.reference.reduction import sum_to

seeds = st.integers(0, 2**32 - 1)


@st.composite
def factors(draw, signature=np.matmul.signature):
    """Draw two factors of small integers, whose products are exact: in C order, transposed or reversed."""
    shapes = draw(hnp.mutually_broadcastable_shapes(signature=signature, max_dims=2, min_side=0, max_side=4))
    rng, dtype = np.random.default_rng(draw(seeds)), draw(st.sampled_from([np.float32, np.float64]))
    made = []
    for shape in shapes.input_shapes:
        x = rng.integers(-9, 10, shape).astype(dtype)
        layout = draw(st.sampled_from(["C", "F", "reversed"]))
        made.append({"C": x, "F": np.asfortranarray(x), "reversed": x[..., ::-1].copy()[..., ::-1]}[layout])
    return made


@given(pair=factors())
def test_matmul_of_whole_numbers_is_a_scalar_loop(pair):
    a, b = pair
    y = matmul(a, b)
    assert isinstance(y, np.ndarray)
    assert y.dtype == a.dtype
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    I, K, J = *rows.shape[-2:], columns.shape[-1]
    rows, columns = np.broadcast_to(rows, (*batch, I, K)), np.broadcast_to(columns, (*batch, K, J))
    expected = np.zeros((*batch, I, J), a.dtype)
    for where in np.ndindex(*batch, I, J):
        *n, i, j = where
        expected[where] = sum(rows[(*n, i, k)].item() * columns[(*n, k, j)].item() for k in range(K))
    if a.ndim == 1:
        expected = expected[..., 0, :]
    if b.ndim == 1:
        expected = expected[..., 0]
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y, expected)


@given(pair=factors(signature="(n,k),(k,m)->(n,m)"))
def test_gradients_of_matmul_are_matmuls_summed_over_repeated_batches(pair):
    # Exact adjoints, whole numbers.
    a, b = pair
    y = matmul(a, b)
    gy = np.random.default_rng(y.size).integers(-9, 10, y.shape).astype(a.dtype)
    ga = sum_to(matmul(gy, b.swapaxes(-1, -2)), a.shape)
    gb = sum_to(matmul(a.swapaxes(-1, -2), gy), b.shape)
    assert np.vdot(gy, y) == np.vdot(ga, a) == np.vdot(gb, b)


def test_two_vectors_give_an_array_of_no_axes():
    y = matmul(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert isinstance(y, np.ndarray)
    assert y.shape == ()
    assert y == 11


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (2, 3)),
        ((3,), (2,)),
        ((2, 3), (2,)),
        ((3,), (2, 3)),
        ((), (3,)),
        ((3,), ()),
        ((2, 1), (3, 2)),
    ],
)
def test_shapes_that_do_not_fit_raise_and_name_both(a, b):
    with pytest.raises(ShapeError) as caught:
        matmul(np.ones(a), np.ones(b))
    assert f"{a} and {b}" in str(caught.value)


def test_batches_that_do_not_broadcast_raise_and_name_both():
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\) and \(5, 4, 3\).*\(2,\) and \(5,\)"):
        matmul(np.ones((2, 3, 4)), np.ones((5, 4, 3)))


def test_mixed_dtypes_raise():
    with pytest.raises(DtypeError, match="float32, float64"):
        matmul(np.ones((2, 2), np.float32), np.ones((2, 2)))
