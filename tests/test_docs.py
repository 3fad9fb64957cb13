"""The examples of the documentation are executed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _blocks(page):
    """The Python of a page, each block at the line where it stands, so that a fault names that line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield "\n" * text.count("\n", 0, block.start(1)) + block[1]


@pytest.mark.parametrize("page", ["docs/adding-a-task.md"])
def test_the_examples_of_a_page_run_as_one_program(tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    blocks = list(_blocks(page))
    assert blocks
    names = {"__name__": "example"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
