"""Whole training steps at full size, recorded or compiled and not computed: each in a process of its own."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(*options):
    """The output of bench_launches.py, whose exit status is its verdict."""
    command = [sys.executable, ROOT / "benchmarks" / "bench_launches.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_training_step_keeps_its_budget_of_launches_and_never_waits():
    found = re.findall(r"(\w+): (\d+) launches of at most (\d+), \d+ memsets, (\d+) synchronisations", run())
    assert [network for network, *_ in found] == ["resnet18", "resnet20"]
    assert all(200 < int(launches) <= int(most) and int(waits) == 0 for _, launches, most, waits in found)


@pytest.mark.parametrize("architecture", ["80", "90"])
def test_nvrtc_compiles_every_kernel_for(architecture):
    (count,) = re.findall(rf"(\d+) programs compiled for sm_{architecture}", run("--nvrtc", architecture))
    assert int(count) > 150
