import json
import subprocess
import sys

import pytest

from minires.cli import main
from minires.errors import SettingsError
from minires.testing import MEMORY_ORDERS
from minires.testing.catalogue import ENTRIES, command
from minires.testing.catalogue.command import Options, run, shape_of

MODULE = '''
import numpy as np
import minires as mr

class Square(mr.Op):
    def forward(self, x, *, scale=1.0):
        self.save(x)
        self.scale = scale
        return scale * x * x

    def backward(self, gy):
        (x,) = self.saved
        return 2 * self.scale * x * gy

class Wrong(Square):
    def backward(self, gy):
        (x,) = self.saved
        return 2.002 * self.scale * x * gy

class First(Square):
    """Right, but its gradient is not recorded."""

    def backward(self, gy):
        (x,) = self.saved
        return mr.tensor(2 * x.numpy() * gy.numpy())

def product(a, b):
    return a * b

def sine(x):
    return np.sin(x)

def sine_vjp(gy, x):
    return gy * np.cos(x)

def log(x):
    return np.log(x)

def log_vjp(gy, x):
    return gy / x

def linear(x, w):
    assert x.ndim != w.ndim
    return x @ w

def linear_vjp(gy, x, w):
    return gy @ w.T, x.T @ gy

def compared(x):
    return x > 0

def compared_vjp(gy, x):
    return None

class Plain:
    pass

async def later(x):
    return x

def never(x):
    return np.sqrt(-1 - x * x)

def never_vjp(gy, x):
    return gy

def affine(x, w):
    return x @ w

def affine_vjp(gy, x, w):
    return gy @ w.T, x.T @ gy

def many(*xs):
    return xs[0] * xs[-1]

def of_arrays(x):
    return np.sin(x.numpy())

wrong_pair = (np.exp, lambda gy, x: gy * np.exp(x) * (1 + 1e-5))
number = 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's in the current directory; its name."""
    name = f"own_operations_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def told(capsys, code, *arguments):
    """What the command prints when it ends with this code."""
    assert main(["check", *arguments]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return err if code == 2 else out


# Operations of minires


def test_every_operation_passes_in_every_setting_and_memory_order_and_nothing_lacks_a_check(tmp_path, capsys):
    path = tmp_path / "table.json"
    out = told(capsys, 0, "--device", "cpu", "--examples", "1", "--json", str(path))
    assert out.splitlines()[-1] == f"{4 * len(ENTRIES)} rows, {20 * len(ENTRIES)} checks: all passed"
    table = json.loads(path.read_text())
    assert table["passed"]
    assert table["unchecked"] == table["failures"] == []
    found = {(row["operation"], row["dtype"], row["kernels"], row["order"]) for row in table["rows"]}
    settings = [(dtype, kernels) for dtype in ("float64", "float32") for kernels in ("reference", "fast")]
    assert found == {(e.name, *setting, order) for e in ENTRIES for setting in settings for order in MEMORY_ORDERS}
    assert all(row["cases"] for row in table["rows"])


def test_without_arguments_what_has_no_check_fails_and_is_named(monkeypatch, capsys):
    few = [entry for entry in ENTRIES if entry.operation == "negative"]
    monkeypatch.setattr(command, "ENTRIES", few)
    out = told(capsys, 1, "--examples", "1", "--device", "cpu", "--dtype", "float32")
    assert "no check: minires.functional.pooling.MaxPool2dGather\n" in out
    assert "no check: cross_entropy\n" in out
    assert "negative" not in out.partition("no check")[2]
    assert out.splitlines()[-1].endswith(" without a check")


def test_a_table_of_some_operations_has_their_rows_alone(capsys):
    out = told(capsys, 0, "abs", "batch_norm", "--examples", "1", "--dtype", "float32", "--kernels", "fast")
    rows = [line for line in out.splitlines()[1:] if "float32" in line]
    assert [row.split("  ")[0] for row in rows] == ["absolute", "batch_norm, training", "batch_norm, inference"]


def test_a_planted_error_fails_with_its_smallest_case_below_the_table(plant, tmp_path, capsys):
    plant("fast", "relu_grad", 1.001)
    path = tmp_path / "table.json"
    out = told(capsys, 1, "relu", "negative", "--dtype", "float64", "--device", "cpu", "--json", str(path))
    table, _, failure = out.partition("\n\n")
    assert [line.split()[0] for line in table.splitlines() if line.endswith("FAILED")] == ["relu", "relu,"]
    assert failure.startswith(
        "FAILED: relu (float64, cpu, fast kernels)\nrelu(x0) with x0 (); float64, cpu, fast kernels"
    )
    assert "the gradient of input 0 is wrong at index ()" in failure
    assert out.splitlines()[-1].endswith(" checks: 2 failed")
    failures = json.loads(path.read_text())["failures"]
    assert [(found["operation"], found["kernels"]) for found in failures] == [
        ("relu", "fast"),
        ("relu, near its corner", "fast"),
    ]
    assert failures[0]["text"] in out


def test_a_device_that_is_not_there_is_told_and_fails_only_where_it_is_named(monkeypatch, module, capsys):
    monkeypatch.setattr("minires.testing.catalogue.table.is_available", lambda device: device == "cpu")
    monkeypatch.setattr(command, "available", lambda device: device == "cpu")
    assert "cuda: not available\n" in told(capsys, 0, "negative")
    for name in ("negative", f"{module}:sine"):
        for option in (["--device", "cuda"], ["--kernels", "cuda"]):
            assert "device cuda is not available here" in told(capsys, 2, name, *option)


def test_json_goes_to_stdout_alone_where_it_is_asked_for(capsys):
    assert main(["check", "negative", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["passed"]
    assert "all passed" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["konv"], r"operation 'konv' is not one of add, subtract"),
        (["relu", "--examples", "0"], "--examples must be at least 1, got 0"),
        (["relu", "--device", "tpu"], "device 'tpu' is not one of"),
        (["relu", "--device", "cpu", "--kernels", "cuda"], "there are no cuda kernels on cpu"),
        (["relu", "--shapes", "2"], "--shapes is for an operation of your own"),
        (["relu", "own:thing"], "one after the other"),
        (["relu", "--json", "/no/such/directory/table.json"], "No such file or directory"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, arguments, text):
    line = told(capsys, 2, *arguments)
    assert line.startswith("minires: error: ")
    assert text in line
    assert line.count("\n") == 1


def test_without_hypothesis_the_extra_is_named():
    code = "import sys; sys.modules['hypothesis'] = None; from minires.cli import main; sys.exit(main(['check']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "minires: error: minires check needs Hypothesis: pip install minires[testing]\n"


# Operations of one's own


@pytest.mark.parametrize("name", ["Square", "product", "sine", "log"])
def test_a_right_operation_of_ones_own_passes_in_every_memory_order(module, capsys, name):
    lines = told(capsys, 0, f"{module}:{name}", "--examples", "4").splitlines()
    assert lines[1].split()[:8] == [
        f"{module}:{name}",
        "float64",
        "cpu",
        "-" if name in ("sine", "log") else "fast",
        *"4444",
    ]
    assert lines[-1] == "1 rows, 20 checks: all passed"


@pytest.mark.parametrize(("name", "share"), [("Wrong", 1.001), ("wrong_pair", 1.00001)])
def test_a_wrong_operation_of_ones_own_fails_with_a_snippet_that_fails_too(module, tmp_path, capsys, name, share):
    out = told(capsys, 1, f"{module}:{name}", "--examples", "4")
    assert "x0 (), smooth values of seed 0, memory order C\nthe gradient of input 0 is wrong at index ()" in out
    assert f"claimed = {share:.9g} × numerical everywhere" in out
    snippet = out.partition("To reproduce:")[2].rpartition("\n\n")[0]
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_second_derivatives_of_ones_own_are_checked_where_asked_for(module, capsys):
    told(capsys, 0, f"{module}:Square", f"{module}:First", "--examples", "2")
    told(capsys, 0, f"{module}:Square", "--examples", "2", "--order", "2")
    assert "the gradient of input 0 is wrong" in told(capsys, 1, f"{module}:First", "--examples", "2", "--order", "2")


def test_shapes_are_those_given_or_equal_ones(module, capsys):
    told(capsys, 0, f"{module}:affine", "--shapes", "3x4", "4x2", "--examples", "2")
    told(capsys, 0, f"{module}:many", "--shapes", "3x4", "--examples", "2")
    drawn = told(capsys, 1, f"{module}:affine", "--examples", "20")  # vectors are multiplied, and their gradient fails
    assert "x0 (1,), x1 (1,)" in drawn
    assert "the gradient cannot be computed: ValueError: matmul" in drawn


def test_points_outside_the_domain_are_left_out_and_no_point_at_all_is_an_error(module, capsys):
    told(capsys, 0, f"{module}:log", "--shapes", "3", "--examples", "3")
    assert "could not be checked at any point" in told(capsys, 2, f"{module}:never", "--examples", "3")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["many"], "does not tell how many inputs it has: give --shapes"),
        (["sine", "--shapes", "2", "3"], "does not take 2 inputs: too many positional arguments"),
        (["sine", "--shapes", "2y3"], "'2y3' is not a shape; expected lengths as in 2x3, or () for a number"),
        (["sine", "--order", "2"], "has a vjp of arrays, which has no gradient itself"),
        (["sine", "--dtype", "float32"], "finite differences, which need float64"),
        (["linear"], "if theirs must differ, give --shapes, as in --shapes 2x3 3x4"),
        (["compared"], "its values are bool, and only floats have a gradient"),
        (["Plain"], "is a class, but no subclass of minires.Op; expected an Op"),
        (["later"], "is asynchronous; expected an Op"),
        (["number"], "is a int; expected an Op, a function of Tensors, or (forward, vjp)"),
        (["nothing"], "cannot be imported: AttributeError"),
        (["of_arrays"], "not a Tensor; a function of arrays needs its gradient beside it"),
    ],
)
def test_mistakes_about_ones_own_are_told_in_one_line(module, capsys, arguments, text):
    line = told(capsys, 2, f"{module}:{arguments[0]}", *arguments[1:])
    assert text in line
    assert line.count("\n") <= 2


def test_a_module_that_is_not_there_is_told_in_one_line(capsys):
    assert "cannot be imported: ModuleNotFoundError" in told(capsys, 2, "no_such_module:x")


def test_shapes_are_read_as_lengths():
    assert [shape_of(text) for text in ("2x3", "4", "()", "2×0")] == [(2, 3), (4,), (), (2, 0)]
    for text in ("", "x", "2x", "-1", "(2, 3)"):
        with pytest.raises(SettingsError, match="is not a shape"):
            shape_of(text)


def test_the_work_of_the_command_can_be_called(capsys):
    assert run(Options(["negative"], device="cpu", examples=1), "1.2")
    assert "4 rows, 20 checks: all passed" in capsys.readouterr().out
