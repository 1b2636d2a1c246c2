"""Define the Hypothesis profiles dev, ci (the default) and thorough, and the option ``--cuda``.

HYPOTHESIS_PROFILE chooses the profile. ``--cuda gpu`` runs the tests with the mark ``gpu`` unless ``-m`` is given, and
``pytest -m gpu`` includes ``--cuda gpu``.
"""

import importlib
import os
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings

from minires.device import available

COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=10, **COMMON)
settings.register_profile("ci", max_examples=25, derandomize=True, **COMMON)
settings.register_profile("thorough", max_examples=10_000, **COMMON)
# For tests/mutation: one failing example is enough, and it can be large.
QUICK = {"phases": [Phase.explicit, Phase.generate], "report_multiple_bugs": False}
settings.register_profile("mutation", max_examples=25, derandomize=True, **QUICK, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser):
    parser.addoption(
        "--cuda",
        choices=("cpu", "gpu"),
        help="run tests/cupy_on_cpu, and tests/kernels/reference on CuPy: on a GPU, or on the CPU instead",
    )


def pytest_configure(config):
    if hasattr(signal, "SIGHUP"):  # nohup ignores it, and processes that the tests start inherit that
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("markexpr").strip("() ") == "gpu" and not config.getoption("--cuda"):
        config.option.cuda = "gpu"
    elif config.getoption("--cuda") == "gpu" and config.getoption("markexpr") in config.getini("addopts"):  # no -m
        config.option.markexpr = "gpu"
    if config.getoption("--cuda") == "gpu" and not available("cuda"):
        raise pytest.UsageError("there is no GPU that CuPy can use here; --cuda cpu needs none")
    if config.getoption("--cuda"):
        importlib.import_module("bodies").begin(config.getoption("--cuda"))


def pytest_ignore_collect(collection_path, config):
    return True if collection_path.name == "cupy_on_cpu" and not config.getoption("--cuda") else None


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks
def pytest_collection_modifyitems(config, items):
    if config.getoption("--cuda"):
        on_cuda = [item for item in items if item.path.parent.name in ("cupy_on_cpu", "reference")]
        for module in {item.module for item in on_cuda if item.path.parent.name == "reference"}:
            importlib.import_module("bodies").carry(module)
        for item in on_cuda:
            if config.getoption("--cuda") == "gpu":
                item.add_marker("gpu")
        kept = [item for item in items if item.get_closest_marker("numpy_only") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
