from pathlib import Path

import numpy as np
import pytest

from hsdata.formats.wavelengths import in_nm, read_list
from hsengine.base.errors import UserError


@pytest.mark.parametrize(
    "text",
    [
        "450\n550\n650\n",
        "450, 550, 650",
        "450 550 650\n",
        "450,\r\n550,\r\n650,\r\n",
        "# nm\n450\n550\n650",
        "wavelength\n450\n550\n650",
        "band;wavelength_nm;fwhm\n1;450;5\n2;550;5\n3;650;5\n",
        "band\twavelength (um)\n1\t0.45\n2\t0.55\n3\t0.65\n",
        "name,nm\na,450\nb,550\nc,650\n",
        "0.45\n0.55\n0.65\n",
    ],
)
def test_lists_of_many_shapes_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    np.testing.assert_allclose(read_list(tmp_path / "w.csv"), [450, 550, 650])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n3,4\n", "1,450\n2,550\n", "wavelength\nred\n"])
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(UserError, match="holds no list of wavelengths"):
        read_list(tmp_path / "w.csv")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"w\.csv"):
        read_list(tmp_path / "w.csv")


def test_wavenumbers_become_wavelengths() -> None:
    np.testing.assert_allclose(in_nm(np.array([20000.0, 10000.0]), "Wavenumber")[0], [500, 1000])
