"""The arguments of a check are checked before anything is computed."""

import numpy as np
import pytest

import minires as mr
from minires import testing
from minires.errors import DtypeError

X = np.array([0.5, 1.0, 1.5])


class Foreign:
    dtype = "float64"


@pytest.mark.parametrize(
    ("error", "text", "arrays", "options"),
    [
        (DtypeError, "`x` is int64 and has no gradient", ([1, 2, 3],), {}),
        (DtypeError, "`y` is int64 and has no gradient", (X, np.arange(3)), {"argnums": 1}),
        (ValueError, "argnums is empty", (X,), {"argnums": ()}),
        (TypeError, "argnums must be an int", (X,), {"argnums": "0"}),
        (TypeError, "`x` is a list of arrays: give them one by one", ([X, X[:2]],), {}),
        (TypeError, "`x` is a list of arrays: give them one by one", ([mr.tensor(X)],), {}),
        (DtypeError, r"`x` is >f8, .*: cast it", (X.astype(">f8"),), {}),
        (TypeError, "rng must be an int, a numpy.random.Generator or None, got 1.5", (X,), {"rng": 1.5}),
        (ValueError, "rng must not be negative, got -1", (X,), {"rng": -1}),
        (TypeError, r"Foreign, expected an array of NumPy or CuPy: convert it, with .numpy\(\) say", (Foreign(),), {}),
        (TypeError, "functions of minires' own Tensors go to check_gradient", (mr.tensor(X),), {}),
    ],
)
@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
def test_arguments_that_cannot_be_checked_raise(check, error, text, arrays, options):
    with pytest.raises(error, match=text):
        check(lambda x, y=None: x * 2.0, lambda gy, x, *y: (gy * 2.0, *y), *arrays, **options)


def test_argnums_may_be_an_integer_of_numpy():
    assert len(testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), X, argnums=np.int64(0)).inputs) == 1


class Mine(np.ndarray):
    pass


class FromJax:
    """Stands for an array of JAX, which takes float64 in and gives float32 out."""

    __module__ = "jaxlib._jax"

    def __init__(self, array):
        self.array = np.asarray(array, np.float32)
        self.dtype, self.shape = self.array.dtype, self.array.shape

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __dlpack__(self, **options):
        raise NotImplementedError


class Table:
    """Stands for a data frame, which has no dtype."""

    __module__ = "pandas.core.frame"

    def __array__(self, dtype=None, copy=None):
        return X


SUBCLASSES = {
    "masked array": lambda x: np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 1),
    "matrix": lambda x: np.asarray(x).view(np.matrix),
    "subclass of a user's": lambda x: np.asarray(x).view(Mine),
    "data frame": lambda x: Table(),
}
ROW = X[None]


@pytest.mark.parametrize("check", [testing.check_vjp, testing.check_exact, testing.check_complex_step])
@pytest.mark.parametrize("name", SUBCLASSES)
def test_array_subclasses_and_tables_raise(check, name):
    dressed = SUBCLASSES[name]
    with pytest.raises(TypeError, match=r"`x` is a .*, expected"):
        check(lambda x: 2 * x, lambda gy, x: (2 * gy,), dressed(ROW))
    with pytest.raises(TypeError, match=r"an output of function is a .*, expected a plain array"):
        check(lambda x: dressed(2 * x), lambda gy, x: (2 * gy,), ROW)
    with pytest.raises(TypeError, match=r"the gradient of `x` is a .*, expected a plain array"):
        check(lambda x: 2 * x, lambda gy, x: (dressed(2 * gy),), ROW)


def test_a_memory_mapped_array_is_a_plain_array(tmp_path):
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=3)
    x[:] = X
    testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), x)


def test_float32_from_jax_raises_with_advice_on_64_bits():
    enable = r'jax.config.update\("jax_enable_x64", True\)'
    with pytest.raises(TypeError, match=enable):
        testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), FromJax(X))
    with pytest.raises(DtypeError, match=enable):
        testing.check_vjp(FromJax, lambda gy, x: (gy,), X)
    with pytest.raises(testing.GradientError, match=enable):
        testing.check_vjp(np.positive, lambda gy, x: (FromJax(gy),), X)


class FromTorch(FromJax):
    """Stands for a tensor of PyTorch."""

    __module__ = "torch"


def test_tensors_of_pytorch_raise_with_advice_on_conversion():
    with pytest.raises(TypeError, match=r"`x` is a torch.FromTorch, .* with .detach\(\).cpu\(\).numpy\(\)"):
        testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), FromTorch(X))
