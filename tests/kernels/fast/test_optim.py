import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires.kernels import reference
from minires.kernels.fast import optim
from minires.testing import strategies as ms

# What a step does beside its arrays: the kernel's name, which lists of arrays it takes, and its options.
STEPS = {
    "sgd_": ("sgd_", 2, (0.1,)),
    "sgd_ that decays": ("sgd_", 2, (0.1, 0.0, 0.0, 0.01)),
    "sgd_ with momentum": ("sgd_", 3, (0.1, 0.9)),
    "sgd_ with velocities that it does not need": ("sgd_", 3, (0.1,)),
    "sgd_ for the first time": ("sgd_", 3, (0.1, 0.9, 0.3, 0.01, False, True)),
    "sgd_ with everything": ("sgd_", 3, (np.float64(0.1), np.float64(0.9), 0.3, 0.01)),
    "sgd_ of Nesterov": ("sgd_", 3, (0.1, 0.9, 0.0, 0.01, True)),
    "adam_": ("adam_", 4, (3, 0.1)),
    "adam_ that decays": ("adam_", 4, (1, np.float64(0.1), 0.8, 0.95, 1e-6, 0.01)),
    "adam_ that decays apart": ("adam_", 4, (2, 0.1, 0.9, 0.999, 1e-8, 0.01, True)),
}


def after(kernels, name, shapes, seed, dtype, order, alike):
    """Return the arrays after one step."""
    kernel, count, options = STEPS[name]
    lists = [
        [
            ms.array(shape, seed, "positive", dtype, order if alike or n else "C", stream=10 * n + i)
            for i, shape in enumerate(shapes)
        ]
        for n in range(count)
    ]
    if kernel == "sgd_" and count == 2:
        lists.append(None)
    getattr(kernels, kernel)(*lists, *options)
    return tuple(array for arrays in lists if arrays is not None for array in arrays)


@pytest.mark.parametrize("name", STEPS)
@given(
    shapes=st.lists(ms.shapes(min_side=0), max_size=5),
    seed=ms.seeds(),
    dtype=ms.dtypes(),
    order=ms.memory_orders(),
    alike=st.booleans(),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(0, 20)),
)
def test_steps_are_the_references_exactly(on_any_threads, name, shapes, seed, dtype, order, alike, sizes):
    with pytest.MonkeyPatch.context() as patch:
        for constant, size in zip(("_BLOCK", "_JOB", "_TWO_JOBS"), sizes, strict=True):
            patch.setattr(optim, constant, size)
        mine = on_any_threads(after, optim, name, shapes, seed, dtype, order, alike)
    for found, expected in zip(mine, after(reference, name, shapes, seed, dtype, order, alike), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_without_decay_an_infinite_parameter_stays_infinite():
    for step in (lambda ps, gs: optim.sgd_(ps, gs, None, 0.1), lambda ps, gs: optim.adam_(ps, gs, gs, gs, 1, 0.1)):
        ps = [np.array([np.inf, -np.inf])]
        step(ps, [np.ones(2)])
        assert ps[0].tolist() == [np.inf, -np.inf]


def test_what_the_reference_refuses_is_refused(raises_the_same):
    a, long = [np.ones(3)], [np.ones(1 << 18)]
    for other in (a, [long[0].astype(np.float32)], []):
        raises_the_same(optim.sgd_, reference.sgd_, long, other, None, 0.1)
        raises_the_same(optim.adam_, reference.adam_, long, other, long, long, 1, 0.1)
    raises_the_same(optim.adam_, reference.adam_, long, long, long, long, 0, 0.1)
    raises_the_same(optim.sgd_, reference.sgd_, long, long, None, 0.1, 0.9)


@pytest.mark.parametrize(
    ("sizes", "jobs"),
    [
        ([], []),
        ([100], [100]),
        ([optim._TWO_JOBS - 1], [optim._TWO_JOBS - 1]),
        ([optim._TWO_JOBS // 2] * 2, [optim._TWO_JOBS // 2] * 2),
        ([10] * 5 + [optim._TWO_JOBS], [optim._TWO_JOBS // 2 + 50, optim._TWO_JOBS // 2]),
        ([4 * optim._JOB], [optim._JOB] * 4),
        ([optim._JOB, 7, 7, optim._JOB], [optim._JOB // 2, optim._JOB // 2 + 7, optim._JOB // 2 + 7, optim._JOB // 2]),
    ],
)
def test_jobs_are_of_equal_size_and_small_parameters_share_one(monkeypatch, sizes, jobs):
    seen = []
    monkeypatch.setattr(optim, "parallel", lambda run, given: seen.extend(given))
    arrays = [np.ones(size, np.float32) for size in sizes]
    optim.sgd_(arrays, arrays, None, 0.1)
    assert [sum(block[0].size for block in job) for job in seen] == jobs
    assert all(block[0].size <= optim._BLOCK for job in seen for block in job)


def test_a_parameter_belongs_to_the_job_that_its_middle_falls_into(monkeypatch):
    monkeypatch.setattr(optim, "_TWO_JOBS", 10)
    seen = []
    monkeypatch.setattr(optim, "parallel", lambda run, given: seen.extend(given))
    arrays = [np.ones(10), np.ones(90)]
    optim.sgd_(arrays, arrays, None, 0.1)
    assert [[block[0].size for block in job] for job in seen] == [[10], [90]]


@pytest.mark.parametrize("other", [1, 2])
def test_parameters_in_several_memory_orders_are_updated_whole(monkeypatch, other):
    arrays = [np.ones((30, 90)) for _ in range(3)]
    arrays[other] = np.ones((90, 30)).T
    seen = []
    monkeypatch.setattr(optim, "parallel", lambda run, given: seen.extend(given))
    optim.sgd_(*([array] for array in arrays), 0.1, 0.9)
    assert seen == [[tuple(arrays)]]
