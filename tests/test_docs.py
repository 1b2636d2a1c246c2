"""The Python blocks of the pages run and print what they say, and links point to something that exists."""

import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
INDEX = ROOT / "docs" / "README.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def script_of(text):
    """Return the lines of the Python blocks at the line numbers of the page, so that a traceback points into it.

    A block that begins with ```python no-run is left out.
    """
    kept, inside = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside and line.rstrip() == "```python"
            line = ""
        kept.append(line if inside else "")
    return "\n".join(kept) + "\n"


SCRIPTS = {str(page.relative_to(ROOT)): script_of(page.read_text(encoding="utf-8")) for page in PAGES}


def run(tmp_path, *arguments):
    """Run Python in a separate process, since a page may change the package."""
    command = [sys.executable, "-X", "utf8", "-W", "error", *arguments]
    quick = os.environ | {"HYPOTHESIS_PROFILE": "dev"}
    done = subprocess.run(command, cwd=tmp_path, env=quick, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", [page for page, script in SCRIPTS.items() if script.strip()])
def test_the_python_blocks_of_a_page_run_and_print_what_they_say(page, tmp_path):
    (tmp_path / "page.py").write_text(SCRIPTS[page], encoding="utf-8")
    printed = run(tmp_path, "page.py").splitlines()
    assert printed == re.findall(r"print\(.*\)  # (.*)", SCRIPTS[page])


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page, script in SCRIPTS.items() if "\ndef test_" in script])
def test_the_tests_of_a_page_pass(page, tmp_path):
    (tmp_path / "test_page.py").write_text(SCRIPTS[page], encoding="utf-8")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    run(tmp_path, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_page.py")


def test_lines_keep_their_numbers_and_other_blocks_are_left_out():
    blocks = ("python", "print(1)  # 1"), ("sh", "make"), ("python no-run", "fail()"), ("python", "x = 1")
    text = "A page\n" + "".join(f"```{kind}\n{code}\n```\n" for kind, code in blocks)
    assert script_of(text) == "\n" * 2 + "print(1)  # 1" + "\n" * 9 + "x = 1" + "\n" * 2


def test_the_pages_that_teach_have_something_to_run():
    assert all(SCRIPTS[page].strip() for page in ("README.md", "CONTRIBUTING.md", "docs/adding_an_op.md"))


@pytest.mark.parametrize("page", PAGES, ids=SCRIPTS)
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    here = [target for target in targets if "://" not in target]
    assert [target for target in here if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_index():
    linked = {(INDEX.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", INDEX.read_text("utf-8"))}
    assert [page for page in PAGES if "docs" in page.parts and page != INDEX and page not in linked] == []


def test_docstrings_name_pages_that_exist():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "minires").rglob("*.py"))
    named = set(re.findall(r"docs/[\w/]+\.md", code))
    assert [page for page in named if not (ROOT / page).exists()] == []


def test_what_follows_a_section_of_a_docstring_is_no_part_of_it():
    build = runpy.run_path(str(ROOT / "docs" / "build.py"))
    docstring = """Sum.

        y = a + b                                                                 (1)

    Parameters
    ----------
    a, b : two
        arrays

    Returns
    -------
    their sum

    Identity that tests it: a + b = b + a.
    """
    assert build["to_markdown"](docstring).split("\n\n") == [
        "Sum.",
        "    y = a + b                                                                 (1)",
        "###### Parameters",
        "- `a, b` : two arrays",
        "###### Returns",
        "- their sum",
        "Identity that tests it: a + b = b + a.",
    ]


def test_angle_brackets_of_a_docstring_survive():
    build = runpy.run_path(str(ROOT / "docs" / "build.py"))
    docstring = """Images in train/<class>/ and `test/<class>/`.

        a <b> c

    Parameters
    ----------
    device : "cuda:<index>", or x < y
    """
    assert build["to_markdown"](docstring).split("\n\n") == [
        "Images in train/&lt;class>/ and `test/<class>/`.",
        "    a <b> c",
        "###### Parameters",
        '- `device` : "cuda:&lt;index>", or x < y',
    ]


def test_the_reference_links_every_public_module():
    build = runpy.run_path(str(ROOT / "docs" / "build.py"))
    files = (ROOT / "minires").rglob("*.py")
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    names = build["public_modules"]()
    assert set(names) == {name for name in modules if "._" not in name}
    page = build["index_of"](["minires", "minires.testing.vjp"])
    assert '<a href="minires/testing/vjp.html">minires.testing.vjp</a>: ' in page
