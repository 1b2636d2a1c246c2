"""Write the reference of all public modules, from the docstrings, with pdoc: ``python docs/build.py build/docs``.

In NumPy's docstrings a section ends where the next one begins. Ours continue after their sections, with identities and
sources, so this file turns them into Markdown. A warning of pdoc is an error.
"""

import html
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
    """Return a docstring as Markdown: a paragraph whose second line is dashes becomes a section, the others stay."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    return "\n\n".join(_section(*_literal(paragraph).split("\n")) for paragraph in paragraphs)


def _literal(paragraph: str) -> str:
    """Return a paragraph in which ``<class>`` stays text: Markdown would take it for a tag of HTML.

    Code, indented or between backquotes, is literal already.
    """
    if paragraph.startswith("    "):
        return paragraph
    pieces = re.split(r"(`[^`]*`)", paragraph)
    return "".join(piece if piece.startswith("`") else re.sub(r"<(?=[\w/!])", "&lt;", piece) for piece in pieces)


def _section(title: str, dashes: str = "", *lines: str) -> str:
    """Return a section as a list, one item for each ``name : text``. Indented lines belong to the item before."""
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


def public_modules() -> list[str]:
    """Return the names of the package and of all modules in it, each package before its modules."""
    package = importlib.import_module("minires")
    inside = [module.name for module in pkgutil.walk_packages(package.__path__, "minires.")]
    return ["minires", *(name for name in inside if not any(part.startswith("_") for part in name.split(".")))]


def specifications(names: list[str]) -> list[str]:
    """Return what pdoc takes for exactly these modules; by itself it takes only what ``__all__`` of a package names."""
    return [spec for name in names for spec in (rf"!{re.escape(name)}(\.|$)", name)]


def index_of(names: list[str]) -> str:
    """Return a page of HTML that links every module, with the first line of its docstring."""
    items = []
    for name in names:
        first = (importlib.import_module(name).__doc__ or "").partition("\n")[0]
        path = name.replace(".", "/")
        items.append(f'<li><a href="{path}.html">{name}</a>: {html.escape(first)}</li>')
    lines = "\n".join(items)
    return f'<!doctype html>\n<meta charset="utf-8">\n<title>minires</title>\n<h1>minires</h1>\n<ul>\n{lines}\n</ul>\n'


def simplify_annotations() -> None:
    """Show `Array` by a short name, and resolve the annotations that NamedTuple leaves as strings."""
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "minires"]:
        for named_tuple in [v for v in vars(module).values() if inspect.isclass(v) and hasattr(v, "_fields")]:
            named_tuple.__new__.__annotations__ = typing.get_type_hints(named_tuple)
        if hasattr(module, "Array"):
            module.Array = np.ndarray


def main(target: str) -> None:
    """Write all pages to the folder ``target``; index.html links them."""
    import pdoc

    names = public_modules()
    for name in names:
        importlib.import_module(name)
    simplify_annotations()
    pdoc.docstrings.numpy = to_markdown
    pdoc.render.configure(docformat="numpy")
    warnings.simplefilter("error")
    pdoc.pdoc(*specifications(names), output_directory=pathlib.Path(target))
    (pathlib.Path(target) / "index.html").write_text(index_of(names), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
