"""Parse a command line; an error is one line that suggests the nearest command or option."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that reports errors as one line; ``commands`` maps the names of its subcommands to their parsers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        self.commands: dict[str, Parser] = {}

    def error(self, message: str) -> NoReturn:
        """Print an error as one line, and exit with 2."""
        if wrong := re.fullmatch(r"argument (--[\w-]+): invalid (int|float) value: (.*)", message):
            kind = {"int": "an integer", "float": "a number"}[wrong[2]]
            message = f"{wrong[1]} must be {kind}, got {wrong[3]}"
        self.exit(2, f"minires: error: {message}; see {self.prog} --help\n")

    def understand(self, arguments: list[str]) -> argparse.Namespace:
        """Parse the command line; for an unknown command or option, suggest the nearest one."""
        if not arguments:
            self.error(f"no command; expected one of {', '.join(self.commands)}")
        name = arguments[0]
        if name not in self.commands and name not in ("-h", "--help", "--version"):
            near = "train --resume RUN" if name == "resume" else _near(name, list(self.commands))
            self.error(f"{name!r} is not one of the commands {', '.join(self.commands)}{_did_you_mean(near)}")
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            command = self.commands[name]
            near = _near(unknown[0].partition("=")[0], command.flags()) if unknown[0].startswith("-") else ""
            command.error(f"unknown argument {unknown[0]!r}{_did_you_mean(near)}")
        return options

    def flags(self) -> list[str]:
        """Return the names of the options, such as --batch-size."""
        return list(dict.fromkeys(re.findall(r"--[\w-]+", self.format_usage())))

    def as_typed(self, command: str, text: str) -> str:
        """Return a text with the names of arguments replaced by options: `batch_size` becomes --batch-size."""
        flags = self.commands[command].flags()

        def typed(name: re.Match[str]) -> str:
            flag = "--" + name[1].replace("_", "-")
            return flag if flag in flags else name[1]

        return re.sub(r"`([a-z_]+)`", typed, text)


def _near(name: str, choices: list[str]) -> str:
    """Return the choices that begin with ``name``, or else the most similar one."""
    return " or ".join(
        [choice for choice in choices if choice.startswith(name)] or difflib.get_close_matches(name, choices, n=1)
    )


def _did_you_mean(near: str) -> str:
    return f"; did you mean {near}?" if near else ""
