import json
import subprocess
import sys

import pytest

from minires.cli import main
from minires.errors import SettingsError
from minires.testing import MEMORY_ORDERS
from minires.testing.catalogue import ENTRIES, command
from minires.testing.catalogue.command import Options, run, shape_of


@pytest.mark.long  # test_entries.py checks each at drawn settings
def test_every_operation_passes_in_every_setting_and_memory_order_and_nothing_lacks_a_check(tmp_path, told):
    path = tmp_path / "table.json"
    out = told(0, "--device", "cpu", "--examples", "1", "--json", str(path))
    assert out.splitlines()[-1] == f"{4 * len(ENTRIES)} rows, {20 * len(ENTRIES)} checks: all passed"
    table = json.loads(path.read_text())
    assert table["passed"]
    assert table["unchecked"] == table["failures"] == []
    found = {(row["operation"], row["dtype"], row["kernels"], row["order"]) for row in table["rows"]}
    settings = [(dtype, kernels) for dtype in ("float64", "float32") for kernels in ("reference", "fast")]
    assert found == {(e.name, *setting, order) for e in ENTRIES for setting in settings for order in MEMORY_ORDERS}
    assert all(row["cases"] for row in table["rows"])


def test_without_arguments_what_has_no_check_fails_and_is_named(monkeypatch, told):
    few = [entry for entry in ENTRIES if entry.operation == "negative"]
    monkeypatch.setattr(command, "ENTRIES", few)
    out = told(1, "--examples", "1", "--device", "cpu", "--dtype", "float32")
    assert "no check: minires.functional.pooling.MaxPool2dGather\n" in out
    assert "no check: cross_entropy\n" in out
    assert "negative" not in out.partition("no check")[2]
    assert out.splitlines()[-1].endswith(" without a check")


def test_a_table_of_some_operations_has_their_rows_alone(told):
    out = told(0, "abs", "batch_norm", "--examples", "1", "--dtype", "float32", "--kernels", "fast")
    rows = [line for line in out.splitlines()[1:] if "float32" in line]
    assert [row.split("  ")[0] for row in rows] == ["absolute", "batch_norm, training", "batch_norm, inference"]


def test_a_planted_error_fails_with_its_smallest_case_below_the_table(plant, tmp_path, told):
    plant("fast", "relu_grad", 1.001)
    path = tmp_path / "table.json"
    out = told(1, "relu", "negative", "--dtype", "float64", "--device", "cpu", "--json", str(path))
    table, _, failure = out.partition("\n\n")
    assert [line.split()[0] for line in table.splitlines() if line.endswith("FAILED")] == ["relu", "relu,"]
    assert failure.startswith(
        "FAILED: relu (float64, cpu, fast kernels)\nrelu(x0) with x0 (); float64, cpu, fast kernels"
    )
    assert "the gradient of `x` is wrong at index ()" in failure
    assert out.splitlines()[-1].endswith(" checks: 2 failed")
    failures = json.loads(path.read_text())["failures"]
    assert [(found["operation"], found["kernels"]) for found in failures] == [
        ("relu", "fast"),
        ("relu, near its corner", "fast"),
    ]
    assert failures[0]["text"] in out


def test_a_device_that_is_not_there_is_told_and_fails_only_where_it_is_named(monkeypatch, told):
    monkeypatch.setattr("minires.testing.catalogue.table.is_available", lambda device: device == "cpu")
    monkeypatch.setattr(command, "available", lambda device: device == "cpu")
    assert "cuda: not available\n" in told(0, "negative")
    for option in (["--device", "cuda"], ["--kernels", "cuda"]):
        assert "device cuda is not available here" in told(2, "negative", *option)


def test_json_goes_to_stdout_alone_where_it_is_asked_for(capsys):
    assert main(["check", "negative", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["passed"]
    assert "all passed" in err


def test_a_file_is_left_as_it_was_where_nothing_could_be_checked(tmp_path, told):
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.write_text("{}")
    for path in (new, old):
        told(2, "konv", "--json", str(path))
    assert not new.exists()
    assert old.read_text() == "{}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["konv"], r"operation 'konv' is not one of add, subtract"),
        (["relu", "--examples", "0"], "--examples must be at least 1, got 0"),
        (["relu", "--device", "tpu"], "device 'tpu' is not one of"),
        (["relu", "--device", "cpu", "--kernels", "cuda"], "there are no cuda kernels on cpu"),
        (["relu", "--shapes", "2"], "--shapes 2 is for an operation of your own"),
        (["relu", "--order", "2"], "--order 2 is for an operation of your own"),
        (["konv2d"], "; did you mean 'conv2d'?"),
        (["relu", "--device", "cuda:99"], "device cuda:99 is not available here, so nothing would be checked on it: "),
        (["relu", "own:thing"], "one after the other"),
        (
            ["relu", "--json", "/no/such/directory/table.json"],
            "table.json cannot be written: No such",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(told, arguments, text):
    line = told(2, *arguments)
    assert line.startswith("minires: error: ")
    assert text in line
    assert line.count("\n") == 1


def test_without_hypothesis_the_extra_is_named():
    code = "import sys; sys.modules['hypothesis'] = None; from minires.cli import main; sys.exit(main(['check']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "minires: error: minires check needs Hypothesis: pip install 'minires-net[testing]'\n"


def test_shapes_are_read_as_lengths():
    assert [shape_of(text) for text in ("2x3", "4", "()", "2×0")] == [(2, 3), (4,), (), (2, 0)]
    for text in ("", "x", "2x", "-1", "(2, 3)"):
        with pytest.raises(SettingsError, match="is not a shape"):
            shape_of(text)


def test_the_work_of_the_command_can_be_called(capsys):
    assert run(Options(["negative"], device="cpu", examples=1), "1.2")
    assert "4 rows, 20 checks: all passed" in capsys.readouterr().out
