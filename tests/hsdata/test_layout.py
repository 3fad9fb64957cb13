from pathlib import Path

import pytest

from hsdata import layout
from hsengine.base.errors import UserError


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_the_archives_name_of_a_split_is_accepted(tmp_path):
    _touch(tmp_path / "track2" / "public-test" / "rgb_2" / "Category-1_a_0001.png")
    folder = layout.split_folder(tmp_path, 2, "test-public")
    assert [p.stem for p in layout.files_of(folder, "rgb_2")] == ["Category-1_a_0001"]


@pytest.mark.parametrize("way", ["link", "text", "sibling"])
def test_a_modality_shared_between_tracks_is_found(tmp_path, way):
    _touch(tmp_path / "track2" / "train" / "hsi_61" / "Category-1_a_0001.h5")
    _touch(tmp_path / "track1" / "train" / "mosaic" / "Category-1_a_0001.npy")
    place = tmp_path / "track1" / "train" / "hsi_61"
    if way == "link":
        place.symlink_to("../../track2/train/hsi_61")
    elif way == "text":
        place.write_text("../../track2/train/hsi_61\n")
    assert [p.stem for p in layout.files_of(place.parent, "hsi_61")] == ["Category-1_a_0001"]


def test_inputs_are_never_borrowed_from_the_other_track(tmp_path):
    _touch(tmp_path / "track2" / "train" / "rgb_2" / "Category-1_a_0001.png")
    (tmp_path / "track1" / "train").mkdir(parents=True)
    assert layout.files_of(tmp_path / "track1" / "train", "rgb_2") == []


def test_the_other_tracks_alias_of_a_split_is_understood(tmp_path):
    _touch(tmp_path / "track2" / "public-test" / "hsi_61" / "Category-1_a_0001.h5")
    (tmp_path / "track1" / "test-public").mkdir(parents=True)
    assert len(layout.files_of(tmp_path / "track1" / "test-public", "hsi_61")) == 1


@pytest.mark.parametrize(
    ("sample_id", "category"), [("Category-3_a_0041", 3), ("Category-1_a_1_Category-1_a_2", 1), ("leaf", 0)]
)
def test_the_category_is_the_number_in_the_id(sample_id, category):
    assert layout.category_of(sample_id) == category


def test_a_missing_data_folder_names_the_remedy(tmp_path):
    with pytest.raises(UserError, match="hsdata sample"):
        layout.check_root(tmp_path / "nowhere", 2)


def test_a_data_folder_at_a_url_names_the_remedy():
    with pytest.raises(UserError, match=r"local folder.*dvc pull"):
        layout.check_root("s3://bucket/data", 2)


def test_a_missing_track_names_what_is_there(tmp_path):
    (tmp_path / "track2").mkdir()
    with pytest.raises(UserError, match="found: track2"):
        layout.check_root(tmp_path, 1)
