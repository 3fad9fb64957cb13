"""Reading of text and JSON: what is wrong is told with the file, the cause and the caller's remedy."""

from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.base.reading import json_value, parsed_json, text

REMEDY = "make it anew with 'hsmodels evaluate'."


def _spoiled(file: Path, how: str) -> None:
    if how == "a folder":
        file.mkdir()
    elif how != "missing":
        content = {"not UTF-8": b"\xff\xfe{", "cut off": b'{"a": ', "deep": b"[" * 100_000, "zero bytes": b"{}\0"}[how]
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("missing", "There is no "),
        ("a folder", "is a folder, not a file"),
        ("not UTF-8", "is no text in UTF-8 (byte 0)"),
        ("zero bytes", "holds zero bytes"),
        ("cut off", "Expecting value"),
        ("deep", "it nests without end"),
    ],
)
def test_what_is_wrong_with_a_file_of_json_is_told(tmp_path: Path, how: str, cause: str) -> None:
    file = tmp_path / "metrics.json"
    _spoiled(file, how)
    with pytest.raises(UserError) as told:
        parsed_json(file, "the scores of a model", REMEDY)
    assert str(file) in str(told.value)
    assert cause in str(told.value)
    assert str(told.value).endswith(REMEDY) or how == "a folder"


def test_without_a_remedy_the_sentence_ends() -> None:
    with pytest.raises(UserError, match=r"^a line is damaged: .*\)\.$"):
        json_value("{", "a line is damaged")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf400\n")
    assert text(tmp_path / "a.txt", "a list") == "400\n"
