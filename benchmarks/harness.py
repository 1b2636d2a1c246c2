"""Shared by the benchmarks: time functions in turns, describe the machine, write JSON records."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import threadpoolctl

import minires as mr
from minires.threads import available_cpus

# A turn begins after a pause, since PyTorch's idle threads spin for a while and use the cores. The first call of a turn
# is not timed: it brings the function's data back into the caches.
PAUSE = 0.03
RECORDS = pathlib.Path(__file__).parent / "records"
BUSY = 0.25  # a larger load per core before the measurement prints a warning


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Return what the times depend on: processor, load, threads and versions."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    blas = [
        {key: library[key] for key in ("internal_api", "version", "architecture", "num_threads") if key in library}
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    ]
    torch = sys.modules.get("torch")
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": available_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS"),
        "torch": None if torch is None else torch.__version__,
        **({} if device == "cpu" else gpu(device)),
        "minires": mr.__version__,
    }


def gpu(device: str) -> dict[str, Any]:
    """Return the name of a GPU, and the versions of CuPy, the driver and CUDA."""
    cupy, place = mr.device.cuda_device(device)
    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(place.id)["name"].decode()
    return {
        "gpu": name,
        "cupy": cupy.__version__,
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
    }


def describe(described: dict[str, Any]) -> None:
    """Print the result of `machine`, and a warning if other programs use the machine."""
    print(", ".join(f"{key} {value}" for key, value in described.items() if key != "blas"))
    print("BLAS: " + "; ".join(" ".join(map(str, library.values())) for library in described["blas"]))
    if (described["load"] or 0) > BUSY * described["cores"]:
        print("Other programs are using this machine: the times below say little.")


def write(name: str, described: dict[str, Any], results: Any, **settings: Any) -> None:
    """Write results to benchmarks/records/NAME-TIME.json."""
    now = datetime.datetime.now(datetime.timezone.utc)
    write_to(RECORDS / f"{name}-{now:%Y-%m-%dT%H%M%SZ}.json", described, results, **settings)


def write_to(path: pathlib.Path, described: dict[str, Any], results: Any, **settings: Any) -> None:
    """Write results to a file, with the date and the result of `machine`, and print its path."""
    keep_in(path, described, results, **settings)
    print(f"recorded in {path}")


def keep_in(path: pathlib.Path, described: dict[str, Any], results: Any, **settings: Any) -> None:
    """Write results to a file as `write_to` does, without printing."""
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"date": date, **settings, "machine": described, "results": results}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def record_to_resume(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Any]:
    """Return the record that ``--json FILE --resume`` continues; {} without ``--resume`` or if FILE does not exist yet.

    ``--resume`` without ``--json`` ends the program with an error.
    """
    if options.resume and options.json is None:
        parser.error("--resume needs --json FILE, the record to resume")
    if not options.resume or not options.json.exists():
        return {}
    record: dict[str, Any] = json.loads(options.json.read_text(encoding="utf-8"))
    return record


def in_turns(functions: Sequence[Callable[[], object]], rounds: int, calls: int) -> list[list[float]]:
    """Return the times of each function in milliseconds. In every round, each function is timed ``calls`` times."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, record in zip(functions, times, strict=True):
            time.sleep(PAUSE)
            function()
            for _ in range(calls):
                start = time.perf_counter()
                function()
                record.append(round((time.perf_counter() - start) * 1e3, 3))
    return times


def at_least(least: int) -> Callable[[str], int]:
    """Return an argparse type: an integer of at least ``least``."""

    def integer(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return integer
