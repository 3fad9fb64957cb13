import pytest

from hsengine.base.errors import UserError
from hstasks.landcover import layout
from hstasks.landcover.classes import OEM_CLASSES, relabelling


def test_labels_without_image_and_lists_that_divide_regions_are_named(shared):
    found = layout.find_oem(shared / "data/landcover-mini")
    assert len(found.pairs) == 31
    assert found.without_image == ["river_bend_16"]
    assert "1 labels without image: river_bend_16" in str(found)
    assert "divide the regions farm_row, river_bend" in str(found)


def test_region_names_may_hold_dashes_and_numbers(tmp_path):
    for name in ("dry-creek_2", "vil_1-b"):
        for inner in ("images", "labels"):
            file = tmp_path / "oem" / name / inner / f"{name}_7.tif"
            file.parent.mkdir(parents=True)
            file.touch()
    (tmp_path / "oem/vil_1-b/labels/vil_1-b_7.tif").unlink()
    (tmp_path / "oem/val.txt").write_text("vil_1-b_7.tif\nnowhere_1.tif\n")
    found = layout.find_oem(tmp_path)
    assert [pair.region for pair in found.pairs] == ["dry-creek_2"]
    assert found.without_label == ["vil_1-b_7"]
    assert "val.txt names 1 tiles that are not there: nowhere_1" in str(found)


def test_a_mask_without_image_is_a_problem_and_the_site_is_the_names_beginning(tmp_path):
    for file in ("images/ash-fell_0001.tif", "images/ash_2_0001.tif", "masks/ash-fell_0001.png", "masks/gone_1.png"):
        (tmp_path / "target" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "target" / file).touch()
    found = layout.find(tmp_path)
    assert [tile.site for tile in found.tiles] == ["ash-fell", "ash_2"]
    assert len(found.problems) == 1 and "gone_1" in found.problems[0]
    assert "1 images have no mask" in found.notes[0]


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="hstasks sample"):
        layout.find(tmp_path)
    assert layout.find_oem(tmp_path).pairs == []


def test_the_tables_of_the_package():
    assert relabelling("by_name").codes == (0, 0, 2, 4, 4, 1, 0, 3, 4)
    assert relabelling("measured").codes == (0, 2, 2, 4, 4, 1, 0, 2, 4)
    possible = relabelling("possible")
    named = {label: possible.sets[code] for label, code in enumerate(possible.codes)}
    assert named[1] == (3, 5) and named[2] == (2, 5) and named[7] == (2, 3) and named[6] == () and named[8] == (4,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,classes\n0,0\n", f"each label 0 to {OEM_CLASSES - 1}"),
        ("label,classes\n" + "".join(f"{k},{k}\n" for k in range(9)), "label 6 names a class outside"),
        ("a,b\n1,2\n", "label and classes are needed"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(tmp_path, text, said):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        relabelling(str(tmp_path / "own.csv"))
