import json
import subprocess
import sys

import pytest

from minires.cli import main
from minires.testing.catalogue import command

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

def cube(x):
    return Square.apply(x) * x

class Scale(mr.Op):
    def forward(self, x, w):
        self.save(x, w)
        return x * w

    def backward(self, gy):
        x, w = self.saved
        return gy * w, (gy * x).sum(0)

class WrongScale(Scale):
    def backward(self, gy):
        gx, gw = super().backward(gy)
        return gx, 1.001 * gw

class Net(mr.nn.Module):
    def __init__(self, op=Scale):
        super().__init__()
        self.op, self.weight = op, mr.nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        return self.op.apply(x, self.weight)

class Needy(mr.nn.Module):
    def __init__(self, channels):
        super().__init__()

wrong_net, layer = Net(WrongScale), mr.nn.Linear(3, 1)

def cosine_forward(x):
    return np.cos(x), np.sin(x)

def cosine_backward(gy, cache):
    return -gy * cache

def exp(x):
    return np.exp(x)

def exp_grad(gy, x):
    return gy * np.exp(x)

exp_bwd = exp_grad

def torn(x):
    return np.exp(x)

torn_vjp, torn_bwd = exp_grad, lambda gy, x: gy * np.exp(x)

def derivative(x):
    return np.exp(x)

def derivative_grad(x):
    return np.exp(x)

def empty(x):
    return x.ravel()[:0]

def empty_vjp(gy, x):
    return 0 * x

def quits(x):
    raise SystemExit(0)

def quits_vjp(gy, x):
    return gy

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

async def later_and_later(x):
    yield x

unknown = max

def negative(x):
    return x < 0

def two(x):
    return x, x * x

def never(x):
    return np.sqrt(-1 - x * x)

def never_vjp(gy, x):
    return gy

def affine(x, w):
    return x @ w

def affine_vjp(gy, x, w):
    return gy @ w.T, x.T @ gy

def many(*xs):
    return Square.apply(xs[0]) * xs[-1]

def of_arrays(x):
    return np.sin(x.numpy())

wrong_pair = (np.exp, lambda gy, x: gy * np.exp(x) * (1 + 1e-5))
number = 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return the name of a user's module in the current directory."""
    name = f"own_operations_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["Square", "cube", "sine", "log"])
def test_a_right_operation_of_ones_own_passes_in_every_memory_order(module, told, name):
    lines = told(0, f"{module}:{name}", "--examples", "4").splitlines()
    assert lines[1].split()[:8] == [
        f"{module}:{name}",
        "float64",
        "cpu",
        "-" if name in ("sine", "log") else "fast",
        *"4444",
    ]
    assert lines[-1] == "1 row, 20 checks: all passed"


@pytest.mark.parametrize(("name", "share"), [("Wrong", 1.001), ("wrong_pair", 1.00001)])
def test_a_wrong_operation_of_ones_own_fails_with_a_snippet_that_fails_too(module, tmp_path, told, name, share):
    out = told(1, f"{module}:{name}", "--examples", "4")
    assert "the gradient Wrong.backward (" in out or "the gradient <lambda> (" in out
    assert "x0 (), smooth values of seed 0, memory order C\nthe gradient of `x` is wrong at index ()" in out
    assert f"claimed = {share:.9g} × numerical everywhere" in out
    snippet = out.partition("To reproduce:")[2].rpartition("\n\n")[0]
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


@pytest.mark.long
def test_second_derivatives_of_ones_own_are_checked_where_asked_for(module, told):
    told(0, f"{module}:Square", f"{module}:First", "--examples", "2")
    told(0, f"{module}:Square", "--examples", "2", "--order", "2")
    assert "the gradient of `x` is wrong" in told(1, f"{module}:First", "--examples", "2", "--order", "2")


def test_shapes_are_those_given_or_equal_ones(module, told):
    told(0, f"{module}:affine", "--shapes", "3x4", "4x2", "--examples", "2")
    told(0, f"{module}:many", "--shapes", "3x4", "--examples", "2")
    drawn = told(1, f"{module}:affine", "--examples", "20")  # vectors are multiplied, and their gradient fails
    assert "x0 (1,), x1 (1,)" in drawn
    assert "the gradient cannot be computed: ValueError: matmul" in drawn
    assert "if theirs must differ, give --shapes, as in --shapes 2x3 3x4" in drawn


def test_points_outside_the_domain_are_left_out_and_no_point_at_all_is_an_error(module, told):
    told(0, f"{module}:log", "--shapes", "3", "--examples", "3")
    assert "could not be checked at any point" in told(2, f"{module}:never", "--examples", "3")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["many"], "does not tell how many inputs it has: give --shapes"),
        (
            ["sine", "--shapes", "2", "3"],
            "does not take 2 inputs, one for each of --shapes: too many",
        ),
        (["sine", "--shapes", "2y3"], "'2y3' is not a shape; expected lengths as in 2x3, or () for a number"),
        (["sine", "--shapes", "0x3"], "--shapes has no input with an element, so nothing would be checked"),
        (["sine", "--order", "2"], "has a vjp of arrays, which has no gradient itself"),
        (["sine", "--dtype", "float32"], "finite differences, which need float64"),
        (["linear"], "if theirs must differ, give --shapes, as in --shapes 2x3 3x4"),
        (["torn"], "has several gradients beside it: torn_vjp, torn_bwd; choose one by a tuple"),
        (["derivative"], "its gradient is called as derivative_grad(gy, x), gy being the gradient of the output"),
        (["empty", "--examples", "1"], "all of its inputs, or all of its outputs, are empty"),
        (["quits"], "or its gradient, calls sys.exit(0), so it was not checked"),
        (["product", "--examples", "1"], "is made of operations of minires alone, so no gradient of yours was checked"),
        (
            ["layer", "--shapes", "2x3", "--examples", "1"],
            "is made of operations of minires alone, so no gradient of yours was checked",
        ),
        (["Needy"], "is a class of modules that needs arguments"),
        (["Squire"], "has no 'Squire'; did you mean 'Square'?"),
        (["compared"], "its values are bool, and only floats have a gradient"),
        (["Plain"], "is a class, but no subclass of minires.Op or minires.nn.Module; expected an Op"),
        (["later"], "is asynchronous; expected an Op"),
        (["later_and_later"], "is asynchronous; expected an Op"),
        (["unknown"], "does not tell what inputs it takes: put it into a function of yours"),
        (["negative"], "its values are bool, and only floats have a gradient\n"),
        (["two"], "returns 2 Tensors: check a function that returns one"),
        (["Square", "--device", "cpu", "--kernels", "cuda"], "there are no cuda kernels on cpu"),
        (["sine", "--kernels", "reference"], "which is checked with NumPy's: leave --device and --kernels out"),
        (["number"], "is a int; expected an Op, a Module, a function of Tensors, or (forward, vjp)"),
        (["nothing"], "has no 'nothing'"),
        (["of_arrays"], "not a Tensor; a function of arrays needs its gradient beside it"),
    ],
)
def test_mistakes_about_ones_own_are_told_in_one_line(module, told, arguments, text):
    line = told(2, f"{module}:{arguments[0]}", *arguments[1:])
    assert text in line
    assert line.count("\n") <= 2


def test_a_module_that_is_not_there_is_told_in_one_line(told):
    assert "cannot be imported: ModuleNotFoundError" in told(2, "no_such_module:x")


def test_parameters_of_a_module_are_checked_too(module, told):
    out = told(0, f"{module}:Net", "--shapes", "2x3", "--examples", "1")
    assert f"  checked Net ({module}.py:" in out
    assert "with the gradient Scale.backward (" in out
    out = told(1, f"{module}:wrong_net", "--shapes", "2x3", "--examples", "1")
    assert "the gradient of `weight` is wrong at index" in out
    assert "`x` passed" in out


@pytest.mark.parametrize("name", ["cosine_forward", "exp"])
def test_a_gradient_may_have_other_names_and_a_cache_and_is_told(module, told, tmp_path, name):
    path = tmp_path / "table.json"
    out = told(0, f"{module}.py:{name}", "--examples", "1", "--json", str(path))
    gradient = {"cosine_forward": "cosine_backward", "exp": "exp_grad"}[name]
    assert f"  checked {name} ({module}.py:" in out
    assert f" with the gradient {gradient} ({module}.py:" in out
    (checked,) = json.loads(path.read_text())["checked"]
    assert checked["gradient"].startswith(gradient)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import sys\nsys.exit()", "the module calls sys.exit(); put what it runs below if __name__"),
        ("raise SystemExit(0)", "the module calls sys.exit(0)"),
        (
            "def f():\n    return 1 / 0\nf()",
            "ZeroDivisionError: division by zero\n  broken.py:3, in <module>: f()\n",
        ),
        ("import no_such_thing", "No module named 'no_such_thing'\n  broken.py:1, in <module>: import no_such_thing"),
        ("def f(:", "SyntaxError: invalid syntax (broken.py, line 1)"),
    ],
)
@pytest.mark.parametrize("target", ["broken:op", "broken.py:op"])
def test_a_module_that_exits_or_fails_when_it_is_imported_does_not_pass(
    tmp_path, monkeypatch, told, source, text, target
):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    assert text in told(2, target, "--shapes", "3")


def test_a_module_that_prints_does_not_harm_the_json(module, tmp_path, capsys):
    (tmp_path / "talks.py").write_text(f"print('hello')\nfrom {module} import sine, sine_vjp\n")
    assert main(["check", "talks:sine", "--examples", "1", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["passed"]
    assert "hello" in err
    sys.modules.pop("talks")


def test_a_file_and_a_module_that_are_not_there_are_told_with_the_nearest(module, told):
    assert f"there is no file '{module}s.py'; did you mean '{module}.py'?" in told(2, f"{module}s.py:sine")
    assert f"did you mean '{module}'?" in told(2, f"{module}s:sine")
    assert f"write {module}.py:name" in told(2, f"{module}.py")
    assert f"one of your own is {module}:sine" in told(2, f"{module}.sine")


@pytest.mark.parametrize("option", [["--device", "cuda"], ["--kernels", "cuda"]])
def test_a_device_that_is_not_there_is_an_error_and_none_is_claimed_for_arrays(monkeypatch, module, told, option):
    monkeypatch.setattr(command, "available", lambda device: device == "cpu")
    assert "device cuda is not available here" in told(2, f"{module}:sine", *option)
    monkeypatch.setattr(command, "available", lambda device: True)
    assert "which is checked with NumPy's: leave --device" in told(2, f"{module}:sine", *option)


FAULTY = """
import numpy as np

def wide(x):
    return x
def wide_vjp(gy, x):
    return (gy,)

def hungry(x):
    return np.empty((10**6, 10**6, 10**6)) * x
hungry_vjp = wide_vjp

def both(x):
    return np.sin(x), np.cos(x)
def both_vjp(gs, gc, x):
    return (gs * np.cos(x) - gc * np.sin(x),)

def narrow(x):
    return x.astype(np.float32)
narrow_vjp = wide_vjp

def nested(x):
    return x, (x, x)
nested_vjp = wide_vjp
"""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["wide", "--shapes", "1000000x1000000x1000000"], "needs more memory than there is (Unable to allocate"),
        (["wide", "--shapes", "99999999999999999999x3"], "give smaller --shapes"),
        (["hungry", "--shapes", "2"], "give smaller --shapes"),
        (["both"], "(of two outputs a tuple of two, both_vjp((gy0, gy1), x))"),
        (["narrow"], "the function returns float32 for float64 inputs, so its gradient was not checked"),
        (["nested"], "the function must return an array or a flat tuple of arrays"),
    ],
)
def test_what_cannot_be_checked_ends_with_status_2_and_says_why(tmp_path, monkeypatch, told, arguments, text):
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.chdir(tmp_path)
    assert text in told(2, f"faulty.py:{arguments[0]}", *arguments[1:])
