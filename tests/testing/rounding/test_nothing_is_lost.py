"""No operation on the double returns numbers without a bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.testing import strategies as ms
from minires.testing.rounding import Rounded, rounded
from minires.testing.rounding.elementwise import RULES


def draw_normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def is_plain_float(result):
    return isinstance(result, np.ndarray | np.generic) and not isinstance(result, Rounded) and result.dtype.kind == "f"


def uses(call):
    """Assert that a call raises, or returns no plain floats and no usable array without a bound."""
    try:
        results = call()
    except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RuntimeError):
        return
    for result in results if isinstance(results, tuple | list) else [results]:
        assert not is_plain_float(result), call
        if isinstance(result, Rounded) and result._parts is None:
            with pytest.raises(TypeError, match="bound"):
                result + 1


DISPATCHED = sorted(
    name
    for module in (np, np.linalg, np.fft)
    for name, function in vars(module).items()
    if hasattr(function, "_implementation") and name not in ("save", "savez", "savez_compressed", "savetxt")
)


@pytest.mark.parametrize("name", DISPATCHED)
def test_no_function_of_numpys_gives_floats_without_a_bound(name):
    function = next(getattr(module, name) for module in (np, np.linalg, np.fft) if hasattr(module, name))
    x = rounded(draw_normal(3, 3))
    for arguments in [(x,), (x, x), (x, 1), (x, 0, 1), (x, (3, 3)), (x > 0, x, x)]:
        uses(lambda arguments=arguments: function(*arguments))


@pytest.mark.parametrize(
    "name", sorted(n for n in dir(np.ndarray) if not n.startswith("__") and n not in ("base", "view"))
)
def test_no_method_of_arrays_gives_floats_without_a_bound(name):
    x = rounded(draw_normal(3, 3))
    before = x.value.copy()
    for arguments in [(), (0,), (x,), (0, 1), (np.float32,)]:
        uses(lambda arguments=arguments: getattr(x, name)(*arguments))
        uses(lambda: getattr(x, name))
    if name != "fill":
        assert np.array_equal(x.value, before)  # sorted in place, say, it would have lost sight of its bounds


UFUNCS = sorted({f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc)}.items())


@pytest.mark.parametrize("ufunc", [f for _, f in UFUNCS], ids=[name for name, _ in UFUNCS])
def test_an_elementwise_function_has_a_rule_or_is_refused(ufunc):
    arguments = [rounded(draw_normal(3, 3))] * ufunc.nin
    if ufunc in RULES or ufunc is np.matmul:
        uses(lambda: ufunc(*arguments))
    else:
        with pytest.raises(TypeError, match="rule"):
            ufunc(*arguments)
    for method in ("reduce", "accumulate", "outer"):
        uses(lambda method=method: getattr(ufunc, method)(*arguments))


def test_an_array_that_lost_its_bound_is_refused_when_it_comes_back():
    x = rounded(draw_normal(3))
    for plain in (np.asarray(x * 0.3), np.asarray(x * 0.3) * 2):
        with pytest.raises(TypeError, match="bound"):
            x + plain
    with pytest.raises(TypeError, match="plain array"):
        np.add(x, x, out=np.zeros(3))
    with pytest.raises(TypeError, match="plain"):
        np.copyto(np.zeros(3), x)
    with pytest.raises(TypeError, match="cast"):
        x.astype(np.float32)
    with pytest.raises(TypeError, match="float16 and float32 meet"):
        x + rounded(draw_normal(3), np.float16)
    assert (x + np.ones(3)).bound.all()  # constants of the precision are welcome


def test_what_nobody_wrote_has_no_bound():
    y = np.empty_like(rounded(draw_normal(4)))
    y[:2] = 1
    assert y.bound.tolist() == [0, 0, np.inf, np.inf]


@given(seed=ms.seeds(), order=ms.memory_orders(), index=ms.indices((3, 4, 2)), masked=st.booleans())
def test_writing_through_views_is_writing_into_the_array(seed, order, index, masked):
    array = ms.array((3, 4, 2), seed, dtype="float32", order=order)
    x = np.multiply(rounded(array), 0.3, out=np.empty_like(rounded(array)))
    plain, bounds = x.value.copy(), x.bound.copy()
    view = x.transpose(2, 0, 1)[::-1]
    view += view
    assert np.array_equal(x.value, 2 * plain)
    assert np.all(x.bound >= 2 * bounds)
    part = x[index]
    assert np.array_equal(part.value, (2 * plain)[index])
    assert part.shape == part.bound.shape
    x[index] = 7
    assert np.all(x[index].value == 7)
    assert not x[index].bound.any()
    flat = x.reshape(-1)
    assert np.array_equal(flat.bound, x.bound.reshape(-1))
