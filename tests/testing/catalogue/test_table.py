import json

import pytest
from hypothesis import strategies as st

from minires.errors import SettingsError
from minires.testing import MEMORY_ORDERS, GradientError
from minires.testing.catalogue import ENTRIES
from minires.testing.catalogue.check import COMPLEX_STEP, DIFFERENCES, EXACT, ROUNDING, Setting, Step, Trial, check
from minires.testing.catalogue.entry import Case
from minires.testing.catalogue.table import (
    HEADER,
    Survey,
    all_settings,
    as_json,
    explore,
    is_available,
    line_of,
    survey,
    survey_row,
)
from minires.testing.rounding import RoundingError

FLOAT64 = Setting("float64", "cpu", "reference")
FLOAT32 = Setting("float32", "cpu", "reference")
FAST = Setting("float32", "cpu", "fast")


@pytest.fixture(scope="module")
def rows(entries):
    return {
        (name, setting): survey_row(entries[name], setting, 3, 0, set())
        for name in ("relu", "exp")
        for setting in (FLOAT64, FLOAT32)
    }


def test_every_case_is_checked_in_every_memory_order(rows):
    for row in rows.values():
        assert row.verdict == "ok"
        assert {order: sum(tiers.values()) for order, tiers in row.cases.items()} == dict.fromkeys(MEMORY_ORDERS, 3)


def test_tiers_are_those_of_the_dtype_and_the_operation(rows):
    tiers = {key: set(row.sharpness) for key, row in rows.items()}
    assert tiers["relu", FLOAT64] == {EXACT, COMPLEX_STEP, DIFFERENCES}
    assert tiers["exp", FLOAT64] == {COMPLEX_STEP, DIFFERENCES}
    assert tiers["relu", FLOAT32] == {EXACT, ROUNDING}
    assert tiers["exp", FLOAT32] == {ROUNDING}


def test_sharpness_is_what_each_tier_can_see(rows):
    """Only rounding remains: of float64, with at least 10 digits in sums of few terms, or of float32."""
    assert rows["relu", FLOAT64].sharpness[EXACT] == 0
    assert 0 < rows["exp", FLOAT64].sharpness[COMPLEX_STEP] < 1e-10
    assert 0 < rows["exp", FLOAT64].sharpness[DIFFERENCES] < 1e-10
    assert 2**-24 < rows["exp", FLOAT32].sharpness[ROUNDING] < 2**-10


def test_the_same_seed_makes_the_same_row_again(rows, entries):
    again = survey_row(entries["exp"], FLOAT64, 3, 0, set())
    assert again == rows["exp", FLOAT64]


@pytest.mark.parametrize("setting", [FLOAT64, FLOAT32])
def test_a_planted_error_fails_with_the_smallest_case(entries, plant, setting):
    plant("reference", "relu_grad", 1.001)
    row = survey_row(entries["relu"], setting, 5, 0, set())
    assert row.verdict == "FAILED"
    assert row.failure.startswith(f"relu(x0) with x0 (); {setting.dtype}, cpu, reference kernels; ")
    assert "memory order C" in row.failure


# relu's mask is its first derivative; what max pooling reads where the winners were, its second.
PLANTS = [("relu", "relu_grad", 1), ("max_pool2d", "max_pool2d_gather", 2)]


@pytest.mark.parametrize(("name", "kernel", "derivative"), PLANTS)
@pytest.mark.parametrize("tier", [EXACT, COMPLEX_STEP, DIFFERENCES])
def test_every_tier_of_float64_sees_a_planted_error(first_cases, plant, name, kernel, derivative, tier):
    (case,) = first_cases(name)
    plant("reference", kernel, 1.001)
    with pytest.raises(GradientError, match=r"the gradient of (input \d|`.*`) is wrong at index"):
        check(Trial(case, FLOAT64, "C", Step(tier, derivative), 0))


def test_a_rounding_bound_sees_a_planted_error(first_cases, plant):
    """The error is in a fast kernel, as the check compares it with the reference."""
    plant("fast", "relu_grad", 1.00001)
    for derivative in (1, 2):
        point = Trial(first_cases("relu")[0], FAST, "C", Step(ROUNDING, derivative), 0)
        with pytest.raises(RoundingError, match="float32, cpu, fast kernels"):
            check(point)


def test_a_kernel_that_crashes_fails_too(entries, plant):
    plant("reference", "relu_grad", "no number")
    failure = survey_row(entries["relu"], FLOAT64, 3, 0, set()).failure
    assert failure == "ValueError: could not convert string to float: 'no number'"


def test_a_survey_of_some_operations_does_not_ask_for_the_others(entries):
    some = [entries["negative"]]
    assert survey(some, ENTRIES, [FLOAT64], 1, 0).passed
    of_all = survey(some, some, [FLOAT64], 1, 0)
    assert not of_all.passed
    assert "minires.functional.conv.Conv2d" in of_all.unchecked
    assert "conv2d" in of_all.unchecked


def test_an_entry_that_allows_no_step_has_no_check(entries):
    row = survey_row(entries["relu"], FLOAT64, 1, 0, set())
    empty = type(row)("relu", FLOAT64)
    assert (empty.verdict, empty.failure) == ("no check", "")
    assert not Survey([row, empty], [], [], 1, 0).passed
    assert line_of(empty).endswith("no check")


def test_devices_that_are_not_there_are_told_and_not_failed(monkeypatch, entries):
    monkeypatch.setattr("minires.testing.catalogue.table.is_available", lambda device: device == "cpu")
    found = survey([entries["negative"]], ENTRIES, all_settings(), 1, 0)
    assert found.passed
    assert found.unavailable == ["cuda"]
    assert {row.setting.device for row in found.rows} == {"cpu"}
    assert is_available("cpu")


def test_a_line_has_the_counts_under_the_memory_orders(rows):
    line = line_of(rows["exp", FLOAT64])
    for order in MEMORY_ORDERS:
        end = HEADER.index(order) + len(order)
        assert line[:end].endswith(" 3")
    assert line.startswith("exp ")
    assert line.endswith("complex step, finite differences")


def test_the_json_holds_a_row_for_each_memory_order_and_what_made_it(rows):
    found = Survey(list(rows.values()), [], ["cuda"], 3, 0)
    text = json.loads(json.dumps(as_json(found, "1.2")))
    assert (text["minires"], text["seed"], text["examples"], text["passed"]) == ("1.2", 0, 3, True)
    assert {"numpy", "hypothesis", "python"} <= set(text)
    assert [row["order"] for row in text["rows"]] == [*MEMORY_ORDERS] * 4
    first = text["rows"][0]
    assert first["operation"] == "relu"
    assert (first["dtype"], first["device"], first["kernels"]) == FLOAT64
    assert first["cases"] == sum(first["tiers"].values()) == 3
    assert set(first["sharpness"]) == set(first["tiers"])


def test_exploring_tells_failures_and_raises_the_callers_mistakes():
    def refuse(number):
        raise SettingsError("no such thing")

    with pytest.raises(SettingsError, match="no such thing"):
        explore(st.integers(), refuse, 5, 0)
    assert explore(st.integers(), lambda number: None, 5, 0) == ""
    assert explore(st.integers().filter(lambda number: False), refuse, 5, 0) == ""

    def small(number):
        assert number < 10, f"{number} is large"

    assert explore(st.integers(0, 1000), small, 100, 0).startswith("10 is large")


def test_a_case_says_what_it_is():
    point = Trial(Case(abs, ((2,),), "abs(x0)"), FLOAT32, "F", Step(EXACT, 2), 7)
    assert repr(point) == (
        "abs(x0) with x0 (2,); float32, cpu, reference kernels; exact, second derivatives, memory order F, seed 7"
    )
