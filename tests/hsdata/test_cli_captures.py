from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from hsdata import Cube, open_cube
from hsdata.cli import app
from hsdata.formats import envi
from hsengine.base.errors import UserError

CENTRES = np.arange(380.0, 1021.0, 20.0)
CUBE = Cube(np.random.default_rng(0).uniform(0.1, 0.9, (len(CENTRES), 17, 16)).astype(np.float32), CENTRES)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_capture_goes_in_and_comes_out(tmp_path: Path) -> None:
    header, _ = envi.write(tmp_path / "scene.hdr", CUBE)
    data = tmp_path / "data"
    told = run(
        "import", header, "--to", data, "--track", "2", "--category", "4", "--resample", "gaussian", "--fwhm", "20"
    )
    assert "imported 1 samples" in told
    assert "the last line left out" in told
    assert "gaussian of 20 nm" in told
    assert not (data / "track1").exists()
    sample = data / "track2/train/hsi_61/Category-4_a_0000.h5"
    assert "nothing odd" in run("info", sample)
    assert "wrote" in run("export", sample, "--to", tmp_path / "out", "--interleave", "bip")
    np.testing.assert_array_equal(open_cube(tmp_path / "out" / f"{sample.stem}.hdr").values, open_cube(sample).values)


def test_several_files_are_described_with_given_wavelengths(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE.values)
    (tmp_path / "nm.txt").write_text("\n".join(map(str, CENTRES)))
    header, _ = envi.write(tmp_path / "b.hdr", CUBE)
    told = run("info", tmp_path / "a.npy", header, "--wavelengths", tmp_path / "nm.txt")
    assert told.count(f"{len(CENTRES)} bands, 17 x 16 pixels") == 2


def test_without_credentials_a_fetch_says_what_is_missing(tmp_path: Path) -> None:
    env = {"KAGGLE_CONFIG_DIR": str(tmp_path), "KAGGLE_USERNAME": "", "KAGGLE_KEY": ""}
    result = CliRunner(env=env).invoke(app, ["fetch", "--track", "1", "--to", str(tmp_path / "data")])
    assert isinstance(result.exception, UserError)
    assert "KAGGLE_USERNAME and KAGGLE_KEY are not set" in str(result.exception)
    assert not (tmp_path / "data").exists()
