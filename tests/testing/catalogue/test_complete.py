import numpy as np
import pytest

import minires as mr
from minires.functional.activation import Relu, ReluGrad
from minires.functional.batch_norm import BatchNormAct, BatchNormGrads
from minires.functional.pooling import MaxPool2d, MaxPool2dGather, MaxPool2dGrad
from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.complete import (
    differentiable_operations,
    operations_reached,
    public_functions,
    unchecked,
)


@pytest.fixture
def forgotten():
    """Make an operation of minires without an entry."""

    class Forgotten(mr.Op):
        __module__ = "minires.functional.forgotten"
        __qualname__ = "Forgotten"

        def forward(self, x):
            return 2 * x

        def backward(self, gy):
            return gy * 2.0

    yield Forgotten
    Forgotten.__module__ = __name__  # nobody can take a class back


@pytest.fixture(scope="module")
def reached(first_cases):
    """Return the operations that a few cases of every entry reach."""
    return {
        operation for entry in ENTRIES for case in first_cases(entry.name, 5) for operation in operations_reached(case)
    }


def test_the_catalogue_reaches_every_operation_and_has_every_name(reached):
    assert unchecked(ENTRIES, reached) == []


def test_a_new_operation_without_an_entry_is_named(reached, forgotten):
    assert unchecked(ENTRIES, reached) == ["minires.functional.forgotten.Forgotten"]
    assert unchecked(ENTRIES, reached | {forgotten}) == []


def test_a_name_without_an_entry_is_named(reached):
    without = [entry for entry in ENTRIES if entry.operation not in ("absolute", "batch_norm")]
    assert unchecked(without, reached) == ["abs", "absolute", "batch_norm"]


def test_a_new_public_function_without_an_entry_is_named(reached, monkeypatch):
    monkeypatch.setattr(mr.functional, "cube", lambda x: x * x * x, raising=False)
    monkeypatch.setattr(mr.functional, "__all__", [*mr.functional.__all__, "cube"])
    assert unchecked(ENTRIES, reached) == ["cube"]


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("relu", {Relu, ReluGrad}),
        ("max_pool2d", {MaxPool2d, MaxPool2dGrad, MaxPool2dGather}),
        ("batch_norm, training", {BatchNormAct, BatchNormGrads}),
    ],
)
def test_operations_behind_gradients_and_their_gradients_are_reached(first_cases, name, operations):
    (case,) = first_cases(name)
    assert operations <= operations_reached(case)


def test_comparisons_common_parts_and_the_users_own_operations_need_no_check():
    class Own(mr.Op):
        def backward(self, gy):
            return gy

    found = differentiable_operations()
    assert {"Add", "Conv2d", "BilinearGrads", "To"} <= {cls.__name__ for cls in found}
    bases = {"Elementwise", "PiecewiseLinear", "WithRelu", "Bilinear", "KernelOp"}
    assert not (bases | {"Comparison", "Own"}) & {cls.__name__ for cls in found}


def test_public_functions_are_those_of_functional_and_the_methods_of_tensor():
    functions = public_functions()
    assert {"conv2d", "abs", "getitem", "equal", "zeros"} <= set(functions)
    assert "methods" not in functions
    assert functions["abs"] is functions["absolute"]
    assert functions["add"](mr.tensor(np.ones(1)), 1.0).item() == 2
