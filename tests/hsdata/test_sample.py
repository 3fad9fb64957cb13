import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsdata import catalog, region, sample
from hsdata.camera import camera
from hsdata.formats import hdf5, image, mosaic
from hsdata.scenes import painting
from hsengine.base.errors import UserError

SMALL = {"size": 16, "train": 9, "test_public": 4, "test_private": 2, "workers": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "data"
    sample.make(root, **SMALL)
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.parent.is_symlink()
    }


def test_two_runs_give_the_same_bytes_however_many_work(tmp_path: Path, made: Path) -> None:
    sample.make(tmp_path / "again", **{**SMALL, "workers": 2})
    assert content_of(tmp_path / "again") == content_of(made)


def test_another_seed_gives_other_scenes(tmp_path: Path, made: Path) -> None:
    sample.make(tmp_path / "other", **SMALL, seed=1)
    one, other = (next((root / "track2" / "train" / "hsi_61").iterdir()) for root in (made, tmp_path / "other"))
    assert one.read_bytes() != other.read_bytes()


def test_the_bytes_are_those_of_every_other_machine(made: Path) -> None:
    """If a change of the scenes is meant, the recorded hash of the sample data changes with this one."""
    cube = hdf5.read(sorted((made / "track2" / "train" / "hsi_61").iterdir())[0])
    levels = np.rint(cube.values / sample.STEP).astype("<u2")
    assert hashlib.blake2b(levels.tobytes(), digest_size=8).hexdigest() == "f093f385b66b5c6d"
    files = hashlib.blake2b(digest_size=8)
    for name, content in content_of(made).items():
        if not name.endswith(".h5"):
            files.update(name.encode() + content)
    assert files.hexdigest() == "ee3c924ce123438c"


def test_last_bits_of_a_processor_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = painting.planes
    noise = np.random.default_rng(0)

    def shaken(layers: list[painting.Layer]):
        for plane in exact(layers):
            yield plane * (1.0 + 1e-14 * noise.standard_normal(plane.shape))

    photograph = sample.plan({"train": 3}, 0)[0]
    before = sample.cube_of(photograph, 32, 0)
    monkeypatch.setattr(painting, "planes", shaken)
    np.testing.assert_array_equal(sample.cube_of(photograph, 32, 0).values, before.values)


@pytest.mark.parametrize("track", [1, 2])
def test_the_layout_is_complete_and_sound(made: Path, track: int) -> None:
    frame = catalog.make(made, track, workers=1)
    assert not frame.attrs["problems"]
    assert frame["split"].value_counts().to_dict() == {"train": 9, "test-public": 4, "test-private": 2}
    assert frame["id"].str.fullmatch(r"Category-[1-4]_a_\d{4}").all()
    assert (frame["below"] + frame["above"]).sum() == 0
    assert (frame["group"] != "").all()
    assert (frame["cube"] != "").tolist() == (frame["split"] != "test-private").tolist()
    link = made / "track1" / "train" / "hsi_61"
    assert link.is_symlink() and not link.readlink().is_absolute()
    assert not (made / "track2" / "test-private" / "hsi_61").exists()


def test_no_object_is_in_two_splits_and_categories_1_and_3_repeat_theirs() -> None:
    plan = sample.plan({"train": 24, "test-public": 6, "test-private": 3}, 0)
    frame = pd.DataFrame([{"id": s.id, "group": s.group, "split": s.split, "category": s.category} for s in plan])
    assert frame["id"].is_unique
    assert (frame.groupby("group")["split"].nunique() == 1).all()
    train = frame[frame["split"] == "train"]
    assert train["category"].value_counts().to_dict() == {3: 8, 1: 7, 2: 5, 4: 4}
    poses = train.groupby("category")["id"].nunique() / train.groupby("category")["group"].nunique()
    assert poses[[1, 3]].min() > 3.0
    assert (poses[[2, 4]] == 1.0).all()


@pytest.mark.parametrize("count", [0, 1, 2, 5, 167, 1000])
def test_shares_add_up(count: int) -> None:
    plan = sample.plan({"train": count}, 0)
    assert len(plan) == len({s.id for s in plan}) == count


def test_the_challenges_own_numbers_come_out_at_its_size() -> None:
    categories = [s.category for s in sample.plan({"train": 167}, 0)]
    assert {category: categories.count(category) for category in (1, 2, 3, 4)} == sample.PROPORTIONS


def test_inputs_go_with_their_cubes(made: Path) -> None:
    for path in sorted((made / "track2" / "test-public" / "hsi_61").iterdir()):
        cube = hdf5.read(path)
        picture = image.read(made / "track2" / "test-public" / "rgb_2" / f"{path.stem}.png")
        np.testing.assert_allclose(picture, camera.rgb_2(cube), atol=0.5 / 255 + 1e-6)
        plane = mosaic.read(made / "track1" / "test-public" / "mosaic" / f"{path.stem}.npy")
        np.testing.assert_allclose(plane, camera.mosaic(cube), atol=0.5 / 4095 + 1e-6)


def test_values_are_positive_steps_up_to_1(made: Path) -> None:
    for path in (made / "track2" / "train" / "hsi_61").iterdir():
        values = hdf5.read(path).values
        assert values.min() >= sample.STEP
        assert values.max() <= 1.0
        np.testing.assert_array_equal(values, np.rint(values / sample.STEP) * sample.STEP)


def test_every_scene_has_an_object_a_rail_and_a_background() -> None:
    for photograph in sample.plan({"train": 8}, 0):
        cube = sample.cube_of(photograph, 64, 0)
        shares = {name: mask.mean() for name, mask in region.regions(cube.values, cube.wavelengths).items()}
        assert shares["object"] > 0.08
        assert 0.03 < shares["rail"] < 0.2
        assert shares["background"] > 0.3


def test_the_stripes_are_the_same_in_every_image() -> None:
    pattern = sample.stripes(32, 0)
    assert np.abs(pattern).max() <= sample.STRIPES
    for photograph in sample.plan({"train": 4}, 0)[:3]:
        values = sample.cube_of(photograph, 32, 0).values
        # The wall above the rail is smooth: what is left after taking out its slope is the pattern.
        wall = values[:, :2].mean(axis=1)
        spectrum = wall.mean(axis=1, keepdims=True)
        left = wall - spectrum * (wall.mean(axis=0) / spectrum.mean())
        assert np.corrcoef(left.ravel(), pattern.ravel())[0, 1] > 0.9


def test_a_folder_with_content_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds mine\.txt already"):
        sample.make(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_force_keeps_what_it_does_not_make_and_says_so(tmp_path: Path) -> None:
    few = {**SMALL, "train": 1, "test_public": 0, "test_private": 0}
    sample.make(tmp_path / "data", **few)
    stray = tmp_path / "data" / "track2" / "train" / "rgb_2" / "Category-9_a_0000.png"
    image.write(stray, np.zeros((3, 8, 8), np.uint8))
    summary = sample.make(tmp_path / "data", **few, force=True)
    assert stray.exists()
    assert summary.others == 1
    assert "1 other file" in str(summary)


def test_links_can_be_left_out(tmp_path: Path) -> None:
    sample.make(tmp_path / "data", **{**SMALL, "train": 1}, link=False)
    assert not (tmp_path / "data" / "track1" / "train" / "hsi_61").exists()
    assert len(catalog.make(tmp_path / "data", 1, workers=1)) == 7


def test_cubes_can_be_compressed(tmp_path: Path) -> None:
    few = {**SMALL, "train": 1, "test_public": 0, "test_private": 0}
    sample.make(tmp_path / "plain", **few)
    sample.make(tmp_path / "small", **few, compress=True)
    plain, small = (next((tmp_path / name / "track2" / "train" / "hsi_61").iterdir()) for name in ("plain", "small"))
    assert small.stat().st_size < plain.stat().st_size
    np.testing.assert_array_equal(hdf5.read(small).values, hdf5.read(plain).values)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 17}, "size is 17"),
        ({"size": 8}, "size is 8"),
        ({"train": 0}, "at least one"),
        ({"seed": -1}, "seed"),
        ({"test_public": -1}, "none below 0"),
    ],
)
def test_impossible_wishes_are_named(tmp_path: Path, wrong: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        sample.make(tmp_path / "data", **{**SMALL, **wrong})
    assert not (tmp_path / "data").exists()


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="name another place"):
        sample.make(tmp_path / "data", **SMALL)
