"""Right gradients with unusual inputs and outputs: shapes, strides, types, tuples."""

import numpy as np

from gradient_cases import operations as ops
from gradient_cases.cases import elementwise, normal, right


@right
def empty(rng):
    return *elementwise(np.exp, np.exp), np.zeros((0, 3))


@right
def empty_output(rng):
    return lambda x: x[:0], lambda gy, x: (np.zeros_like(x),), normal(rng, 3)


@right
def empty_beside_a_full_input(rng):
    def vjp(gy, x, y):
        return gy[: len(x)], gy[len(x) :]

    return lambda x, y: np.concatenate([x, y]), vjp, np.zeros(0), normal(rng, 4)


@right
def zero_dimensional(rng):
    return *elementwise(np.exp, np.exp), np.array(0.3)


@right
def python_number(rng):
    return *elementwise(np.cos, lambda x: -np.sin(x)), 0.7


@right
def python_number_as_output(rng):
    return lambda x: float(np.sin(x).sum()), lambda gy, x: (gy * np.cos(x),), normal(rng, 4)


@right
def broadcast_input(rng):
    return *elementwise(np.exp, np.exp), np.broadcast_to(normal(rng, 3), (4, 3))


@right
def broadcast_output(rng):
    return lambda x: np.broadcast_to(np.sin(x), (5, 4)), lambda gy, x: (gy.sum(0) * np.cos(x),), normal(rng, 4)


@right
def every_other_row_backwards(rng):
    return *elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2), normal(rng, 9, 4)[::-2, 1:3].T


@right
def read_only_input(rng):
    x = normal(rng, 5)
    x.setflags(write=False)
    return *elementwise(np.exp, np.exp), x


@right
def view_of_the_input_as_output(rng):
    return lambda x: x.T, lambda gy, x: (gy.T,), normal(rng, 3, 4)


@right
def gy_itself_as_both_gradients(rng):
    return np.add, lambda gy, x, y: (gy, gy), normal(rng, 4), normal(rng, 4)


@right
def several_outputs_some_of_integers(rng):
    def vjp(gy, x):
        assert gy[1] is None
        return (gy[0] * np.cos(x) + gy[2],)

    return lambda x: (np.sin(x), np.argsort(x), x.sum()), vjp, normal(rng, 5)


@right
def rows_of_a_table_by_repeated_indices(rng):
    def vjp(gy, table, rows):
        g = np.zeros_like(table)
        np.add.at(g, rows, gy)
        return g, None

    return lambda table, rows: table[rows], vjp, normal(rng, 6, 3), np.array([4, 0, 4, 2])


@right
def mask_of_booleans_beside_floats(rng):
    def vjp(gy, x, y, mask):
        return gy * mask, gy * ~mask, None

    return lambda x, y, mask: np.where(mask, x, y), vjp, normal(rng, 9), normal(rng, 9), rng.random(9) < 0.5


@right(has_cache=True)
def cache_and_several_outputs(rng):
    def function(x, w):
        h = np.tanh(x @ w)
        return (h, (h * h).sum()), (x, w, h)

    def vjp(gy, cache):
        x, w, h = cache
        g = (gy[0] + 2 * gy[1] * h) * (1 - h**2)
        return g @ w.T, x.T @ g

    return function, vjp, normal(rng, 3, 4), normal(rng, 4, 2)


@right
def layer_that_remembers_its_last_input(rng):
    memory = {}

    def function(x):
        memory["mask"] = x > 0
        return ops.relu(x)

    return function, lambda gy, x: (gy * memory["mask"],), normal(rng, 20)


@right
def mask_that_is_an_array_of_floats(rng):
    def vjp(gy, x, mask):
        return gy * np.where(mask.astype(int) == 1, 2, 2 * x), None

    mask = rng.integers(0, 3, (4, 5)).astype(float)
    return lambda x, mask: np.where(mask.astype(int) == 1, 2 * x, x * x), vjp, normal(rng, 4, 5), mask


@right(argnums=0)
def labels_that_are_floats(rng):
    rows = np.arange(6)

    def vjp(gy, x, labels):
        g, chosen = np.zeros_like(x), (rows, labels.astype(int))
        g[chosen] = 2 * x[chosen] * gy
        return g, None

    labels = rng.integers(0, 4, 6).astype(float)
    return lambda x, labels: x[rows, labels.astype(int)] ** 2, vjp, normal(rng, 6, 4), labels
