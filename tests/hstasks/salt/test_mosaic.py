from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base.errors import UserError
from hstasks.images import split as splits
from hstasks.salt import catalog, mosaic, sample, split
from hstasks.salt.jigsaw import Borders, Link, border_lines, chained, links
from hstasks.salt.params import Data, DataParams, Split
from hstasks.salt.sections import section

PARAMS = DataParams()


def cut(image, side=101):
    rows, columns = (length // side for length in image.shape)
    places = [(row, column) for row in range(rows) for column in range(columns)]
    return places, [image[r * side : (r + 1) * side, c * side : (c + 1) * side].astype(int) for r, c in places]


def borders_of(tiles):
    return Borders(*(np.stack(lines).astype(float) for lines in zip(*map(border_lines, tiles), strict=True)))


def test_a_section_that_was_cut_is_put_together_again():
    image, _ = section(np.random.Generator(np.random.PCG64(5)), 4 * 101, 5 * 101)
    places, tiles = cut(image)
    order = np.random.default_rng(0).permutation(len(tiles))
    found = chained(len(tiles), links(borders_of([tiles[place] for place in order]), 10.0, 0.25))
    assert set(found.mosaic) == {0}
    assert not found.refused
    assert [(found.row[tile], found.column[tile]) for tile in range(20)] == [places[place] for place in order]


def test_black_tiles_and_doubles_touch_nothing():
    image, _ = section(np.random.Generator(np.random.PCG64(5)), 101, 303)
    tiles = [*cut(image)[1], np.zeros((101, 101), dtype=int), np.zeros((101, 101), dtype=int)]
    pairs = {(link.first, link.second) for link in links(borders_of(tiles), 10.0, 0.25)}
    assert pairs == {(0, 1), (1, 2)}
    # Two that continue it equally well: none is clearly the neighbour.
    pairs = {(link.first, link.second) for link in links(borders_of([*tiles, tiles[1]]), 10.0, 0.25)}
    assert pairs == set()


def test_blocks_of_tiles_find_what_all_at_once_find(monkeypatch):
    random = np.random.default_rng(1)
    lines = [random.normal(size=(70, 30)) for _ in range(4)]
    lines[1][:35] = lines[0][35:] + 0.2 * random.normal(size=(35, 30))
    whole = links(Borders(*lines), 10.0, 0.25)
    assert len(whole) >= 30
    for size in (1, 8, 69):
        monkeypatch.setattr("hstasks.salt.jigsaw._BLOCK", size)
        assert links(Borders(*lines), 10.0, 0.25) == whole


def test_a_link_that_contradicts_nearer_ones_is_refused():
    found = [Link(0, 1, False, 1.0), Link(0, 2, False, 2.0), Link(1, 0, False, 3.0), Link(1, 2, True, 4.0)]
    placed = chained(4, found)
    assert placed.refused == [found[1], found[2]]
    assert list(zip(placed.mosaic, placed.row, placed.column, strict=True)) == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 1),
        (3, 0, 0),
    ]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.booleans()), max_size=40))
def test_no_two_tiles_of_a_mosaic_lie_in_one_place(pairs):
    found = [Link(a, b, below, float(gap)) for gap, (a, b, below) in enumerate(pairs) if a != b]
    placed = chained(9, found)
    assert len(set(zip(placed.mosaic, placed.row, placed.column, strict=True))) == 9
    for link in placed.used:
        step = (
            placed.row[link.second] - placed.row[link.first],
            placed.column[link.second] - placed.column[link.first],
        )
        assert placed.mosaic[link.first] == placed.mosaic[link.second]
        assert step == ((1, 0) if link.below else (0, 1))
    assert len(placed.used) + len(placed.refused) == len(found)


def test_mosaics_of_the_sample_tiles_are_the_sections_they_were_cut_from(project):
    catalog.run(PARAMS)
    summary = mosaic.run(PARAMS)
    frame = mosaic.load()
    made = {tile.id: tile for tile in sample.tiles(40, 12, 3)}
    true = {(tile.section, tile.row, tile.column): tile.id for tile in made.values() if tile.image.any()}
    right = 0
    for row in frame.itertuples():
        tile = made[row.id]
        for name, step in (("right", (0, 1)), ("below", (1, 0))):
            expected = true.get((tile.section, tile.row + step[0], tile.column + step[1]), "")
            right += bool(expected) and getattr(row, name) == expected
    assert right >= 10
    assert summary.pairs - right <= 1
    in_mosaics = frame[frame["group"] != ""]
    assert summary.placed == len(in_mosaics)
    assert (in_mosaics["group"].map(frame.groupby("group")["id"].min()) == in_mosaics["group"]).all()


def test_the_split_keeps_mosaics_together_and_random_says_that_it_does_not(project):
    catalog.run(PARAMS)
    mosaic.run(PARAMS)
    summary = split.run(PARAMS)
    decision = splits.load()
    assert decision == summary.decision
    frame = split.labelled(PARAMS.split)
    splits.check(frame, decision.held_out, decision.train)
    assert len(decision.folds) == 40
    random = split.run(DataParams(split=Split(strategy="random", seed=42)))
    assert "have others of their group in training" in str(random)
    by_depth = split.labelled(Split(stratify="depth"))
    assert sorted(set(by_depth["stratum"])) == [str(number) for number in range(10)]


def test_what_is_missing_is_named(project):
    with pytest.raises(UserError, match="There is no catalog"):
        mosaic.run(PARAMS)
    catalog.run(PARAMS)
    with pytest.raises(UserError, match="hstasks mosaic"):
        split.run(PARAMS)
    mosaic.run(PARAMS)
    text = mosaic.PATH.read_text().splitlines()
    mosaic.PATH.write_text("\n".join(text[:5]) + "\n")
    with pytest.raises(UserError, match="does not have"):
        split.run(PARAMS)
    mosaic.PATH.write_text("id\n")
    with pytest.raises(UserError, match=r"mosaic\.csv cannot be used"):
        split.run(PARAMS)
    assert not Path("derived/split").exists()


def test_real_tiles_that_touch_are_found_and_kept_together(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = DataParams(data=Data(root=str(shared / "data" / "salt-mini")))
    catalog.run(params)
    summary = mosaic.run(params)
    assert 20 <= summary.pairs <= 40
    decision = split.run(params).decision
    neighbours = mosaic.load().query("group == '00a3af90ab'")["id"]
    assert list(neighbours) == ["00a3af90ab", "9347c39706"]
    assert len({decision.folds[name] for name in neighbours if name in decision.folds}) == 1
    for counts in decision.strata.values():
        assert max(counts) - min(counts) <= 2
