"""Measure the mutation score of the kernels: `make mutation`, or `make mutation ONLY='*reference.conv.*'` for a part.

Each mutant changes one line of arithmetic in kernels/reference, kernels/fast or geometry.py, in one of the ways of
operators.py. The tests that reach the changed function run, the quickest first, until one fails. mutmut does the work,
with `[mutmut]` in setup.cfg; this file gives it a copy of the tree and the operators. A mutant that no test kills must
be in survivors.md, with the reason why it is as right as the original.

It does not run in continuous integration. If a mutant shows that a test is missing, the test is written, and CI runs
it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import operators
from mutmut import __main__ as mutmut
from mutmut.mutation import mutators
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import mangled_name_from_mutant_name, orig_function_and_class_names_from_key

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "mutation"
SURVIVORS = Path(__file__).with_name("survivors.md")
# mutmut does not change decorated functions. The first decorator limits BLAS to one thread; here the environment does.
# The second is applied at the end of the file instead.
GUARD = re.compile(r"^@single_threaded_blas\(\)\n", re.MULTILINE)
OF_HALVES = re.compile(r"^@(in_float32\(.*\))\n(?=def (\w+))", re.MULTILINE)

Mutant = tuple[str, tuple[str, ...]]  # the function, and the lines that differ, without their indentation


def copy_tree() -> None:
    """Copy the package and its tests, with the kernels' decorators moved to where mutmut accepts them."""
    shutil.rmtree(COPY, ignore_errors=True)
    for name in ("minires", "tests"):
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy2(ROOT / name, COPY / name)
    for path in (COPY / "minires" / "kernels").rglob("*.py"):
        source = GUARD.sub("", path.read_text(encoding="utf-8"))
        applied = [f"{name} = {decorator}({name})\n" for decorator, name in OF_HALVES.findall(source)]
        path.write_text("".join([OF_HALVES.sub("", source), *applied]), encoding="utf-8")


def run(only: list[str]) -> dict[str, str]:
    """Return each mutant's status: "killed", "timeout", "survived", or another error."""
    mutators.mutation_operators[:] = operators.ARITHMETIC
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.chdir(COPY)
    mutmut._run(only, max_children=int(os.environ.get("WORKERS", "2")))
    mutants, _ = mutmut.collect_source_file_mutation_data(mutant_names=only)
    return {name: status_by_exit_code[code] for _, name, code in mutants}


def changed(name: str) -> Mutant:
    """Return what a mutant changes, without line numbers."""
    function, owner = orig_function_and_class_names_from_key(name)
    module = mangled_name_from_mutant_name(name).rpartition(".")[0]
    lines = mutmut.get_diff_for_mutant(name).splitlines()[2:]
    return (
        ".".join(part for part in (module, owner, function) if part),
        tuple(line[0] + line[1:].strip() for line in lines if line[:1] in ("-", "+")),
    )


def listed() -> set[Mutant]:
    """Return the mutants in survivors.md: headings name functions; blocks show a line and its replacement."""
    known = set()
    for section in re.split(r"^### ", SURVIVORS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        function = section.partition("\n")[0].strip("`")
        for block in re.findall(r"^```diff\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            first, *others = block.splitlines()
            single = all(line.startswith("+") for line in others)  # each other line is one mutant of the first
            known |= {(function, (first, other)) for other in others} if single else {(function, (first, *others))}
    return known


def main() -> int:
    """Run and report; return 1 if an unlisted mutant survives or a listed one does not."""
    only, start = sys.argv[1:], time.monotonic()
    copy_tree()
    statuses, known = run(only), listed()
    alive = {name: changed(name) for name, status in statuses.items() if status not in ("killed", "timeout")}
    slow = {changed(name) for name, status in statuses.items() if status == "timeout"}  # they may survive next time
    new = {name: mutant for name, mutant in alive.items() if mutant not in known}
    stale = set() if only else known - set(alive.values()) - slow
    minutes = (time.monotonic() - start) / 60
    print(f"\n{len(statuses)} mutants in {minutes:.0f} minutes: {dict(Counter(statuses.values()))}")
    print(f"{len(alive) - len(new)} survivors are listed, {len(new)} are not.")
    for name, (function, lines) in sorted(new.items()):
        print(f"\n### `{function}`\n\n```diff", *lines, f"```\n\n{statuses[name]}: {name}", sep="\n")
    for function, lines in sorted(stale):
        print(f"\nlisted, but killed or gone: {function}", *lines, sep="\n")
    return 1 if new or stale else 0


if __name__ == "__main__":
    sys.exit(main())
