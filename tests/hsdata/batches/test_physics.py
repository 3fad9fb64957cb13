"""Changed cubes and their inputs stay a camera's pair, inside [0, 1], whatever is cut and turned."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsdata import catalog, convert, paths
from hsdata.batches import physics
from hsdata.batches.augment import draw
from hsdata.batches.dataset import CubeDataset
from hsdata.batches.physics import Physics
from hsdata.camera import camera
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import image, mosaic
from hsdata.params import Augment, DataParams
from hsdata.testing import data_folder, numbered, smooth_cube
from hsengine.base.errors import UserError

IDS = numbered(1, 3)
SIZE = 24
CHANGES = [{"light": 0.3}, {"mix": 0.8}, {"materials": 0.5}, {"light": 0.3, "mix": 0.8, "materials": 0.5}]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three samples of both tracks, with the cubes as training reads them, by track."""
    place = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(place)
    try:
        data_folder("data", {"train": IDS}, size=SIZE)
        rows = {}
        for track in (1, 2):
            params = DataParams.model_validate({"track": track, "convert": {"chunk": 8}})
            catalog.run(params, workers=1)
            convert.run(params, workers=1)
            rows[track] = catalog.load(paths.CATALOG).assign(
                input=lambda frame: [str(place / path) for path in frame["input"]]
            )
    finally:
        os.chdir(before)
    return place, rows


def dataset(project, track, **options):
    place, rows = project
    return CubeDataset(rows[track], track=track, zarr_root=place / paths.ZARR, seed=7, **options)


def rendered(track, cube):
    """What the data's files hold of a cube (bands, H, W)."""
    full = Cube(cube.numpy(), BAND_GRID, "")
    return camera.mosaic(full) if track == 1 else image.quantised(camera.rgb_2(full)) / np.float32(255.0)


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_camera_makes_the_input_of_the_changed_cube(project, track, change):
    samples = dataset(project, track, augment=Augment(flip=False, rot90=False, **change))
    plain = dataset(project, track)
    for epoch in range(4):
        for index in range(3):
            item = samples[epoch, index, 0]
            assert np.array_equal(item["input"], rendered(track, item["target"]))
            assert not torch.equal(item["target"], plain[index]["target"])
            assert float(item["target"].min()) >= 0.0 and float(item["target"].max()) <= 1.0


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_changes_commute_with_crops_flips_and_turns(project, track, change):
    still = dataset(project, track, augment=Augment(flip=False, rot90=False, **change))
    moving = dataset(project, track, augment=Augment(crop=8, flip=True, rot90=True, **change))
    for epoch in range(12):
        frame, item = still[epoch, 1, 0], moving[epoch, 1, 0]
        size = moving.frames[1]
        geometry = draw(moving.augment, IDS[1], size, seed=7, epoch=epoch, mosaic=track == 1).geometry
        for name, scale in (("input", 1), ("target", still.scale)):
            top, left, height, width = geometry.window(scale)
            window = frame[name].numpy()[:, top : top + height, left : left + width]
            assert np.array_equal(item[name], geometry.turn(window)), name
        # Means of four pixels may be summed in another order, nothing else differs.
        assert np.abs(item["input"].numpy() - rendered(track, item["target"])).max() <= 1.01 / 255.0


def test_materials_leave_the_visible_and_the_input_as_they_are(project):
    samples = dataset(project, 2, augment=Augment(flip=False, rot90=False, materials=0.5))
    item, plain = samples[3, 0, 0], dataset(project, 2)[0]
    seen = BAND_GRID <= 700
    assert torch.equal(item["input"], plain["input"])
    assert torch.equal(item["target"][seen], plain["target"][seen])
    ratio = item["target"][~seen] / plain["target"][~seen]
    assert 0.05 < float((ratio - 1.0).abs().max()) <= 0.5 + 1e-5
    # No step: neighbouring bands change alike.
    assert float(ratio.diff(dim=0).abs().max()) < 0.12


def test_the_light_is_one_smooth_curve_for_the_whole_scene(project):
    samples = dataset(project, 2, augment=Augment(flip=False, rot90=False, light=0.3))
    ratio = samples[1, 2, 0]["target"] / dataset(project, 2)[2]["target"]
    curve = ratio.mean(dim=(1, 2))
    torch.testing.assert_close(ratio, curve[:, None, None].expand_as(ratio), rtol=1e-5, atol=1e-6)
    assert float((curve - 1.0).abs().max()) <= 0.3 + 1e-6
    assert float(curve.diff().diff().abs().max()) < 0.002


def test_a_mixture_is_of_the_sample_and_one_other_of_its_pool(project):
    augment = Augment(flip=False, rot90=False, mix=1.0)
    samples, plain = dataset(project, 2, augment=augment, pools=[[0, 2], [1]]), dataset(project, 2)
    cubes = [plain[index]["target"] for index in range(3)]
    for epoch in range(4):
        partner = samples.physics.partner(draw_key(augment, IDS[0], epoch), 0)
        assert partner.place == 2
        item = samples[epoch, 0, 0]["target"]
        rows = (np.arange(SIZE) + int(partner.shift * 2 * SIZE)) % (2 * SIZE)
        other = torch.cat([cubes[2], cubes[2].flip(1)], dim=1)[:, rows]
        torch.testing.assert_close(item, torch.lerp(cubes[0], other, partner.share))
        assert torch.equal(samples[epoch, 1, 0]["target"], cubes[1])


def draw_key(augment, name, epoch):
    return draw(augment, name, (SIZE // 2, SIZE // 2), seed=7, epoch=epoch, mosaic=False).key


class Arrays:
    """Cubes of several shapes in memory."""

    def __init__(self, *shapes):
        self._cubes = [smooth_cube(number, *shape).values for number, shape in enumerate(shapes)]

    def cut(self, place, window):
        top, left, height, width = window
        return self._cubes[place][:, top : top + height, left : left + width]

    def size(self, place):
        return self._cubes[place].shape[1:]

    def greatest(self, place):
        return self._cubes[place].max(axis=(1, 2)).astype(np.float64)

    def like(self, values):
        return values

    array = like


@pytest.mark.parametrize("shape", [(6, 30), (30, 6), (5, 7), (40, 40)])
def test_partners_of_other_shapes_are_mirrored(shape):
    cubes = Arrays((16, 20), shape)
    made = Physics(Augment(light=0.3, mix=1.0, materials=0.5), BAND_GRID, "rgb_2", True, [[0, 1]])
    for seed in range(5):
        whole = made.changed((seed,), 0, (0, 0, 16, 20), cubes)
        part = made.changed((seed,), 0, (4, 6, 8, 10), cubes)
        assert np.array_equal(part, whole[:, 4:12, 6:16])
        assert whole.min() >= 0.0 and whole.max() <= 1.0
    assert physics._mirrored(np.arange(10), 4).tolist() == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1]


def test_without_these_changes_nothing_is_looked_at(project):
    assert dataset(project, 2, augment=Augment(noise=0.1)).physics is None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    most=st.floats(0.01, 0.9),
    peaks=st.lists(st.floats(0.0, 1.0), min_size=61, max_size=61),
)
def test_no_value_leaves_the_range_and_no_change_its_bound(seed, most, peaks):
    greatest = np.array(peaks)
    made = Physics(Augment(light=most, materials=most), BAND_GRID, "rgb_2", True, [])
    curves = [made.light((seed,), greatest, 1.0), *made.materials((seed,), greatest, 1.0)]
    for curve in curves:
        assert float(np.abs(curve).max()) <= most + 1e-5
        gains = (1.0 + curve).astype(np.float32)
        assert float((greatest.astype(np.float32) * gains).max()) <= 1.0


@pytest.mark.parametrize("track", [1, 2])
def test_what_is_drawn_depends_on_neither_worker_nor_process_nor_cache(project, track):
    chosen = {"augment": Augment(noise=0.05, jitter=0.05, **CHANGES[-1])}
    here = dataset(project, track, **chosen)
    others = [pickle.loads(pickle.dumps(here)), dataset(project, track, cache="memory", **chosen)]
    keys = [(epoch, index, 1) for epoch in range(2) for index in range(3)]
    loaded = torch.utils.data.DataLoader(here, sampler=keys[::-1], batch_size=None, num_workers=2)
    items = [here[key] for key in keys]
    for found in (*([other[key] for key in keys] for other in others), list(loaded)[::-1]):
        for item, expected in zip(found, items, strict=True):
            assert torch.equal(item["input"], expected["input"])
            assert torch.equal(item["target"], expected["target"])
    assert not torch.equal(here[0, 0, 0]["target"], here[1, 0, 0]["target"])


def test_one_change_does_not_change_what_another_draws(project):
    alone = dataset(project, 2, augment=Augment(rot90=False, materials=0.5))[2, 0, 0]
    noisy = dataset(project, 2, augment=Augment(rot90=False, materials=0.5, noise=0.1))[2, 0, 0]
    assert torch.equal(alone["target"], noisy["target"])


def test_inputs_of_another_camera_are_refused(project, tmp_path):
    place, rows = project
    picture = image.read(rows[2]["input"].iloc[0])
    image.write(tmp_path / "tinted.png", np.clip(picture * 0.97, 0.0, 1.0))
    tinted = rows[2].assign(input=str(tmp_path / "tinted.png"))
    for change in CHANGES:
        with pytest.raises(UserError, match="does not make the input of Category-1_a_0000"):
            CubeDataset(tinted, track=2, zarr_root=place / paths.ZARR, augment=Augment(**change))
    CubeDataset(tinted, track=2, zarr_root=place / paths.ZARR, augment=Augment())


def test_a_mosaic_of_eight_bits_stays_one(project, tmp_path):
    place, rows = project
    frame = rows[1].iloc[:1]
    levels = image.quantised(mosaic.read(frame["input"].iloc[0])[0])
    np.save(tmp_path / "levels.npy", levels)
    frame = frame.assign(input=str(tmp_path / "levels.npy"))
    samples = CubeDataset(frame, track=1, zarr_root=place / paths.ZARR, augment=Augment(light=0.2))
    values = samples[1, 0, 0]["input"].numpy()
    assert np.array_equal(values, image.quantised(values) / np.float32(255.0))


def test_where_rgb_is_predicted_there_is_no_cube_to_change(project):
    with pytest.raises(UserError, match="set them to 0 where RGB is predicted"):
        dataset(project, 1, augment=Augment(light=0.1), target="rgb_full")
