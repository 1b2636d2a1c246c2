"""The double's bound holds for every evaluation in a lower precision, in any order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minires.testing import strategies as ms
from minires.testing.rounding import rounded

PRECISIONS = st.sampled_from([np.float32, np.float16])


def is_within(result, double):
    """Return whether each element of an array is within the double's bound of the exact value."""
    with np.errstate(invalid="ignore"):  # infinities of either sign
        return bool(np.all((np.abs(result.astype(float) - double.value) <= double.bound) | ~np.isfinite(double.bound)))


# Random expressions: a tree of operations, evaluated in a lower precision and on the double

_UNARY = {
    "negative": np.negative,
    "absolute": np.absolute,
    "exp": np.exp,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": lambda a: np.sqrt(np.absolute(a)),
    "log": lambda a: np.log(np.absolute(a) + 0.25),
    "log1p": lambda a: np.log1p(np.absolute(a)),
    "power": lambda a: np.power(np.absolute(a) + 0.5, 1.5),
    "cube": lambda a: np.power(a, 3),
    "square": np.square,
    "sum of rows": lambda a: a.sum(0, keepdims=True) + a,
    "mean of columns": lambda a: a - a.mean(1, keepdims=True),
    "maximum": lambda a: a - a.max(1, keepdims=True),
    "relu": lambda a: np.maximum(a, 0),
    "clip": lambda a: np.clip(a, -0.5, 0.5),
    "scale": lambda a: 0.1 * a,
    "matmul": lambda a: a @ a.T @ a,
    "mask": lambda a: a * (a > 0.25),
    "transposed": lambda a: (a.T[::-1]).T,
}
_BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": lambda a, b: a / (np.absolute(b) + 0.5),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": lambda a, b: np.where(a < b, a, b * 2),
    "einsum": lambda a, b: np.einsum("ij,kj->ik", a, b) @ b,
}
LEAVES = st.integers(0, 2)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(st.sampled_from(sorted(_UNARY)), inner) | st.tuples(st.sampled_from(sorted(_BINARY)), inner, inner)
    ),
    max_leaves=8,
)


def evaluate(tree, arrays):
    if isinstance(tree, int):
        return arrays[tree]
    name, *children = tree
    values = [evaluate(child, arrays) for child in children]
    return (_UNARY if len(values) == 1 else _BINARY)[name](*values)


@given(tree=TREES, seed=ms.seeds(), precision=PRECISIONS, kind=st.sampled_from(["smooth", "near_kinks", "tied"]))
def test_any_expression_in_a_lower_precision_is_within_the_bound(tree, seed, precision, kind):
    arrays = [ms.array((3, 4), seed, kind, precision, stream=i) for i in range(3)]
    with np.errstate(all="ignore"):  # float16 overflows soon, which the double knows
        result = evaluate(tree, arrays)
    double = evaluate(tree, [rounded(array, precision) for array in arrays])
    assert result.dtype == precision
    assert is_within(result, double)


@given(tree=TREES, seed=ms.seeds())
def test_the_values_are_those_of_float64(tree, seed):
    arrays = [ms.array((3, 4), seed, dtype="float32", stream=i) for i in range(3)]
    double = evaluate(tree, [rounded(array) for array in arrays])
    assert np.array_equal(double.value, evaluate(tree, [array.astype(float) for array in arrays]), equal_nan=True)


@given(n=st.integers(1, 200), seed=ms.seeds(), precision=PRECISIONS)
def test_a_sum_in_any_order_is_within_the_bound(n, seed, precision):
    rng = np.random.default_rng(seed)
    terms = (rng.standard_normal(n) * 10.0 ** rng.uniform(-2, 2, n)).astype(precision)
    double, left = rounded(terms, precision).sum(), list(rng.permutation(terms))
    while len(left) > 1:  # two at random become one, until one is left: every order and every bracketing
        a, b = left.pop(rng.integers(len(left))), left.pop(rng.integers(len(left)))
        left.append(a + b)
    assert is_within(np.asarray(left[0]), double)


@given(n=st.integers(1, 60), seed=ms.seeds())
def test_sums_that_are_added_up_in_parts_are_one_sum_in_any_order(n, seed):
    rng = np.random.default_rng(seed)
    terms = rng.standard_normal(3 * n).astype(np.float32)
    parts = rounded(terms)
    in_parts = parts[:n].sum() + parts[n : 2 * n].sum() + parts[2 * n :].sum()
    result = np.float32(0)
    for term in rng.permutation(terms):
        result += term
    assert is_within(np.asarray(result), in_parts)


@given(seed=ms.seeds(), inner=st.integers(1, 80))
def test_a_matrix_product_in_any_order_is_within_the_bound(seed, inner):
    a, b = (ms.array(shape, seed, dtype="float32", stream=i) for i, shape in enumerate([(3, inner), (inner, 2)]))
    double = rounded(a) @ rounded(b)
    assert is_within(a @ b, double)
    result = np.zeros((3, 2), np.float32)
    for k in np.random.default_rng(seed).permutation(inner):
        result += a[:, k, None] * b[k]
    assert is_within(result, double)
