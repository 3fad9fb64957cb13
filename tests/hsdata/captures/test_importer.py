import contextlib
import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from hsdata import BAND_GRID, Cube, catalog, open_cube
from hsdata.camera import camera
from hsdata.captures import importer
from hsdata.captures.importer import Options, import_cubes
from hsdata.formats import envi, hdf5, image, mosaic
from hsengine.base.errors import UserError

CENTRES = np.arange(380.0, 1021.0, 8.0)


def scene(seed: int, height: int = 16, width: int = 18) -> np.ndarray:
    """(bands, height, width) reflectance."""
    generator = np.random.default_rng(seed)
    return (generator.uniform(0.1, 0.8, (height, width)) * np.linspace(0.5, 1, len(CENTRES))[:, None, None]).astype(
        np.float32
    )


def capture(folder: Path, name: str = "scene", seed: int = 0, height: int = 16, width: int = 18) -> Path:
    return envi.write(folder / f"{name}.hdr", Cube(scene(seed, height, width), CENTRES))[0]


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_capture_becomes_a_sound_sample_of_both_tracks(tmp_path: Path) -> None:
    done = import_cubes([capture(tmp_path)], tmp_path / "data", Options(category=3))
    (sample,) = done.samples
    assert sample.id == "Category-3_a_0000"
    assert (sample.height, sample.width) == (16, 18)
    for track in (1, 2):
        frame = catalog.make(tmp_path / "data", track, workers=1)
        assert frame["id"].tolist() == [sample.id]
        assert frame["group"].tolist() == ["scene"]
    cube = open_cube(tmp_path / "data/track2/train/hsi_61/Category-3_a_0000.h5")
    assert cube.on_grid()
    expected = Cube(scene(0), CENTRES).resampled().values
    np.testing.assert_allclose(cube.values, expected, atol=1e-6)


def test_the_inputs_are_what_the_camera_sees(tmp_path: Path) -> None:
    import_cubes([capture(tmp_path)], tmp_path / "data")
    train = {track: tmp_path / f"data/track{track}/train" for track in (1, 2)}
    cube = open_cube(train[2] / "hsi_61/Category-1_a_0000.h5")
    np.testing.assert_array_equal(mosaic.read(train[1] / "mosaic/Category-1_a_0000.npy"), camera.mosaic(cube))
    for name, seen in (("rgb_2", camera.rgb_2(cube)), ("rgb_full", camera.rgb_full(cube))):
        stored = image.read(train[2] / name / "Category-1_a_0000.png")
        assert stored.shape == seen.shape
        assert np.abs(stored - seen).max() <= 0.5 / 255 + 1e-6


def test_another_camera_makes_other_inputs(tmp_path: Path) -> None:
    table = tmp_path / "camera.csv"
    table.write_text(
        "wavelength,r,g,b\n" + "".join(f"{w},{w > 600:d},{500 < w <= 600:d},{w <= 500:d}\n" for w in range(400, 701, 5))
    )
    import_cubes([capture(tmp_path)], tmp_path / "a")
    import_cubes([capture(tmp_path)], tmp_path / "b", Options(camera=str(table)))
    place = "track2/train/rgb_2/Category-1_a_0000.png"
    assert (tmp_path / "a" / place).read_bytes() != (tmp_path / "b" / place).read_bytes()


def test_tiles_are_parts_of_the_whole_in_one_group(tmp_path: Path) -> None:
    source = capture(tmp_path, height=20, width=17)
    done = import_cubes([source], tmp_path / "data", Options(tile=8))
    assert [(s.top, s.left) for s in done.samples] == [(0, 0), (0, 8), (8, 0), (8, 8)]
    assert "84 pixels beyond the last whole tiles left out" in str(done)
    import_cubes([source], tmp_path / "whole")
    whole = open_cube(tmp_path / "whole/track2/train/hsi_61/Category-1_a_0000.h5").values
    for sample in done.samples:
        tile = open_cube(tmp_path / f"data/track2/train/hsi_61/{sample.id}.h5").values
        part = whole[:, sample.top : sample.top + 8, sample.left : sample.left + 8]
        np.testing.assert_allclose(tile, part, atol=1e-6)
    assert set(catalog.make(tmp_path / "data", 2, workers=1)["group"]) == {"scene"}


def test_odd_sizes_are_cut_and_it_is_said(tmp_path: Path) -> None:
    done = import_cubes([capture(tmp_path, height=15, width=13)], tmp_path / "data")
    assert (done.samples[0].height, done.samples[0].width) == (14, 12)
    assert "the last line and the last column left out" in str(done)


def test_numbers_go_on_after_those_that_exist(tmp_path: Path) -> None:
    import_cubes([capture(tmp_path, "a", 0)], tmp_path / "data")
    done = import_cubes([capture(tmp_path, "b", 1)], tmp_path / "data", Options(split="test-public"))
    other = import_cubes([capture(tmp_path, "c", 2)], tmp_path / "data", Options(category=2))
    assert [s.id for s in (*done.samples, *other.samples)] == ["Category-1_a_0001", "Category-2_a_0000"]
    assert (tmp_path / "data/track2/test-public/hsi_61/Category-1_a_0001.h5").is_file()


def test_a_second_import_of_the_same_changes_nothing(tmp_path: Path) -> None:
    source = capture(tmp_path)
    import_cubes([source], tmp_path / "data", Options(tile=8))
    before = content(tmp_path / "data")
    again = import_cubes([source, source.with_suffix(".img")], tmp_path / "data", Options(tile=8))
    assert not again.samples
    assert "imported already, as Category-1_a_0000" in str(again)
    assert content(tmp_path / "data") == before


def test_an_interrupted_import_is_completed_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [capture(tmp_path, "a", 0), capture(tmp_path, "b", 1)]
    import_cubes(sources, tmp_path / "undisturbed", Options(tile=8))
    write = hdf5.write
    left = [5]

    def failing(path: Path, cube: Cube, **options: int) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, cube, **options)

    monkeypatch.setattr(hdf5, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        import_cubes(sources, tmp_path / "data", Options(tile=8))
    monkeypatch.undo()
    import_cubes(sources, tmp_path / "data", Options(tile=8))
    assert content(tmp_path / "data") == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["Category-1_a_0001.h5", "Category-1_a_0001.png", "imports.csv", "groups.csv"])
def test_what_could_not_be_written_is_written_by_the_next_import(tmp_path: Path, unwritable: Any, name: str) -> None:
    source = capture(tmp_path)
    import_cubes([source], tmp_path / "undisturbed", Options(tile=8))
    with unwritable(name):
        import_cubes([source], tmp_path / "data", Options(tile=8))
    import_cubes([source], tmp_path / "data", Options(tile=8))
    assert content(tmp_path / "data") == content(tmp_path / "undisturbed")


def test_a_private_split_gets_inputs_alone(tmp_path: Path) -> None:
    import_cubes([capture(tmp_path)], tmp_path / "data", Options(split="test-private"))
    made = {path.parent.name for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert made == {"mosaic", "rgb_2", "data"}


def test_one_track_alone_holds_its_own_cubes(tmp_path: Path) -> None:
    import_cubes([capture(tmp_path)], tmp_path / "data", Options(tracks=(1,)))
    assert not (tmp_path / "data/track2").exists()
    assert len(catalog.make(tmp_path / "data", 1, workers=1)) == 1


def test_a_track_with_its_own_folder_of_cubes_gets_its_own_copy(tmp_path: Path) -> None:
    import_cubes([capture(tmp_path, "a", 0)], tmp_path / "data", Options(tracks=(1,)))
    (tmp_path / "data/track2/train/hsi_61").mkdir(parents=True)
    import_cubes([capture(tmp_path, "b", 1)], tmp_path / "data")
    for track in (1, 2):
        assert (tmp_path / f"data/track{track}/train/hsi_61/Category-1_a_0001.h5").is_file()


def test_tracks_that_share_cubes_must_both_get_inputs(tmp_path: Path) -> None:
    import_cubes([capture(tmp_path, "a", 0)], tmp_path / "data")
    for track in (1, 2):
        with pytest.raises(UserError, match="share the cubes of train: import for both"):
            import_cubes([capture(tmp_path, "b", 1)], tmp_path / "data", Options(tracks=(track,)))


def test_existing_groups_stay(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/groups.csv").write_text("id,group,remark\nx,old,kept\n")
    import_cubes([capture(tmp_path)], tmp_path / "data", Options(group="mine"))
    with (tmp_path / "data/groups.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"id": "x", "group": "old", "remark": "kept"}
    assert rows[1]["group"] == "mine"


def test_a_folder_stands_for_its_captures(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    capture(folder, "a", 0)
    scipy.io.savemat(folder / "b.mat", {"data": np.moveaxis(scene(1), 0, 2), "wavelengths": CENTRES})
    np.save(folder / "c.npy", scene(2))
    np.save(folder / "c_wavelengths.npy", CENTRES)
    with h5py.File(folder / "d.h5", "w") as file:
        file["scene/radiance"] = scene(3)
        file["scene/wl"] = CENTRES
    done = import_cubes([folder], tmp_path / "data")
    assert [Path(s.source).name for s in done.samples] == ["a.hdr", "b.mat", "c.npy", "d.h5"]


def test_wavelengths_axes_and_masks_can_be_given(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", scene(0, len(CENTRES), 18))
    (tmp_path / "list.txt").write_text("\n".join(f"{w / 1000}" for w in CENTRES))
    np.save(tmp_path / "valid.npy", np.arange(len(CENTRES) * 18).reshape(-1, 18) > 5)
    options = Options(
        wavelengths=str(tmp_path / "list.txt"), axes="bands,height,width", mask=str(tmp_path / "valid.npy")
    )
    done = import_cubes([tmp_path / "a.npy"], tmp_path / "data", options)
    assert done.samples[0].invalid == 6
    cube = open_cube(tmp_path / "data/track2/train/hsi_61/Category-1_a_0000.h5")
    assert cube.mask is not None
    assert int((~cube.mask).sum()) == 6
    Image.fromarray(np.full((4, 4, 3), 255, np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(UserError, match=r"small\.png has shape \(4, 4\)"):
        import_cubes([capture(tmp_path)], tmp_path / "data", Options(mask=str(tmp_path / "small.png")))


def test_references_are_files_too(tmp_path: Path) -> None:
    counts = Cube((scene(0) * 2000 + 100).astype(np.float32), CENTRES)
    white = Cube(np.full((len(CENTRES), 2, 18), 2100, np.float32), CENTRES)
    dark = Cube(np.full((len(CENTRES), 2, 18), 100, np.float32), CENTRES)
    for name, cube in (("raw", counts), ("white", white), ("dark", dark)):
        envi.write(tmp_path / f"{name}.hdr", cube)
    options = Options(white=str(tmp_path / "white.hdr"), dark=str(tmp_path / "dark.hdr"))
    done = import_cubes([tmp_path / "raw.hdr"], tmp_path / "data", options)
    assert "white reference" in done.samples[0].scale
    cube = open_cube(tmp_path / "data/track2/train/hsi_61/Category-1_a_0000.h5")
    np.testing.assert_allclose(cube.values, Cube(scene(0), CENTRES).resampled().values, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": "training"},
        {"tracks": (3,)},
        {"tracks": ()},
        {"category": 0},
        {"fwhm": 0.0},
        {"resample": "cubic"},
        {"tile": 9},
        {"tile": 4},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Options(**wrong)  # type: ignore[arg-type]


def test_what_cannot_be_imported_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    narrow = CENTRES <= 900
    envi.write(tmp_path / "narrow.hdr", Cube(scene(0)[narrow], CENTRES[narrow]))
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "narrow.hdr", r"narrow.*were measured"),
        (tmp_path / "empty", "holds no capture"),
        (tmp_path / "none.mat", "no cube at"),
        (tmp_path / "none.doc", "no reader"),
    ):
        with pytest.raises(UserError, match=message):
            import_cubes([source], tmp_path / "data")
    with pytest.raises(UserError, match="no tile of 32 fits"):
        import_cubes([capture(tmp_path)], tmp_path / "data", Options(tile=32))
    with pytest.raises(UserError, match="at least one"):
        import_cubes([], tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -1.0])
def test_bands_of_unknown_wavelength_are_left_out_and_counted(tmp_path: Path, unknown: float) -> None:
    data, centres = np.moveaxis(scene(0), 0, 2).astype(np.float64), CENTRES.copy()
    data[:, :, [20, 41]], centres[[20, 41]] = 0.999, unknown
    scipy.io.savemat(tmp_path / "some.mat", {"data": data, "wl": centres})
    done = import_cubes([tmp_path / "some.mat"], tmp_path / "data", Options(scale=1.0))
    assert "2 of 81 bands left out, whose wavelengths are not finite" in str(done)
    assert "averaged" not in str(done)
    assert "79 bands to 61" in done.samples[0].notes
    stored = open_cube(tmp_path / "data/track2/train/hsi_61/Category-1_a_0000.h5").values
    np.testing.assert_allclose(stored, Cube(scene(0), CENTRES).resampled().values, atol=1e-6)
    scipy.io.savemat(tmp_path / "all.mat", {"data": data, "wl": np.full_like(centres, unknown)})
    with pytest.raises(UserError, match=r"all\.mat: none of its 81 wavelengths"):
        import_cubes([tmp_path / "all.mat"], tmp_path / "data", Options(scale=1.0))


def test_extrapolation_is_said(tmp_path: Path) -> None:
    narrow = CENTRES <= 900
    envi.write(tmp_path / "narrow.hdr", Cube(scene(0)[narrow], CENTRES[narrow]))
    done = import_cubes([tmp_path / "narrow.hdr"], tmp_path / "data", Options(extrapolate=True))
    assert "held the end values beyond 396 to 900 nm" in str(done)


def test_a_tile_without_data_is_left_out(tmp_path: Path) -> None:
    mask = np.ones((16, 18), dtype=bool)
    mask[:8, :8] = False
    envi.write(tmp_path / "a.hdr", Cube(scene(0), CENTRES, mask=mask))
    done = import_cubes([tmp_path / "a.hdr"], tmp_path / "data", Options(tile=8))
    assert len(done.samples) == 3
    assert "the tile at (0, 0) has no pixel with data" in str(done)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/imports.csv").write_text("id,split\nx,train\n")
    with pytest.raises(UserError, match=r"imports\.csv is damaged"):
        import_cubes([capture(tmp_path)], tmp_path / "data")


def test_the_real_captures_go_through(shared: Path, tmp_path: Path) -> None:
    sensors = shared / "data/sensors"
    done = importer.import_cubes([sensors / name for name in ("aviris", "muufl", "corn")], tmp_path / "data")
    by_name = {Path(sample.source).name: sample for sample in done.samples}
    aviris = by_name["a_hsi_img_for_VI_demo.mat"]
    assert aviris.scale.startswith("10000")
    assert "wavelengths put in order" in aviris.notes
    muufl = by_name["an_hsi_image_sub_for_demo.mat"]
    assert (muufl.height, muufl.width) == (50, 88)
    assert muufl.invalid == 552
    assert by_name["an_hsi_img_for_tgt_det_demo.mat"].below > 0
    corn = by_name["corn-kernel-hyperspectral.hdr"]
    assert (corn.height, corn.width) == (30, 42)
    assert "raw counts" in corn.scale
    frame = catalog.make(tmp_path / "data", 2, workers=1)
    assert len(frame) == 4
    assert (frame["below"] == 0).all()
    for path in frame["cube"]:
        assert np.array_equal(open_cube(path).wavelengths, BAND_GRID)


def test_an_airborne_capture_agrees_with_its_own_bands(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/sensors/aviris/a_hsi_img_for_VI_demo.mat"
    import_cubes([source], tmp_path / "data")
    raw = scipy.io.loadmat(source)
    found = open_cube(tmp_path / "data/track2/train/hsi_61/Category-1_a_0000.h5").values
    centres = raw["wavelengths"].ravel()
    # The bands of two detectors overlap here and there: the nearest band is close, not equal.
    nearest = [int(np.abs(centres - wavelength).argmin()) for wavelength in BAND_GRID]
    expected = np.moveaxis(raw["hsi_img"], 2, 0)[nearest] / 10000.0
    assert np.abs(found - expected).mean() < 0.01


def test_a_cube_at_a_url_is_imported(tmp_path: Path) -> None:
    hdf5.write(tmp_path / "a.h5", Cube(scene(0), CENTRES))
    with fsspec.open("memory://import/a.h5", "wb") as stream:
        stream.write((tmp_path / "a.h5").read_bytes())
    done = import_cubes(["memory://import/a.h5"], tmp_path / "data")
    assert done.samples[0].source == "memory://import/a.h5"
    assert not import_cubes(["memory://import/a.h5"], tmp_path / "data").samples


IMPORT = """
import sys
from hsdata.captures.importer import Options, import_cubes
if __name__ == "__main__":
    import_cubes([sys.argv[1]], sys.argv[2], Options(tile=8))
"""


def test_two_imports_at_once_give_what_one_after_the_other_gives(tmp_path: Path) -> None:
    captures = [capture(tmp_path, f"scene-{seed}", seed, height=24, width=24) for seed in range(2)]
    together, apart = tmp_path / "together", tmp_path / "apart"
    runs = [subprocess.Popen([sys.executable, "-c", IMPORT, str(path), str(together)]) for path in captures]
    assert [run.wait() for run in runs] == [0, 0]
    first = next(csv.DictReader((together / "imports.csv").open()))["source"]
    for path in sorted(captures, key=lambda path: str(path) != first):
        import_cubes([path], apart, Options(tile=8))
    assert content(together) == content(apart)


@pytest.mark.parametrize(
    "text", ["id,group\nx,old,\n", "# mine\nid,group\nx,old\n", "id;group\nx;old\n", "id,group\nx,old\n"]
)
def test_a_table_of_groups_is_appended_to_or_left_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/groups.csv").write_text(text)
    with contextlib.suppress(UserError):
        import_cubes([capture(tmp_path)], tmp_path / "data")
    now = (tmp_path / "data/groups.csv").read_text()
    assert now == text if (tmp_path / "data/track2").exists() is False else now == text + "Category-1_a_0000,scene\n"
