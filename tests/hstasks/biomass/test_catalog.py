from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hstasks.biomass import catalog, sample, split
from hstasks.biomass.params import Catalog, Data, Params, Split
from hstasks.images import split as splits


def test_the_sample_is_the_same_to_the_byte(tmp_path: Path) -> None:
    for name in "ab":
        sample.run(tmp_path / name, groups=2, images=2, width=64)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_a_larger_sample_keeps_the_smaller_ones_images() -> None:
    few, many = sample.members(0, "Vic", 1, 2), sample.members(0, "Vic", 1, 5)
    assert many[:2] == few
    assert sample.picture(0, few[1], 64) == sample.picture(0, many[1], 64)


def test_test_images_have_no_metadata(project: Params) -> None:
    frame = catalog.load()
    test = frame[frame["split"] == "test"]
    assert len(test) == 12
    assert test["ndvi"].isna().all()
    assert (test["state"] == "").all()


def test_planted_faults_are_found(tmp_path: Path) -> None:
    sample.run(tmp_path / "data", groups=3, images=5, width=128, faults=True)
    params = Params(data=Data(root=str(tmp_path / "data")))
    with pytest.raises(UserError, match=r"Height_Ave_cm is 'nan'(.|\n)*no such file|no such file(.|\n)*'nan'"):
        catalog.make(params)
    frame = catalog.make(params.model_copy(update={"catalog": Catalog(unsound="drop")}))
    notes = "\n".join(frame.attrs["notes"])
    assert "the same image" in notes
    assert "near-duplicates" in notes
    assert "+0.300" in notes
    train = frame[frame["split"] == "train"].reset_index(drop=True)
    decision = split.decide(train, Split(folds=3))
    for _, part in train.groupby("near"):
        assert len({decision.folds[name] for name in part["id"]}) == 1


@pytest.mark.parametrize("kind", ["near", "content", "group"])
def test_a_leak_is_refused(project: Params, kind: str) -> None:
    rows, decision = split.training_rows(), splits.load()
    out = next(name for name, fold in decision.folds.items() if fold == 0)
    learn = next(name for name, fold in decision.folds.items() if fold != 0)
    value = rows.loc[rows["id"] == learn, kind].iloc[0]
    leaking = rows.assign(**{kind: rows[kind].where(rows["id"] != out, value)})
    with pytest.raises(UserError, match=out):
        split.held_out(leaking, decision, 0)


def test_folds_by_image_say_how_many_have_siblings_in_training(shared: Path) -> None:
    from hstasks.biomass import layout

    entries = layout.train_entries(shared / "data/biomass-mini/full/train.csv", Path("data"))
    rows = catalog.table_rows(entries)
    assert any("99.7%" in reason for reason in split.decide(rows, Split(strategy="image")).reasons)
    for strategy, column in (("group", "group"), ("state", "state")):
        decision = split.decide(rows, Split(strategy=strategy))
        assert split.siblings(rows, decision) == 0
        assert all(len({decision.folds[name] for name in part["id"]}) == 1 for _, part in rows.groupby(column))
