"""A small release of noise, made in a moment."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hstasks.lenses import evaluate, sample, train
from hstasks.lenses.layout import BANDS, BUCKETS, LENS_VALUES, NONLENS_VALUES, SIDE
from hstasks.lenses.params import Convert, Data, LensSections
from hstasks.lenses.sky import released

sys.path.insert(0, str(Path(__file__).parent))

from small_lenses import prepared, small

Maker = Callable[..., LensSections]


@pytest.fixture
def release(tmp_path: Path) -> Maker:
    """`release(objects, blind)` makes the four folders and a blind one of noise, and returns their parameters."""

    def make(objects: int = 6, blind: int = 5, shard: int = 4) -> LensSections:
        root = tmp_path / "release"
        rng = np.random.default_rng(1)
        for number, bucket in enumerate(BUCKETS):
            inner = root / bucket.name / bucket.name
            inner.mkdir(parents=True)
            key = "Lens ID" if bucket.label else "Object ID"
            ids = [f"{number}{index:016d}" for index in range(objects)]
            for index, name in enumerate(ids):
                for band in BANDS:
                    content = released.training_file(key, name, band, rng.standard_normal((SIDE, SIDE)))
                    (inner / f"{bucket.stem}_{index:08d}_{band}.fits").write_bytes(content)
            columns = LENS_VALUES if bucket.label else NONLENS_VALUES
            values: dict[str, list[float]] = {name: [-999.0] * objects for name in columns}
            values["RA"] = [10.0 * number + index for index in range(objects)]
            values["Dec"] = [-5.0] * objects
            if bucket.label:
                values["Rein"] = [0.5 + 0.1 * index for index in range(objects)]
            (root / bucket.name / "parameters.fits").write_bytes(released.parameter_file(key, ids, values))
        if blind:
            (root / "test").mkdir()
        for index in range(blind):
            for band in BANDS:
                content = released.blind_file(rng.standard_normal((SIDE, SIDE)))
                (root / "test" / f"object_{index:05d}_{band}.fits").write_bytes(content)
        return LensSections(data=Data(root=str(root)), convert=Convert(shard=shard))

    return make


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up lenses and other galaxies, 8 of each kind, and 6 blind ones."""
    folder = tmp_path_factory.mktemp("lenses") / "data"
    sample.run(folder, objects=8, blind=6, seed=3, workers=1)
    return folder


@pytest.fixture(scope="session")
def trained_once(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages ran up to `evaluate`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HYPEROBJECT_STATE", str(folder / "state"))
        (folder / "data").symlink_to(made_once)
        train.run(prepared(small()))
        evaluate.run(small())
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a copy of that project."""
    place = tmp_path / "project"
    shutil.copytree(trained_once, place, symlinks=True)
    (place / "data").unlink()
    shutil.copytree(trained_once / "data", place / "data")
    monkeypatch.chdir(place)
    return place
