"""What a check is called with is looked at before anything is computed."""

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
def test_arguments_of_which_nothing_could_be_checked_are_refused(check, error, text, arrays, options):
    with pytest.raises(error, match=text):
        check(lambda x, y=None: x * 2.0, lambda gy, x, *y: (gy * 2.0, *y), *arrays, **options)


def test_argnums_may_be_an_integer_of_numpy():
    assert len(testing.check_vjp(np.sin, lambda gy, x: (gy * np.cos(x),), X, argnums=np.int64(0)).inputs) == 1
