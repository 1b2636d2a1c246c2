import numpy as np
import pytest

from minires.errors import DtypeError, ShapeError
from minires.kernels.reference.masters import follow_, narrow_, unscale


def halves(*values):
    return np.array(values, np.float16)


def singles(*values):
    return np.array(values, np.float32)


def test_gradients_in_float16_are_multiplied_in_float32():
    least = float(np.finfo(np.float16).smallest_subnormal)
    f, finite = unscale([halves(least, 65504, 0)], 2.0**-16)
    assert f.dtype == np.float32
    assert f.tolist() == [least * 2.0**-16, 65504 * 2.0**-16, 0]
    assert (finite.shape, finite.dtype, bool(finite)) == ((), bool, True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wider_gradients_keep_their_dtype(dtype):
    g = np.linspace(-1, 1, 12, dtype=dtype).reshape(3, 4)
    f, finite = unscale([g[:, ::-1]], 0.5)
    assert f.dtype == dtype
    assert (f == g[:, ::-1] / 2).all()
    assert finite
    assert f.flags.writeable


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", range(3))
def test_one_infinite_or_nan_element_is_told(bad, place):
    gs = [np.zeros((2, 3), np.float16), np.zeros((), np.float16), np.zeros((5000,), np.float16)]
    assert unscale(gs, 1.0)[-1]
    gs[place][...] = bad
    assert not unscale(gs, 1.0)[-1]


def test_a_multiple_that_float32_does_not_hold_is_told():
    assert not unscale([singles(2.0**100)], 2.0**100)[-1]


def test_empty_gradients_are_finite():
    f, finite = unscale([np.zeros((0, 3), np.float16)], 1.0)
    assert f.shape == (0, 3)
    assert finite


def test_masters_are_rounded_to_the_nearest_float16():
    p, master = halves(0, 0, 0, 0), singles(1 + 2.0**-11, 1 + 3 * 2.0**-11, 70000, 2.0**-30)
    narrow_([p], [master])
    assert p.tolist() == [1, 1 + 2.0**-9, np.inf, 0]  # ties to even


def test_masters_follow_parameters_that_are_not_their_rounding():
    master = singles(1 + 2.0**-13, 1 + 2.0**-13, np.nan, 4)
    follow_([master], [halves(1, 2, 3, np.nan)])
    np.testing.assert_array_equal(master, singles(1 + 2.0**-13, 2, 3, np.nan))


def test_following_after_narrowing_changes_nothing_in_any_memory_order():
    rng = np.random.default_rng(0)
    masters = [rng.standard_normal((3, 4, 2)).astype("f").transpose(2, 0, 1), rng.standard_normal((4, 3)).astype("f").T]
    ps = [np.empty_like(masters[0], dtype="e"), np.empty((3, 4), "e")]
    narrow_(ps, masters)
    before = [master.copy() for master in masters]
    follow_(masters, ps)
    for p, master, old in zip(ps, masters, before, strict=True):
        assert (master == old).all()
        assert (p == master.astype("e")).all()


@pytest.mark.parametrize("kernel", [narrow_, follow_])
def test_lists_that_do_not_fit_are_refused(kernel):
    a, b = halves(1, 2), singles(1, 2)
    for first, second in (([], []), ([a], [b, b]), ([a], [singles(1)])):
        with pytest.raises(ShapeError, match=f"{kernel.__name__} needs .*arrays"):
            kernel(first, second)
    with pytest.raises(DtypeError):
        kernel([a, b], [b, b])
    with pytest.raises(ShapeError, match="unscale needs"):
        unscale([], 1.0)
