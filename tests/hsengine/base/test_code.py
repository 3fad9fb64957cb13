"""Code identity: what a module or a function runs through, and which edits show."""

import ast

import pytest

from hsengine.base import code, definitions

SOURCES = {
    "__init__": "from made.colour import red\n",
    "colour": 'red = 1\n__loads__ = ("made/table.csv",)\n',
    "alone": "x = 1\n",
    "deep/__init__": "from made.deep.inner import best\n",
    "deep/inner": "def best():\n    from made import lazy\n    return lazy.value\n",
    "deep/other": "from .inner import best\nfrom . import inner as again\n",
    "lazy": "value = 2\n",
    "typed": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made import alone\n",
    "named": "from made.deep import best\n",
    "submodule": "from made.deep import other\n",
    "registry": (
        "import importlib\n__loads__ = ('made.zoo.*',)\n"
        "def load(name):\n    importlib.import_module(f'made.zoo.{name}')\n"
    ),
    "zoo/__init__": "",
    "zoo/cat": "",
    "zoo/dog": "",
    "silent": "import importlib\nimportlib.import_module(__name__ + '.x')\n",
    "spelled": "import importlib\nimportlib.import_module('made.lazy')\n",
    "work": (
        "import os\nfrom made import colour, lazy\nfrom made.deep import best\n\nLIMIT = 3\nUNUSED = 4\n\n\n"
        "def helper():\n    return LIMIT\n\n\ndef neighbour():\n    return UNUSED\n\n\n"
        "def make(given):\n    helper()\n    return colour.red, best()\n\n\n"
        "def hands_on():\n    return print(colour)\n\n\ndef loads():\n    from made import registry\n"
        "    registry.load('cat')\n"
    ),
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A package of that name, known as one of the project's; its folder."""
    for name, text in SOURCES.items():
        file = tmp_path / "made" / f"{name}.py"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    (tmp_path / "made" / "table.csv").write_text("1,2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "PACKAGES", ("made",))
    return tmp_path / "made"


def _short(found) -> set[str]:
    return {name.removeprefix("made").removeprefix(".") for name in found} - {""}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("alone", {"alone"}),
        ("colour", {"colour", "/table.csv"}),
        ("deep.inner", {"deep", "deep.inner", "lazy"}),
        ("deep.other", {"deep", "deep.inner", "deep.other", "lazy"}),
        ("named", {"named", "deep", "deep.inner", "lazy"}),
        ("submodule", {"submodule", "deep", "deep.inner", "deep.other", "lazy"}),
        ("typed", {"typed"}),
        ("registry", {"registry", "zoo", "zoo.cat", "zoo.dog"}),
        ("spelled", {"spelled", "lazy"}),
    ],
)
def test_a_closure_holds_what_is_imported_and_no_more(made, module, expected):
    assert _short(code.closure(f"made.{module}")) == expected


def test_the_init_of_a_package_counts_but_not_what_it_imports_for_others(made):
    assert set(code.closure("made.alone")) == {"made", "made.alone"}
    (made / "taker.py").write_text("from made import red\n")
    assert "made.colour" in code.closure("made.taker")


def test_a_module_that_imports_by_a_computed_name_must_say_which(made):
    with pytest.raises(ValueError, match=r"silent\.py imports modules by a computed name"):
        code.closure("made.silent")


def test_a_module_or_a_declared_file_that_does_not_exist_is_named(made):
    with pytest.raises(ValueError, match=r"no module made\.nothing"):
        code.closure("made.nothing")
    (made / "table.csv").unlink()
    with pytest.raises(ValueError, match=r"made/table\.csv, which does not exist"):
        code.closure("made.colour")


@pytest.mark.parametrize(
    "edited",
    [
        "# a comment\nvalue = 2\n",
        '"""A docstring."""\n\n\nvalue = (\n    2\n)\n"""What it is."""\n',
        "value=2 # so",
    ],
)
def test_comments_docstrings_and_formatting_do_not_show(made, edited):
    before = code.code_hash(["made.deep.inner"])
    (made / "lazy.py").write_text(edited)
    assert code.code_hash(["made.deep.inner"]) == before


@pytest.mark.parametrize(("file", "text"), [("lazy.py", "value = 3\n"), ("lazy.py", "value = 2\nother = 1\n")])
def test_any_other_edit_of_what_is_run_through_shows(made, file, text):
    before, alone = code.code_hash(["made.deep.inner"]), code.code_hash(["made.alone"])
    (made / file).write_text(text)
    assert code.code_hash(["made.deep.inner"]) != before
    assert code.code_hash(["made.alone"]) == alone


def test_an_edit_of_a_declared_file_shows(made):
    before = code.code_hash(["made.colour"]), definitions.reached("made.work", "make")
    (made / "table.csv").write_text("1,3\n")
    assert code.code_hash(["made.colour"]) != before[0]
    assert definitions.reached("made.work", "make") != before[1]


def test_only_the_files_of_stages_whose_code_changed_are_written_anew(made, tmp_path):
    stages, folder = {"one": ("made.named",), "two": ("made.alone",)}, tmp_path / "code"
    assert code.write(stages, folder) == ["one", "two"]
    (folder / "gone").write_text("of a stage that is no more")
    first = {file.name: file.stat().st_ino for file in folder.iterdir()}
    assert code.write(stages, folder) == []
    (made / "lazy.py").write_text("value = 3\n")
    assert code.write(stages, folder) == ["one"]
    after = {file.name: file.stat().st_ino for file in folder.iterdir()}
    assert set(after) == {"one", "two"}
    assert after["two"] == first["two"]
    assert after["one"] != first["one"]
    assert [line.split(" ")[0] for line in (folder / "two").read_text().splitlines()] == ["made", "made.alone"]


def test_a_function_runs_through_what_it_reaches_and_not_through_its_neighbours(made):
    found = set(definitions.reached("made.work", "make"))
    assert found == {
        *("made.work:make", "made.work:helper", "made.work:LIMIT", "made.colour:red", "made/table.csv"),
        *("made.deep.inner:best", "made.lazy:value"),
    }


def test_a_function_that_hands_a_module_on_runs_through_all_of_it(made):
    assert "made.colour" in definitions.reached("made.work", "hands_on")


def test_a_function_that_loads_by_name_runs_through_all_that_is_declared(made):
    assert {"made.zoo.cat", "made.zoo.dog"} <= set(definitions.reached("made.work", "loads"))


def test_what_a_module_does_when_it_is_imported_counts(made):
    before = definitions.reached("made.work", "make")
    (made / "lazy.py").write_text("value = 2\nprint('imported')\n")
    assert definitions.reached("made.work", "make") != before


def test_a_name_that_is_not_there_is_named(made):
    with pytest.raises(ValueError, match=r"made\.work defines no 'nothing'"):
        definitions.reached("made.work", "nothing")


def test_sources_that_differ_have_different_texts():
    texts = [
        "return",
        "return None",
        "x = 1",
        "x = True",
        "x = '1'",
        "x = b'1'",
        "f(*a)",
        "f(a)",
        "x: int",
        "x = [1, 2]",
    ]
    texts += ["x = [[1], 2]", "def f(): pass", "async def f(): pass", "def f(): 'doc'", "def f(a=None): pass", "{**a}"]
    assert len({code.canonical(ast.parse(text)) for text in texts}) == len(texts)


def test_what_a_killed_run_left_among_the_lists_goes(tmp_path):
    (tmp_path / ".part-left").mkdir()
    (tmp_path / "other").touch()
    code.write({"train": ["hsengine.base.errors"]}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
