import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsengine.base.errors import UserError
from hstasks.salt import rle_decode, sample


def test_the_sample_tiles_are_the_same_bytes_on_every_machine(made_once):
    digest = hashlib.sha256()
    for path in sorted(made_once.rglob("*.*")):
        digest.update(path.relative_to(made_once).as_posix().encode() + path.read_bytes())
    assert digest.hexdigest() == "b45a8888c9e7c084b50b7c593c27e18ba53453a59744ea4da6c190db19d92c2e"


def test_shares_of_empty_and_defective_tiles_are_the_competitions():
    made = [tile for tile in sample.tiles(240, 60, 0) if tile.split == "train"]
    black = sum(not tile.image.any() for tile in made)
    vertical = sum(bool(tile.mask.any() and (tile.mask == tile.mask[0]).all()) for tile in made)
    assert 0.3 < sum(not tile.mask.any() for tile in made) / 240 < 0.45
    assert black == round(80 / 4000 * 240)
    assert vertical >= round(113 / 4000 * 240)
    assert not any(tile.mask.all() for tile in made)
    coverage = np.array([tile.mask.mean() for tile in made])
    assert 0.15 < coverage.mean() < 0.35
    assert all(((coverage > lower) & (coverage <= lower + 0.2)).sum() >= 10 for lower in (0.0, 0.2, 0.4, 0.6, 0.8))
    assert len({tile.id for tile in made}) == 240


def test_files_are_those_of_the_competition(made_once):
    train = (made_once / "train.csv").read_text().splitlines()
    assert train[0] == "id,rle_mask"
    formats = set()
    for line in train[1:]:
        name, text = line.split(",")
        image = Image.open(made_once / "train" / "images" / f"{name}.png")
        assert (image.mode, image.size) == ("RGB", (101, 101))
        mask = np.asarray(Image.open(made_once / "train" / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask > 0, rle_decode(text))
        formats.add((mask.dtype.name, int(mask.max())))
    assert formats == {("uint16", 65535), ("uint8", 0)}
    assert (made_once / "depths.csv").read_text().startswith("id,z\n")
    submission = (made_once / "sample_submission.csv").read_text().splitlines()
    assert len(submission) == 13
    assert all(line.endswith(",1 1") for line in submission[1:])


def test_seeds_differ_and_a_folder_in_use_is_left_alone(tmp_path):
    one, other = (sample.tiles(20, 0, seed) for seed in (0, 1))
    assert not any(np.array_equal(tile.image, twin.image) for tile, twin in zip(one, other, strict=True))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").touch()
    with pytest.raises(UserError, match=r"holds mine\.txt already"):
        sample.run(tmp_path / "data")
    assert "20 training tiles" in str(sample.run(tmp_path / "data", train=20, test=0, force=True))
    assert Path(tmp_path / "data" / "mine.txt").exists()
    for wrong in ({"train": 5}, {"test": -1}, {"seed": -1}):
        with pytest.raises(UserError):
            sample.run(tmp_path / "other", **wrong)
    with pytest.raises(UserError, match="is a file"):
        sample.run(tmp_path / "data" / "mine.txt")
