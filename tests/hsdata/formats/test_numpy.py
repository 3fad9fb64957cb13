from pathlib import Path

import numpy as np
import pytest

from hsdata import open_cube
from hsdata.formats import numpy as npy
from hsengine.base.errors import UserError

VALUES = np.random.default_rng(0).random((4, 3, 5)).astype(np.float32)
CENTRES = np.array([450.0, 550.0, 650.0, 700.0])


@pytest.mark.parametrize("name", ["a_wavelengths.csv", "a.txt", "wavelengths.npy", "a.wavelengths.csv"])
def test_a_list_beside_the_file_gives_the_wavelengths(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "a.npy", np.moveaxis(VALUES, 0, 2))
    if name.endswith(".npy"):
        np.save(tmp_path / name, CENTRES)
    else:
        (tmp_path / name).write_text("\n".join(map(str, CENTRES)))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.npy").values, VALUES)


def test_an_archive_holds_both(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", cube=VALUES, wavelengths=CENTRES, names=np.array(["x"]))
    assert open_cube(tmp_path / "a.npz").wavelengths.tolist() == CENTRES.tolist()


def test_the_values_are_mapped_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    values = npy.load(tmp_path / "a.npy", wavelengths=CENTRES).values
    while values.base is not None and not isinstance(values, np.memmap):
        values = values.base
    assert isinstance(values, np.memmap)


def test_damaged_and_unfit_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_text("no")
    with pytest.raises(UserError, match=r"a\.npy is empty, damaged"):
        npy.load(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", VALUES[0])
    with pytest.raises(UserError, match="no image"):
        npy.load(tmp_path / "b.npy")
