"""How the benchmarks continue a record and end a check that takes too long; their figures are not tested."""

import argparse
import contextlib
import pathlib
import runpy
import signal
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("program", ["bench_gradcheck.py", "check_operators.py"])
def test_resume_without_a_file_is_an_error_that_names_json(program):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / program, "--resume"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2
    assert "error: --resume needs --json FILE" in done.stderr


def test_resume_begins_a_record_that_does_not_exist_and_reads_one_that_does(tmp_path):
    record_to_resume = runpy.run_path(str(BENCHMARKS / "harness.py"))["record_to_resume"]
    file = tmp_path / "record.json"
    parser, resumed = argparse.ArgumentParser(), argparse.Namespace(json=file, resume=True)
    assert record_to_resume(parser, resumed) == {}
    file.write_text('{"results": {"a": 1}}', encoding="utf-8")
    assert record_to_resume(parser, resumed) == {"results": {"a": 1}}
    assert record_to_resume(parser, argparse.Namespace(json=file, resume=False)) == {}


@pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="Windows has no timer of a process's own time")
def test_a_check_that_is_too_slow_ends_even_where_exceptions_are_caught(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = runpy.run_path(str(BENCHMARKS / "check_operators.py"))

    def stubborn():
        for _ in range(1000):  # a second or so
            with contextlib.suppress(Exception):
                pow(3, 10**5)

    with pytest.raises(benchmark["TooSlow"]), benchmark["limit"](0.01):
        stubborn()
