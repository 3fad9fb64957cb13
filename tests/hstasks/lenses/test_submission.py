from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hstasks.lenses import submission

IDS = ["object_00000", "object_00001", "object_00002"]
PREDS = {"object_00000": 1, "object_00001": 0, "object_00002": 1}


def lines(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def test_both_variants_and_fillers(tmp_path: Path) -> None:
    summary = submission.write(tmp_path / "a.csv", IDS, PREDS)
    header, *rows = lines(tmp_path / "a.csv")
    assert len(header) == 32 and header[:6] == ["id", "preds", "RA", "Dec", "zlens", "vel disp"]
    assert header[-1] == "n_s_sers" and "mag_lens_g" in header
    assert rows[0] == ["object_00000", "1", *["-999"] * 30]
    assert (summary.rows, summary.lenses) == (3, 2)
    values = {"object_00001": {"RA": 12.25, "vel disp": 241.0, "Rein": float("nan")}}
    submission.write(tmp_path / "b.csv", IDS, PREDS, values=values, columns="extended", filler=-99)
    header, *rows = lines(tmp_path / "b.csv")
    row = dict(zip(header, rows[1], strict=True))
    assert len(header) == 41 and row["RA"] == row["ra"] == "12.25" and row["vel_disp"] == row["vel disp"] == "241"
    assert row["Rein"] == row["z_central"] == row["mag_object_y"] == "-99"
    submission.verify(tmp_path / "b.csv", IDS)
    submission.verify(tmp_path / "b.csv", IDS, "extended")


def test_what_has_no_score_is_not_classed_in_silence(tmp_path: Path) -> None:
    some = {"object_00000": 1, "object_00002": 0}
    with pytest.raises(UserError, match="1 of 3 objects have no prediction: object_00001"):
        submission.write(tmp_path / "a.csv", IDS, some)
    assert not (tmp_path / "a.csv").exists()
    summary = submission.write(tmp_path / "a.csv", IDS, some, unscored=0)
    assert summary.unscored == 1 and lines(tmp_path / "a.csv")[2][:2] == ["object_00001", "0"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": [*IDS, IDS[0]]}, "listed twice"),
        ({"preds": {**PREDS, "object_00009": 1}}, "not asked for: object_00009"),
        ({"preds": {**PREDS, "object_00001": 0.7}}, "object_00001 is neither 0 nor 1"),
        ({"values": {"object_00001": {"radius": 1.0}}}, "radius are no columns"),
        ({"columns": "wide"}, "standard or extended"),
    ],
)
def test_what_cannot_be_handed_in_is_refused_and_nothing_written(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    arguments: dict[str, object] = {"ids": IDS, "preds": PREDS, **change}
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(UserError, match=said):
        submission.write(tmp_path / "a.csv", **arguments)  # type: ignore[arg-type]
    assert (tmp_path / "a.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("object_00001,0", "object_00000,0", "several rows of object_00000"),
        ("object_00001,0", "object_00007,0", "lacks 1 of 3 objects: object_00001"),
        ("object_00001,0", "object_00001,", "class ''"),
        ("id,preds", "preds,id", "32 columns"),
        ("-999\nobject_00002", "nan\nobject_00002", "no finite number in column n_s_sers"),
        ("-999\nobject_00002", "-999,1\nobject_00002", "33 fields"),
    ],
)
def test_a_spoilt_submission_is_noticed(tmp_path: Path, old: str, new: str, said: str) -> None:
    submission.write(tmp_path / "a.csv", IDS, PREDS)
    text = (tmp_path / "a.csv").read_text()
    assert old in text
    (tmp_path / "a.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=said):
        submission.verify(tmp_path / "a.csv", IDS)
