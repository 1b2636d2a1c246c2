"""How minires is installed, and what a package index shows of it."""

import configparser
import pathlib
import re
import subprocess
import sys

import pytest

from minires.errors import DISTRIBUTION, install_command

ROOT = pathlib.Path(__file__).parent.parent
SETTINGS = configparser.ConfigParser()
SETTINGS.read(ROOT / "setup.cfg", encoding="utf-8")
METADATA = SETTINGS["metadata"]
PAGE = (ROOT / METADATA["long_description"].removeprefix("file: ")).read_text(encoding="utf-8")


def fresh(program, folder):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )


def test_beside_a_folder_of_the_same_name_the_package_is_imported(tmp_path):
    (tmp_path / "minires" / "docs").mkdir(parents=True)  # as a clone lies there
    done = fresh("import minires; print(minires.tensor([1.0]).item())", tmp_path)
    assert (done.stdout, done.stderr) == ("1.0\n", "")


def test_an_old_numpy_is_refused_in_words(tmp_path):
    done = fresh("import numpy; numpy.__version__ = '1.26.4'; from minires import tensor", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: minires needs NumPy 2.0 or later, and 1.26.4 is installed: pip install 'numpy>=2'"
    )


def test_messages_name_the_distribution_and_extras_that_exist():
    assert METADATA["name"] == DISTRIBUTION
    assert install_command("image") == f"pip install '{DISTRIBUTION}[image]'"
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "minires").rglob("*.py"))
    named = re.findall(r"install_command\([\"'](.*?)[\"']\)", code)
    assert named
    assert set(named) <= set(SETTINGS["options.extras_require"])


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "minires", "docs", "benchmarks"])
def test_nobody_is_sent_to_the_other_project_of_this_name(path):
    files = [ROOT / path] if (ROOT / path).is_file() else [*(ROOT / path).rglob("*.py"), *(ROOT / path).rglob("*.md")]
    for file in files:
        assert not re.search(r"install ['\"]?minires\[", file.read_text(encoding="utf-8")), file


def test_the_page_of_an_index_has_absolute_links_to_pages_that_exist():
    begin = f"{METADATA['url']}/blob/main/"
    links = re.findall(r"\]\(([^)]+)\)", PAGE) + re.findall(r"= (\S+/blob/\S+)", METADATA["project_urls"])
    assert links
    for link in links:
        assert link.startswith(begin)
        assert (ROOT / link.removeprefix(begin)).is_file()
