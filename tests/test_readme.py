import pathlib
import re

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_python_blocks_of_the_readme_run_and_print_what_they_say(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})
        expected = re.findall(r"print\(.*\)  # (.*)", block)
        assert capsys.readouterr().out.splitlines() == expected
