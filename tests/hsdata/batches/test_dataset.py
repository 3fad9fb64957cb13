import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hsdata.batches.dataset import CubeDataset
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import zarr
from hsdata.params import Augment
from hsengine.base import memory
from hsengine.base.errors import UserError

BANDS = 5
SIDE = 32


def cube_values(seed: int) -> np.ndarray:
    """(BANDS, SIDE, SIDE) noise; band 0 is the row and band 1 the column of the pixel, over SIDE."""
    values = np.random.default_rng(seed).random((BANDS, SIDE, SIDE), dtype=np.float32)
    values[0], values[1] = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return values


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples, one of them synthetic, and a private one without a cube."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(4):
        levels = np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
        Image.fromarray(levels).save(folder / f"full-{number}.png")
        small = levels[::2, ::2].copy()
        small[..., 0], small[..., 1] = np.mgrid[0 : SIDE // 2, 0 : SIDE // 2]
        Image.fromarray(small).save(folder / f"rgb-{number}.png")
        rows, columns = np.mgrid[0:SIDE, 0:SIDE]
        np.save(folder / f"mosaic-{number}.npy", ((rows * SIDE + columns) / SIDE**2).astype(np.float32))
        place = {2: folder / "made" / "x-2.zarr", 3: None}.get(number, folder / "zarr" / "train" / f"x-{number}.zarr")
        if place is not None:
            zarr.write(place, Cube(cube_values(number), BAND_GRID[:BANDS]), chunk=8)
    return folder


def catalog(root: Path, track: int, numbers: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "id": f"x-{n}",
                "split": "train",
                "category": n + 1,
                "height": SIDE,
                "width": SIDE,
                "bands": 0 if n == 3 else BANDS,
                "input": str(root / (f"rgb-{n}.png" if track == 2 else f"mosaic-{n}.npy")),
                "cube": {2: str(root / "made" / "x-2.zarr"), 3: ""}.get(n, str(root / f"x-{n}.h5")),
                "rgb_full": str(root / f"full-{n}.png"),
                "synthetic": n == 2,
            }
            for n in numbers
        ]
    )


def dataset(root: Path, track: int = 2, numbers: tuple[int, ...] = (0, 1, 2), **options: object) -> CubeDataset:
    return CubeDataset(catalog(root, track, numbers), track=track, zarr_root=root / "zarr", **options)  # type: ignore[arg-type]


def test_without_augmentation_a_sample_is_what_the_files_hold(root: Path) -> None:
    for number, item in enumerate(dataset(root)[index] for index in range(3)):
        levels = np.asarray(Image.open(root / f"rgb-{number}.png"))
        np.testing.assert_allclose(item["input"].numpy(), levels.transpose(2, 0, 1) / 255.0, atol=1e-7)
        np.testing.assert_array_equal(item["target"].numpy(), cube_values(number))
        assert item["index"] == number
        assert item["columns"].tolist() == list(range(SIDE))
        assert not item["transposed"]
        assert item["input"].dtype == item["target"].dtype == torch.float32


def test_a_mosaic_is_one_plane_as_large_as_the_target(root: Path) -> None:
    item = dataset(root, track=1)[1]
    np.testing.assert_array_equal(item["input"].numpy(), np.load(root / "mosaic-1.npy")[None])
    assert item["target"].shape == (BANDS, SIDE, SIDE)


def test_a_sample_without_a_cube_has_no_target(root: Path) -> None:
    item = dataset(root, numbers=(3,))[0]
    assert "target" not in item
    assert item["input"].shape == (3, SIDE // 2, SIDE // 2)


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float64])
def test_mosaics_of_eight_bits_are_scaled_as_a_whole(
    tmp_path: Path, root: Path, shape: tuple[int, ...], dtype: type
) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    levels[:16] = 1  # a crop from here does not tell that the whole has eight bits
    np.save(tmp_path / "m.npy", levels)
    rows = catalog(root, 1, (0,)).assign(input=str(tmp_path / "m.npy"))
    options = Augment(crop=16, flip=False, rot90=False)
    data = CubeDataset(rows, track=1, zarr_root=root / "zarr", augment=options)
    expected = levels.reshape(SIDE, SIDE).astype(np.float32) / np.float32(255.0)
    for epoch in range(5):
        item = data[epoch, 0, 0]
        top, left = (round(float(item["target"][band, 0, 0]) * SIDE) for band in (0, 1))
        np.testing.assert_array_equal(item["input"][0].numpy(), expected[top : top + 16, left : left + 16])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    track=st.sampled_from([1, 2]),
    crop=st.sampled_from([None, 8, 12]),
    epoch=st.integers(0, 1000),
    index=st.integers(0, 2),
    cache=st.sampled_from(["none", "memory"]),
)
def test_crops_are_slices_of_the_files_and_match(
    root: Path, track: int, crop: int | None, epoch: int, index: int, cache: str
) -> None:
    item = dataset(root, track, augment=Augment(crop=crop), cache=cache)[epoch, index, 0]
    scale = track  # the factor of track 1 is 1, that of track 2 is 2
    side = crop * scale if crop else SIDE
    target = item["target"].numpy()
    assert target.shape == (BANDS, side, side)
    rows, columns = (np.rint(target[band] * SIDE).astype(int) for band in (0, 1))
    np.testing.assert_array_equal(target, cube_values(index)[:, rows, columns])
    if track == 2:
        shown = np.rint(item["input"][:2].numpy() * 255).astype(int)
        np.testing.assert_array_equal(shown, np.stack([rows, columns])[:, ::2, ::2] // 2)
    else:
        places = np.rint(item["input"][0].numpy() * SIDE**2).astype(int)
        np.testing.assert_array_equal(places, rows * SIDE + columns)
    told = item["columns"].numpy()
    np.testing.assert_array_equal(columns, np.broadcast_to(told[:, None] if item["transposed"] else told, (side, side)))


def test_only_the_crop_of_a_cube_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read = zarr.ZarrCube.read

    def counting(self: zarr.ZarrCube, *window: int) -> np.ndarray:
        asked.append(window)
        return read(self, *window)

    monkeypatch.setattr(zarr.ZarrCube, "read", counting)
    _ = dataset(root, augment=Augment(crop=8))[0, 0, 0]
    assert [window[2:] for window in asked] == [(16, 16)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("cache", ["none", "memory"])
def test_batches_do_not_depend_on_the_number_of_workers(root: Path, workers: int, cache: str) -> None:
    options = Augment(crop=8, noise=0.1, jitter=0.1)
    visits = [(epoch, index, 0) for epoch in range(2) for index in (2, 0, 1)]

    def batches(data: CubeDataset, workers: int) -> list[dict[str, torch.Tensor]]:
        return list(torch.utils.data.DataLoader(data, batch_size=2, sampler=visits, num_workers=workers))  # type: ignore[arg-type]

    alone = batches(dataset(root, augment=options, seed=5), 0)
    for expected, found in zip(
        alone, batches(dataset(root, augment=options, seed=5, cache=cache), workers), strict=True
    ):
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, rtol=0, atol=0)


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_a_used_dataset_can_be_pickled(root: Path, cache: str) -> None:
    data = dataset(root, augment=Augment(crop=8), cache=cache)
    expected = data[3, 1, 0]
    content = pickle.dumps(data)
    assert len(content) < 10_000
    torch.testing.assert_close(pickle.loads(content)[3, 1, 0]["target"], expected["target"], rtol=0, atol=0)


def test_spawned_workers_give_the_same(root: Path) -> None:
    data = dataset(root, track=1, augment=Augment(crop=8), cache="memory")
    loader = torch.utils.data.DataLoader(
        data, sampler=[(0, 1, 0)], batch_size=None, num_workers=1, multiprocessing_context="spawn"
    )
    (item,) = list(loader)
    torch.testing.assert_close(item["target"], data[0, 1, 0]["target"], rtol=0, atol=0)


def test_the_cache_reads_each_file_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    read = zarr.ZarrCube.read

    def counting(self: zarr.ZarrCube, *window: int) -> np.ndarray:
        count.append(self)
        return read(self, *window)

    monkeypatch.setattr(zarr.ZarrCube, "read", counting)
    data = dataset(root, augment=Augment(crop=8), cache="memory")
    for epoch in range(4):
        for index in range(3):
            _ = data[epoch, index, 0]
    assert len(count) == 3


@pytest.mark.parametrize(("processes", "method", "count"), [(1, "fork", 3), (2, "fork", 12), (1, "spawn", 12)])
def test_auto_keeps_cubes_where_they_have_room_and_are_shared(
    processes: int, method: str, count: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[None] = []
    whole = zarr.ZarrCube.read

    def counting(self: zarr.ZarrCube, *window: int) -> np.ndarray:
        reads.append(None)
        return whole(self, *window)

    monkeypatch.setattr(zarr.ZarrCube, "read", counting)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: method)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    held = 3 * (4 * BANDS * SIDE**2 + 3 * (SIDE // 2) ** 2)
    monkeypatch.setattr(memory, "installed", lambda: 8 * held)
    data = dataset(root, cache="auto")
    for _ in range(4):
        for index in range(3):
            _ = data[index]
    assert len(reads) == count


def test_what_a_batch_is_changed_to_leaves_the_cache_alone(root: Path) -> None:
    data = dataset(root, cache="memory")
    data[0]["target"].zero_()
    np.testing.assert_array_equal(data[0]["target"].numpy(), cube_values(0))


def test_a_cache_larger_than_the_memory_is_refused(root: Path) -> None:
    rows = catalog(root, 2).assign(bands=10**9)
    with pytest.raises(UserError, match=r"machine\.cache.*'none'"):
        CubeDataset(rows, track=2, cache="memory")


def test_rgb_full_can_be_the_target_and_the_input(root: Path) -> None:
    full = np.asarray(Image.open(root / "full-0.png")).transpose(2, 0, 1) / np.float32(255.0)
    for cache in ("none", "memory"):
        as_target = dataset(root, target="rgb_full", cache=cache)[0]
        np.testing.assert_array_equal(as_target["target"].numpy(), full)
        assert as_target["input"].shape == (3, SIDE // 2, SIDE // 2)
        as_input = dataset(root, input="rgb_full", cache=cache, augment=Augment(crop=16, flip=False, rot90=False))
        item = as_input[0, 0, 0]
        top, left = (round(float(item["target"][band, 0, 0]) * SIDE) for band in (0, 1))
        np.testing.assert_array_equal(item["input"].numpy(), full[:, top : top + 16, left : left + 16])


def test_rendered_rgb_is_taken_where_the_catalog_has_none(root: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (SIDE, SIDE), (255, 0, 0)).save(tmp_path / "train" / "x-0.png")
    rows = catalog(root, 2, (0,)).assign(rgb_full="")
    item = CubeDataset(rows, track=2, zarr_root=root / "zarr", rgb_root=tmp_path, target="rgb_full")[0]
    assert item["target"].amax(dim=(1, 2)).tolist() == [1.0, 0.0, 0.0]


def test_a_crop_larger_than_an_image_names_the_smallest(root: Path) -> None:
    rows = catalog(root, 2)
    rows.loc[1, ["height", "width"]] = [24, 30]
    with pytest.raises(UserError, match=r"x-1 has only 12 x 15: set it to 12 or less"):
        CubeDataset(rows, track=2, augment=Augment(crop=16))
    with pytest.raises(UserError, match="x-1"):
        CubeDataset(rows, track=2, augment=Augment(crop=8, crop_steps={5: 14}))


def test_an_odd_mosaic_and_an_odd_crop_of_one_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"x-0.*31 x 32"):
        CubeDataset(catalog(root, 1).assign(height=31), track=1)
    with pytest.raises(UserError, match="even number"):
        CubeDataset(catalog(root, 1), track=1, augment=Augment(crop=9))


def test_a_sample_without_the_input_asked_for_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"x-0 has no input rgb_full, which needs: .*hsdata render"):
        CubeDataset(catalog(root, 2).assign(rgb_full="", cube=""), track=2, input="rgb_full")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_sample_is_named_without_a_traceback(root: Path, tmp_path: Path, workers: int) -> None:
    rows = catalog(root, 2).assign(synthetic=False)
    data = CubeDataset(rows, track=2, zarr_root=tmp_path)
    with pytest.raises(UserError) as caught:
        list(torch.utils.data.DataLoader(data, num_workers=workers))
    assert str(caught.value).startswith(f"The target of x-0 ({tmp_path}/train/x-0.zarr) cannot be used")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("track", [1, 2])
def test_a_file_of_another_size_than_the_catalog_says_is_named(root: Path, track: int) -> None:
    data = CubeDataset(catalog(root, track).assign(height=16), track=track, zarr_root=root / "zarr")
    with pytest.raises(UserError, match=r"The input of x-2 .*where the catalog says.*hsdata catalog"):
        _ = data[2]
