"""Fixtures for the tests of the fast kernels: numbers of threads, memory orders, a bound on rounding."""

import numpy as np
import pytest

from minires import threads


def _arrays(result):
    return [a for a in (result if isinstance(result, tuple) else (result,)) if a is not None]


@pytest.fixture(scope="session")
def on_any_threads():
    """Return call(kernel, *arguments): run on 1, 2 and 3 threads, check that all bits agree, return the result."""

    def call(kernel, *arguments):
        before, results = threads.get_num_threads(), []
        try:
            for n in (1, 2, 3):
                threads.set_num_threads(n)
                results.append(kernel(*arguments))
        finally:
            threads.set_num_threads(before)
        for other in results[1:]:
            for a, b in zip(_arrays(results[0]), _arrays(other), strict=True):
                assert a.tobytes() == b.tobytes()
        return results[0]

    return call


@pytest.fixture(scope="session")
def in_kernel_order():
    """Return check(array, filters=False): whether the memory order is (H, W, N, C), or (R, S, C, K) for filters."""

    def check(array, filters=False):
        return array.transpose((2, 3, 1, 0) if filters else (2, 3, 0, 1)).flags.c_contiguous

    return check


@pytest.fixture(scope="session")
def gamma_n():
    """Return bound(n, dtype): γ_n = n·u / (1 − n·u), the largest relative change by n successive roundings."""

    def bound(n, dtype):
        nu = n * np.finfo(dtype).eps / 2
        return nu / (1 - nu)

    return bound


@pytest.fixture(scope="session")
def raises_the_same():
    """Return check(one, other, *arguments): both functions raise the same error with the same text."""

    def check(one, other, *arguments):
        caught = []
        for function in (one, other):
            with pytest.raises(Exception) as info:  # noqa: PT011 (any exception; both must be the same)
                function(*arguments)
            caught.append((info.type, str(info.value)))
        assert caught[0] == caught[1]

    return check
