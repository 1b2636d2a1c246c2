"""What the benchmarks share: the machine in words, and JSON records beside its description."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

import minires as mr
from minires.threads import available_cpus

RECORDS = pathlib.Path(__file__).parent / "records"
BUSY = 0.25  # the load per core, before anything is timed, from which one is told


def machine(threads: int) -> dict[str, Any]:
    """What the times depend on."""
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
        "minires": mr.__version__,
    }


def describe(described: dict[str, Any]) -> None:
    """Print what `machine` found, and a warning if others use it."""
    print(", ".join(f"{key} {value}" for key, value in described.items() if key != "blas"))
    print("BLAS: " + "; ".join(" ".join(map(str, library.values())) for library in described["blas"]))
    if (described["load"] or 0) > BUSY * described["cores"]:
        print("Other programs are using this machine: the times below say little.")


def write(name: str, described: dict[str, Any], results: Any, **settings: Any) -> None:
    """Write results to benchmarks/records/NAME-TIME.json."""
    now = datetime.datetime.now(datetime.timezone.utc)
    RECORDS.mkdir(exist_ok=True)
    path = RECORDS / f"{name}-{now:%Y-%m-%dT%H%M%SZ}.json"
    record = {"date": now.isoformat(timespec="seconds"), **settings, "machine": described, "results": results}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"recorded in benchmarks/records/{path.name}")


def at_least(least: int) -> Callable[[str], int]:
    """A type of command-line arguments: integers from ``least`` on."""

    def integer(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return integer
