"""The double of CuPy behaves like CuPy on the same calls, and the manifest lists CuPy's names."""

import cupy
import cupy_manifest
import numpy as np
import pytest
import strict_double
from differences import each_row, outcome

from minires import cupy_on_cpu
from minires.testing.layouts import MEMORY_ORDERS, copy_in_order, lay_out


def test_the_manifest_is_what_cupy_has(device):
    assert cupy_manifest.PATH.read_text(encoding="utf-8") == cupy_manifest.written(cupy_manifest.manifest()), (
        "CuPy has changed: python tests/strict_cupy/cupy_manifest.py writes the manifest anew"
    )


@each_row
def test_the_double_gives_what_cupy_gives(row):
    assert (outcome(row.code, strict_double.cupy) == outcome(row.code, cupy)) == (row.double is None)


def values(*shape):
    """Return small integers in float32: sums are exact in any order."""
    return np.random.default_rng(3).integers(-4, 5, shape).astype("f4")


# Memory orders: calls of functions, on arrays of two and of four axes

CALLS = {
    "product": lambda xp, x: x * 2,
    "sum of two orders": lambda xp, x: x + xp.ones(x.shape, x.dtype, order="F"),
    "comparison": lambda xp, x: x > 0,
    "root": lambda xp, x: xp.sqrt(x * x),
    "where": lambda xp, x: xp.where(x > 0, x, 0),
    "into": lambda xp, x: xp.multiply(x, 2, out=xp.empty_like(x)),
    "in place": lambda xp, x: x.__iadd__(1),
    "clip": lambda xp, x: x.clip(-1, 1),
    "clip of the module": lambda xp, x: xp.clip(x, -1, 1),
    "round": lambda xp, x: x.round(),
    "real": lambda xp, x: x.real,
    "negative": lambda xp, x: -x,
    "divmod": lambda xp, x: xp.divmod(x, 2)[1],
    "sum over the first": lambda xp, x: x.sum(0),
    "sum over the last": lambda xp, x: x.sum(-1),
    "sum over all": lambda xp, x: x.sum(),
    "sum over two": lambda xp, x: x.sum((0, 1)),
    "sum that keeps": lambda xp, x: x.sum(0, keepdims=True),
    "sum in float64": lambda xp, x: x.sum(0, dtype="f8"),
    "sum of comparisons": lambda xp, x: (x > 0).sum(1),
    "mean": lambda xp, x: x.mean(1),
    "variance": lambda xp, x: xp.var(x * 0, axis=0),
    "maximum": lambda xp, x: x.max(1),
    "largest": lambda xp, x: xp.amax(x, axis=(0, 1), keepdims=True),
    "place of the maximum": lambda xp, x: x.argmax(0),
    "any": lambda xp, x: (x > 3).any(1),
    "cumulative sum": lambda xp, x: x.cumsum(0),
    "add.reduce": lambda xp, x: xp.add.reduce(x, axis=1),
    "copy": lambda xp, x: x.copy(),
    "copy in order": lambda xp, x: x.copy("K"),
    "copy in F": lambda xp, x: x.copy("F"),
    "copy of the module": lambda xp, x: xp.copy(x),
    "astype": lambda xp, x: x.astype("f8"),
    "astype in C": lambda xp, x: x.astype("f8", order="C"),
    "asarray": lambda xp, x: xp.asarray(x),
    "asarray of a dtype": lambda xp, x: xp.asarray(x, dtype="f8"),
    "asarray of a part": lambda xp, x: xp.asarray(x[..., 0], dtype="f8"),
    "array": lambda xp, x: xp.array(x),
    "ascontiguousarray": lambda xp, x: xp.ascontiguousarray(x),
    "empty_like": lambda xp, x: xp.empty_like(x) * 0 != 0,
    "zeros_like": lambda xp, x: xp.zeros_like(x),
    "zeros_like of a shape": lambda xp, x: xp.zeros_like(x, shape=tuple(n + 1 for n in x.shape)),
    "zeros_like of more axes": lambda xp, x: xp.zeros_like(x, shape=(2, *x.shape)),
    "zeros_like of a dtype": lambda xp, x: xp.zeros_like(x, dtype="u1"),
    "full_like": lambda xp, x: xp.full_like(x, 3),
    "reshape": lambda xp, x: x.reshape(-1, 2),
    "reshape of a part": lambda xp, x: x[..., ::2].reshape(x.shape[0], -1),
    "ravel": lambda xp, x: x.ravel(),
    "flatten": lambda xp, x: x.flatten(),
    "transpose": lambda xp, x: x.transpose(),
    "T": lambda xp, x: x.T,
    "swapaxes": lambda xp, x: x.swapaxes(0, 1),
    "moveaxis": lambda xp, x: xp.moveaxis(x, 0, -1),
    "expand_dims": lambda xp, x: xp.expand_dims(x, 1),
    "squeeze": lambda xp, x: x[:1].squeeze(),
    "flip": lambda xp, x: xp.flip(x, 0),
    "roll": lambda xp, x: xp.roll(x, 1, 0),
    "repeat": lambda xp, x: x.repeat(2, axis=0),
    "tile": lambda xp, x: xp.tile(x, 2),
    "broadcast_to": lambda xp, x: xp.broadcast_to(x, (2, *x.shape)),
    "pad": lambda xp, x: xp.pad(x, 1),
    "concatenate": lambda xp, x: xp.concatenate([x, x], 1),
    "stack": lambda xp, x: xp.stack([x, x], 1),
    "element": lambda xp, x: x[(0,) * x.ndim],
    "row": lambda xp, x: x[1],
    "every second, backwards": lambda xp, x: x[:, ::-2],
    "new axis": lambda xp, x: x[:, None],
    "by an index array": lambda xp, x: x[xp.asarray([1, 0, 1])],
    "by two index arrays": lambda xp, x: x[xp.asarray([1, 0]), xp.asarray([2, 0])],
    "by an index array behind": lambda xp, x: x[..., xp.asarray([1, 0])],
    "by an array of no axes": lambda xp, x: x[xp.asarray(1)],
    "take": lambda xp, x: x.take(xp.asarray([1, 0]), 1),
    "diagonal": lambda xp, x: x.diagonal(),
    "product of matrices": lambda xp, x: x @ x.swapaxes(-1, -2),
    "product of transposed matrices": lambda xp, x: x.swapaxes(-1, -2) @ x,
    "product with one matrix": lambda xp, x: x @ xp.ones((x.shape[-1], 2), "f4"),
    "einsum": lambda xp, x: xp.einsum("...ij,...kj->...ki", x, x),
    "einsum that sums": lambda xp, x: xp.einsum("...j->...", x),
    "einsum that turns": lambda xp, x: xp.einsum("...ij->...ji", x),
    "tensordot": lambda xp, x: xp.tensordot(x, x, ((-1,), (-1,))),
    "dot": lambda xp, x: x.dot(xp.ones((x.shape[-1], 2), "f4")),
    "integers divided": lambda xp, x: x.astype("i4") / 2,
    "integers and floats": lambda xp, x: x.astype("i4") + xp.asarray(values(1)),
    "halves": lambda xp, x: x.astype("f2") * 2,
    "booleans added": lambda xp, x: (x > 0) + (x > 0),
    "booleans and floats": lambda xp, x: (x > 0) * x,
    "an integer added to integers": lambda xp, x: x.astype("u1") + 3,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("order", MEMORY_ORDERS)
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2, 4)], ids=str)
def test_the_doubles_results_are_cupys_in_every_memory_order(name, order, shape):
    x = lay_out(np.abs(values(*shape)), order)
    there, double = cupy_on_cpu.to_device(x), strict_double.ndarray(copy_in_order(x))
    assert there.strides == double.strides
    call = CALLS[name]
    expected = outcome(lambda xp, _: call(xp, there), cupy)
    assert outcome(lambda xp, _: call(xp, double), strict_double.cupy) == expected
    assert not isinstance(expected, type)
