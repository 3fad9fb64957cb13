from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.lenses import catalog, split
from hstasks.lenses.params import LensSections, Split

Maker = Callable[..., LensSections]


def made_up(groups: list[int]) -> pd.DataFrame:
    count = len(groups)
    frame = pd.DataFrame({name: [""] * count for name in catalog.COLUMNS})
    ids = [f"D1_L_{index:08d}" for index in range(count)]
    frame = frame.assign(id=ids, bands="grizy", content=ids, group=groups, sky=groups, host=range(count))
    return frame.assign(
        domain=["slsim" if index % 4 < 2 else "hsc" for index in range(count)], label=np.arange(count) % 2
    )


@settings(max_examples=20)
@given(st.lists(st.integers(0, 25), min_size=30, max_size=120), st.integers(0, 5))
def test_no_group_is_in_two_parts_and_every_object_in_one(groups: list[int], seed: int) -> None:
    frame = made_up([*groups, 100, 101, 102])
    decision = split.decide(frame, Split(seed=seed))
    part = decision.rows.set_index("id")["part"]
    assert set(part.index) == set(frame["id"]) and set(part) == set(split.PARTS)
    assert frame.assign(part=frame["id"].map(part)).groupby("group")["part"].nunique().max() == 1
    assert decision.sisters == {"val": 0.0, "test": 0.0}
    shuffled = split.decide(frame.sample(frac=1.0, random_state=seed), Split(seed=seed))
    assert shuffled.hash == decision.hash


def test_domains_and_labels_are_spread_evenly() -> None:
    decision = split.decide(made_up(list(range(400))), Split())
    assert decision.strata == {
        name: {"train": 70, "val": 15, "test": 15} for name in ("hsc_0", "hsc_1", "slsim_0", "slsim_1")
    }
    assert split.decide(made_up(list(range(400))), Split(seed=1)).hash != decision.hash


def test_the_published_split_says_how_much_it_leaks() -> None:
    frame = made_up(list(range(400)))
    decision = split.decide(frame, Split(strategy="published"))
    counts = decision.rows["part"].value_counts()
    assert dict(counts) == {"train": 1400, "val": 300, "test": 300}
    assert 0.97 < decision.sisters["test"] <= 1.0
    assert f"{decision.sisters['test']:.1%} of the test files" in decision.reasons[0]
    assert len(decision.files("test", frame)) == 300
    with pytest.raises(UserError, match="divides objects into files"):
        decision.ids("test")


def test_a_split_of_ones_own_is_taken_unless_it_leaks(tmp_path: Path) -> None:
    frame = made_up([0, 0, 1, 2, 3])
    path = tmp_path / "own.csv"
    parts = dict(zip(frame["id"], ["train", "train", "val", "test", "test"], strict=True))
    section = Split(strategy="file", path=str(path))

    def written(**changes: str) -> None:
        lines = [f"{name},{part}" for name, part in {**parts, **changes}.items()]
        path.write_text("\n".join(["id,part", *lines]))

    written()
    assert split.decide(frame, section).ids("test") == ["D1_L_00000003", "D1_L_00000004"]
    written(D1_L_00000001="test")
    with pytest.raises(UserError, match=r"leaks.*\n.*D1_L_00000001"):
        split.decide(frame, section)
    written(D1_L_00000001="val")
    with pytest.raises(UserError, match="leaks"):
        split.decide(frame, section)
    written(D1_L_00000009="val")
    with pytest.raises(UserError, match="does not have with a label: D1_L_00000009"):
        split.decide(frame, section)
    written(D1_L_00000002="dev")
    with pytest.raises(UserError, match="parts dev"):
        split.decide(frame, section)


def test_a_split_survives_its_files_and_notices_edits(release: Maker, tmp_path: Path) -> None:
    params = release(objects=8)
    catalog.run(params, out=tmp_path / "catalog.csv")
    summary = split.run(params, catalog=tmp_path / "catalog.csv", out=tmp_path / "split.csv")
    decision = split.load(tmp_path / "split.csv")
    assert decision.hash == summary.hash and sum(summary.counts.values()) == 32
    assert not any(name.startswith("object") for name in decision.rows["id"])
    text = (tmp_path / "split.csv").read_text()
    (tmp_path / "split.csv").write_text(text.replace("train", "test", 1))
    with pytest.raises(UserError, match="is not what"):
        split.load(tmp_path / "split.csv")
    with pytest.raises(UserError, match="no split"):
        split.load(tmp_path / "none.csv")


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(UserError, match="2 independent groups"):
        split.decide(made_up([0, 0, 1]), Split())
