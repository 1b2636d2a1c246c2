"""How the benchmarks continue a record; their figures are not tested."""

import argparse
import pathlib
import runpy
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
