"""Write the pages of the interface, from the docstrings, with pdoc: ``python docs/build.py build/docs``.

pdoc reads NumPy's docstrings, in which a section reaches to the next one. Ours go on after their sections, with
identities and sources, so they are turned into Markdown here. A warning of pdoc's is an error.
"""

import importlib
import inspect
import pathlib
import pkgutil
import re
import sys
import typing
import warnings

import numpy as np


def to_markdown(docstring: str) -> str:
    """A docstring as Markdown: a paragraph whose second line is dashes is a section, the others stay as they are."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    return "\n\n".join(_section(*paragraph.split("\n")) for paragraph in paragraphs)


def _section(title: str, dashes: str = "", *lines: str) -> str:
    """A section's lines as a list, one item for each ``name : text``; indented lines belong to the one before."""
    if not re.fullmatch("---+", dashes):
        return "\n".join((title, *([dashes] if dashes else []), *lines))
    items: list[str] = []
    for line in lines:
        if items and (line.startswith(" ") or " : " not in line):
            items[-1] += " " + line.strip()
        else:
            items.append(line)
    marked = (re.sub(r"^([\w*, ]+) : ", r"`\1` : ", item) for item in items)
    return f"###### {title}\n\n" + "\n".join(f"- {item}" for item in marked)


def documented() -> list[str]:
    """The package, and what lies in it: pdoc by itself takes only what ``minires.__all__`` names."""
    package = importlib.import_module("minires")
    inside = [f"minires.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    return ["minires", r"!minires\.", *(name for name in inside if name != "minires.__main__")]


def simplify_annotations() -> None:
    """Show `Array` by a short name, and resolve what NamedTuple leaves as strings, which pdoc cannot."""
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "minires"]:
        for named_tuple in [v for v in vars(module).values() if inspect.isclass(v) and hasattr(v, "_fields")]:
            named_tuple.__new__.__annotations__ = typing.get_type_hints(named_tuple)
        if hasattr(module, "Array"):
            module.Array = np.ndarray


def main(target: str) -> None:
    """Write everything to the folder ``target``."""
    import pdoc

    specs = documented()
    for name in specs[2:]:
        module = importlib.import_module(name)
        for inner in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
            importlib.import_module(inner.name)
    simplify_annotations()
    pdoc.docstrings.numpy = to_markdown
    pdoc.render.configure(docformat="numpy")
    warnings.simplefilter("error")
    pdoc.pdoc(*specs, output_directory=pathlib.Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])
