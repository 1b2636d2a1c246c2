"""`minires check`: choose operations and settings, print the table, write the JSON."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from minires.device import available, canonical, cuda_device
from minires.errors import DeviceError, SettingsError
from minires.testing.catalogue import ENTRIES, Entry
from minires.testing.catalogue.check import Setting
from minires.testing.catalogue.complete import public_functions
from minires.testing.catalogue.own import find
from minires.testing.catalogue.own_check import check_own
from minires.testing.catalogue.table import HEADER, CheckRow, Survey, all_settings, as_json, line_of, survey

EXAMPLES, OWN_EXAMPLES, LAYER_EXAMPLES = 3, 20, 3  # a layer has many parameters
STDOUT = "-"


class Options(NamedTuple):
    """The options of the command line; None if one is not given."""

    operations: Sequence[str] = ()
    device: str | None = None
    kernels: str | None = None
    dtype: str | None = None
    examples: int | None = None
    seed: int = 0
    shapes: Sequence[str] | None = None
    order: int = 1
    json: str | None = None


def run(options: Options, version: str) -> bool:
    """Check, print the table, write the JSON. Return whether everything passed and nothing lacks a check.

    If the JSON goes to stdout, the table goes to stderr.

    Raises
    ------
    SettingsError : for an unknown operation, setting, shape or device.
    OSError : if the JSON cannot be written.
    """
    if options.examples is not None and options.examples < 1:
        raise SettingsError(f"--examples must be at least 1, got {options.examples}")
    own = [name for name in options.operations if ":" in name or name.endswith(".py")]
    if own and len(own) < len(options.operations):
        theirs = [name for name in options.operations if name not in own]
        raise SettingsError(
            f"check operations of minires ({', '.join(theirs)}) and of your own ({', '.join(own)}) one after the other"
        )
    if options.shapes and not own:
        raise SettingsError(f"--shapes {' '.join(options.shapes)} is for an operation of your own, module:name")
    if options.order == 2 and not own:
        raise SettingsError("--order 2 is for an operation of your own: those of minires are checked in both orders")
    device = _device(options)
    if not available(device):
        raise SettingsError(f"device {device} is not available here, so nothing would be checked on it{_why(device)}")
    with _writer(options.json) as write:
        found = _check_own(own, options) if own else _check_catalogue(options)
        print(_summary(found))
        write(json.dumps(as_json(found, version), indent=1) + "\n")
    return found.passed


@contextlib.contextmanager
def _writer(file: str | None) -> Iterator[Callable[[str], object]]:
    """Return a function that writes the JSON; raise before any check if the file cannot be written."""
    if file is None:
        yield lambda text: None
    elif file == STDOUT:
        write = sys.stdout.write
        with contextlib.redirect_stdout(sys.stderr):
            yield write
    else:
        path = Path(file)
        made = not path.exists()
        try:
            path.open("a").close()
        except OSError as error:
            raise SettingsError(f"--json {file} cannot be written: {error.strerror}") from error
        try:
            yield path.write_text
        except BaseException:
            if made:
                path.unlink()
            raise


def _check_catalogue(options: Options) -> Survey:
    entries, settings = _entries(options.operations), _settings(options)
    print(HEADER)
    return survey(entries, ENTRIES, settings, options.examples or EXAMPLES, options.seed, _tell)


def _check_own(names: Sequence[str], options: Options) -> Survey:
    if options.dtype not in (None, "float64"):
        raise SettingsError(
            f"--dtype {options.dtype}: an operation of your own is checked by finite differences, which need float64"
        )
    device = canonical(_device(options))
    kernels = options.kernels or ("fast" if device == "cpu" else "cuda")
    (setting,) = _settings(options._replace(device=device, kernels=kernels, dtype="float64"))
    shapes = None if options.shapes is None else [shape_of(text) for text in options.shapes]
    if shapes and not any(map(math.prod, shapes)):
        raise SettingsError("--shapes has no input with an element, so nothing would be checked: give longer ones")
    operations = [find(name, device) for name in names]
    for operation in operations:
        if operation.vjp and (options.kernels or device != "cpu"):
            raise SettingsError(
                f"{operation.name} has a vjp of arrays, which is checked with NumPy's: leave --device and --kernels out"
            )
    rows = []
    for operation in operations:
        examples = options.examples or (LAYER_EXAMPLES if operation.layer else OWN_EXAMPLES)
        its = setting._replace(kernels="-") if operation.vjp else setting
        rows.append(check_own(operation, shapes, its, options.order, examples, options.seed))
        if len(rows) == 1:
            print(HEADER)
        _tell(rows[-1])
        print(f"  checked {rows[-1].checked['function']} with the gradient {rows[-1].checked['gradient']}")
    return Survey(rows, [], [], options.examples or OWN_EXAMPLES, options.seed)


def shape_of(text: str) -> tuple[int, ...]:
    """Return (2, 3) for "2x3", and () for "()", a scalar.

    Raises
    ------
    SettingsError : if the text is no shape.
    """
    if text == "()":
        return ()
    if not re.fullmatch(r"\d+([x×]\d+)*", text):
        raise SettingsError(f"--shapes: {text!r} is not a shape; expected lengths as in 2x3, or () for a number")
    return tuple(map(int, re.split("[x×]", text)))


def _entries(names: Sequence[str]) -> Sequence[Entry]:
    """Return the entries with these names, or all if there are none, in the catalogue's order."""
    functions = public_functions()
    chosen: set[str] = set()
    for name in names:
        matching = {
            entry.name
            for entry in ENTRIES
            if name in (entry.name, entry.operation)
            or (name in functions and functions[name] is functions.get(entry.operation))
        }
        if not matching:
            known = list(dict.fromkeys(entry.operation for entry in ENTRIES))
            own = ":".join(name.rsplit(".", 1)) if "." in name else "module:name"
            near = difflib.get_close_matches(name, [*known, *functions], 1)
            raise SettingsError(
                f"operation {name!r} is not one of {', '.join(known)}"
                + (f"; did you mean {near[0]!r}?" if near and "." not in name else f"; one of your own is {own}")
            )
        chosen |= matching
    return [entry for entry in ENTRIES if entry.name in chosen] if names else ENTRIES


def _device(options: Options) -> str:
    """Return the device of the options, or that of the kernels, or the CPU."""
    return options.device or ("cuda" if options.kernels == "cuda" else "cpu")


def _why(device: str) -> str:
    try:
        cuda_device(device)
    except DeviceError as error:
        return f": {error}"
    return ""


def _settings(options: Options) -> list[Setting]:
    device = None if options.device is None else canonical(options.device).partition(":")[0]
    found = [
        setting._replace(device=options.device or setting.device)
        for setting in all_settings()
        if device in (None, setting.device)
        and options.kernels in (None, setting.kernels)
        and options.dtype in (None, setting.dtype)
    ]
    if not found:
        raise SettingsError(
            f"there are no {options.kernels} kernels on {options.device}: leave --kernels or --device out"
        )
    return found


def _tell(row: CheckRow) -> None:
    print(line_of(row), flush=True)


def _summary(found: Survey) -> str:
    lines = [f"{device}: not available" for device in found.unavailable]
    for row in found.rows:
        if row.failure:
            lines += ["", f"FAILED: {row.name} ({row.setting})", row.failure]
    lines += [f"no check: {name}" for name in found.unchecked]
    checks = sum(row.checks for row in found.rows)
    bad = [f"{n} {what}" for what, n in _counts(found).items() if n]
    lines += [
        "",
        f"{_counted(len(found.rows), 'row')}, {_counted(checks, 'check')}: "
        + (", ".join(bad) if bad else "all passed" if found.passed else "nothing was checked"),
    ]
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)


def _counts(found: Survey) -> dict[str, int]:
    verdicts = [row.verdict for row in found.rows]
    return {
        "failed": verdicts.count("FAILED"),
        "without a check": verdicts.count("no check") + len(found.unchecked),
    }
