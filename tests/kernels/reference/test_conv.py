import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.errors import DtypeError, ShapeError
from minires.geometry import Geometry
from minires.kernels.reference.conv import conv2d, conv2d_grads, conv2d_input_grad, conv2d_weight_grad
from minires.testing import MEMORY_ORDERS, lay_out


@st.composite
def problems(draw):
    """Draw a geometry, shapes that fit it, and a seed."""
    small = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(small), draw(small), draw(small)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    geometry = Geometry(kernel, stride, padding, dilation, draw(st.integers(1, 3)))
    size = tuple(draw(st.integers(max(1, e - 2 * pad), e + 4)) for e, pad in zip(geometry.extent, padding, strict=True))
    C, K = geometry.groups * draw(st.integers(1, 2)), geometry.groups * draw(st.integers(1, 3))
    shape_w = (K, C // geometry.groups, *kernel)
    return geometry, (draw(st.integers(0, 3)), C, *size), shape_w, draw(st.integers(0, 2**32 - 1))


def integers(problem, dtype, order="C"):
    """Return x, w and gy of small integers, whose products and sums are exact even in float32."""
    geometry, shape_x, shape_w, seed = problem
    rng = np.random.default_rng(seed)
    shapes = shape_x, shape_w, geometry.check_conv(shape_x, shape_w)
    return [lay_out(rng.integers(-50, 51, shape).astype(dtype), order) for shape in shapes]


def by_loops(x, w, geometry):
    """Return a convolution by its definition, in Python integers."""
    N, K, P, Q = geometry.check_conv(x.shape, w.shape)
    channels = w.shape[1]
    y = np.zeros((N, K, P, Q))
    for n, k, p, q in np.ndindex(N, K, P, Q):
        total = 0
        for c, r, s in np.ndindex(channels, *geometry.kernel):
            h = p * geometry.stride[0] + r * geometry.dilation[0] - geometry.padding[0]
            v = q * geometry.stride[1] + s * geometry.dilation[1] - geometry.padding[1]
            if 0 <= h < x.shape[2] and 0 <= v < x.shape[3]:
                group = k // (K // geometry.groups)
                total += int(w[k, c, r, s]) * int(x[n, group * channels + c, h, v])
        y[n, k, p, q] = total
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(problem=problems(), order=st.sampled_from(MEMORY_ORDERS))
def test_convolution_is_its_definition_to_the_last_bit(dtype, problem, order):
    x, w, _ = integers(problem, dtype, order)
    y = conv2d(x, w, problem[0])
    assert y.dtype == dtype
    assert np.array_equal(y, by_loops(x, w, problem[0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(problem=problems(), order=st.sampled_from(MEMORY_ORDERS))
def test_both_gradients_are_the_exact_adjoints_of_the_forward_pass(dtype, problem, order):
    geometry = problem[0]
    x, w, gy = integers(problem, dtype, order)
    gx, gw = conv2d_grads(gy, x, w, geometry)
    assert (gx.dtype, gw.dtype) == (dtype, dtype)
    # Up to 3·6·6·81 products of at most 50³ each: below 2⁵³, so the three sums are exact in float64.
    pairing = np.sum(gy.astype(np.float64) * conv2d(x, w, geometry))
    assert pairing == np.sum(gx.astype(np.float64) * x) == np.sum(gw.astype(np.float64) * w)


@given(problem=problems())
def test_each_gradient_element_is_the_loss_of_a_unit_step(problem):
    # T is linear in x and in w, so a step of one along a basis vector changes it by the gradient, exactly.
    geometry = problem[0]
    x, w, gy = integers(problem, np.float64)
    base = np.sum(gy * conv2d(x, w, geometry))
    rng = np.random.default_rng(problem[3])
    for array, gradient in zip((x, w), conv2d_grads(gy, x, w, geometry), strict=True):
        if array.size:
            index = np.unravel_index(rng.integers(array.size), array.shape)
            array[index] += 1
            assert np.sum(gy * conv2d(x, w, geometry)) - base == gradient[index]
            array[index] -= 1


def test_a_pointwise_convolution_is_a_matrix_product():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, (2, 3, 4, 5)) * 1.0, rng.integers(-9, 10, (7, 3, 1, 1)) * 1.0
    assert np.array_equal(conv2d(x, w, Geometry(1)), np.einsum("kc,nchw->nkhw", w[:, :, 0, 0], x))


@given(problem=problems())
def test_no_input_is_modified_and_read_only_arrays_are_welcome(problem):
    arrays = integers(problem, np.float64)
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.setflags(write=False)
    x, w, gy = arrays
    conv2d(x, w, problem[0])
    conv2d_grads(gy, x, w, problem[0])
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


def test_a_gradient_that_is_not_wanted_is_not_computed():
    x, w, gy = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    assert conv2d_grads(gy, x, w, Geometry(3), wants=(False, True))[0] is None
    assert conv2d_grads(gy, x, w, Geometry(3), wants=(True, False))[1] is None


def test_shapes_that_do_not_fit_are_named():
    x, w = np.ones((2, 4, 5, 5)), np.ones((6, 4, 3, 3))
    with pytest.raises(ShapeError, match=r"expects an input of shape \(N, C, H, W\), got \(4, 5, 5\)"):
        conv2d(x[0], w, Geometry(3))
    with pytest.raises(ShapeError, match=r"expects weights of shape \(K, C / groups, R, S\), got \(6, 4, 3\)"):
        conv2d(x, w[..., 0], Geometry(3))
    for wants in ((False, False), (True, True)):
        with pytest.raises(ShapeError, match=r"has 4 channels, but weights of shape \(6, 3, 3, 3\).*expect 3"):
            conv2d_grads(np.ones((2, 6, 3, 3)), x, w[:, :3], Geometry(3), wants)
    with pytest.raises(ShapeError, match=r"has 4 channels, but weights of shape \(6, 3, 3, 3\).*expect 3"):
        conv2d(x, w[:, :3], Geometry(3))
    with pytest.raises(ShapeError, match=r"groups=3 must divide the channels in \(4\) and out \(6\)"):
        conv2d(x, w, Geometry(3, groups=3))
    with pytest.raises(ShapeError, match=r"do not have the geometry's kernel \(5, 5\)"):
        conv2d(x, w, Geometry(5))
    with pytest.raises(ShapeError, match=r"shape \(2, 6, 4, 4\), but the output has \(2, 6, 3, 3\)"):
        conv2d_input_grad(np.ones((2, 6, 4, 4)), w, Geometry(3), (5, 5))
    with pytest.raises(ShapeError, match=r"shape \(1, 6, 3, 3\), but the output has \(2, 6, 3, 3\)"):
        conv2d_weight_grad(np.ones((1, 6, 3, 3)), x, Geometry(3))


def test_mixed_dtypes_are_refused():
    with pytest.raises(DtypeError, match="different dtypes: float64, float32"):
        conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3), np.float32), Geometry(3))
