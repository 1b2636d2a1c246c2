import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.testing import strategies as ms

fast = importlib.import_module("minires.kernels.fast.linear")  # not the function of that name
sizes = st.integers(0, 12)


@given(
    batch=ms.shapes(min_dims=0, max_dims=2, min_side=0),
    C=sizes,
    K=sizes,
    seed=ms.seeds(),
    dtype=ms.dtypes(),
    orders=st.lists(ms.memory_orders(), min_size=3, max_size=3),
    wants=st.tuples(st.booleans(), st.booleans()),
    large=st.sampled_from([1, 1 << 17]),
)
def test_products_are_the_references_exactly_for_integers(
    on_any_threads, batch, C, K, seed, dtype, orders, wants, large
):
    shapes = (*batch, C), (K, C), (*batch, K)
    x, w, gy = (ms.array(s, seed, "integers", dtype, o, i) for i, (s, o) in enumerate(zip(shapes, orders, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_LARGE", large)
        y = on_any_threads(fast.linear, x, w)
        found = on_any_threads(fast.linear_grads, gy, x, w, wants)
    expected = reference.linear_grads(gy, x, w, wants)
    np.testing.assert_array_equal(y, reference.linear(x, w))
    assert y.dtype == dtype
    for mine, gradient in zip(found, expected, strict=True):
        assert (mine is None) == (gradient is None)
        if mine is not None:
            np.testing.assert_array_equal(mine, gradient)
            assert mine.dtype == dtype


def test_a_large_layer_is_shared_out(monkeypatch):
    seen = []
    monkeypatch.setattr(fast, "parallel", lambda run, jobs: seen.append(jobs))
    x, w = np.ones((2, 512)), np.ones((256, 512))
    fast.linear(x, w)
    fast.linear_grads(np.ones((2, 256)), x, w)
    assert [(len(jobs), jobs[-1].stop) for jobs in seen] == [(8, 256), (8, 512), (8, 256)]
    seen.clear()
    fast.linear(x, w[1:])
    assert seen == [[slice(0, 255)]]


def test_what_the_reference_refuses_is_refused(raises_the_same):
    x, w, gy = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))
    for wrong in (np.ones((2, 4)), np.ones(()), x.astype(np.float32)):
        raises_the_same(fast.linear, reference.linear, wrong, w)
        raises_the_same(fast.linear_grads, reference.linear_grads, gy, wrong, w)
    raises_the_same(fast.linear, reference.linear, x, np.ones((4, 3, 1)))
    for wrong in (np.ones((2, 3)), gy.astype(np.float32)):
        raises_the_same(fast.linear_grads, reference.linear_grads, wrong, x, w)
