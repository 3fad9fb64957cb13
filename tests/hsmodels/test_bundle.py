"""The verb `bundle`: a folder that predicts without this project."""

import filecmp
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hsdata.camera import camera
from hsdata.formats import image
from hsdata.testing import smooth_cube
from hsengine.base.errors import UserError
from hsmodels import bundle, predict
from hsmodels.testing import model_folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("inputs").mkdir()


def inference(place: Path, input: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a bundle's script in a Python that sees neither this project's folder nor its environment variables."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-I", "-B", str(place / "inference.py"), "--input", input, "--output", "found"]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_a_bundle_gives_the_bytes_of_predict_and_names_what_is_wrong(tmp_path: Path) -> None:
    model_folder(Path("model"), track=2)
    for name, size in (("a", 16), ("bb", 40)):
        image.write(Path("inputs", f"{name}.png"), camera.rgb_2(smooth_cube(len(name), size, size)))
    predict.run(Path("inputs"), Path("expected"), Path("model"))
    done = bundle.run([Path("model")], Path("bundle"))
    assert "gave the bytes" in str(done) and done.memory < 24.0 and done.seconds < 1800.0

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "inputs").rename(elsewhere / "inputs")
    place = tmp_path / "bundle"
    found = inference(place, "inputs", cwd=elsewhere)
    assert found.returncode == 0, found.stderr
    for name in ("a.h5", "bb.h5"):
        assert filecmp.cmp(tmp_path / "expected" / name, elsewhere / "found" / name, shallow=False)

    (elsewhere / "empty").mkdir()
    for name, said in (("nowhere", "There is no input at nowhere"), ("empty", "There is no input in empty")):
        failed = inference(place, name, cwd=elsewhere)
        assert failed.returncode == 1 and said in failed.stderr and "Traceback" not in failed.stderr
    (elsewhere / "inputs" / "broken.png").write_bytes(b"no picture")
    failed = inference(place, "inputs", cwd=elsewhere)
    assert failed.returncode == 1 and "broken.png" in failed.stderr and "Traceback" not in failed.stderr


def test_the_code_inside_is_used_and_nothing_of_the_tasks_or_of_training_is_there() -> None:
    model_folder(Path("model"), track=1)
    bundle.run([Path("model")], Path("bundle"))
    code = Path("bundle", "code").resolve()
    script = f"import sys; sys.path.insert(0, {str(code)!r}); import hsmodels.predict; print(hsmodels.__file__)"
    done = subprocess.run([sys.executable, "-I", "-B", "-c", script], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(code)
    names = {path.relative_to(code).parts[0] for path in code.rglob("*.py")}
    assert names == {"hsengine", "hsdata", "hsmodels"} and not (code / "hsengine" / "train").exists()
    needed = Path("bundle", "requirements.txt").read_text()
    assert "torch==" in needed and "+" not in needed and "dvc" not in needed
    assert json.loads(Path("bundle", "bundle.json").read_text())["models"] == ["model"]
    assert "RGGB mosaics" in Path("bundle", "README.md").read_text()


def test_an_archive_of_an_ensemble_is_the_same_each_time() -> None:
    folders = [Path("one"), Path("two")]
    for seed, folder in enumerate(folders):
        model_folder(folder, track=2, seed=seed)
    bundle.run(folders, Path("bundle.zip"))
    with zipfile.ZipFile("bundle.zip") as archive:
        names = archive.namelist()
        assert {"bundle/inference.py", "bundle/model-1/config.json", "bundle/model-2/model.safetensors"} <= set(names)
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in archive.infolist())


def test_nothing_else_is_replaced() -> None:
    model_folder(Path("model"), track=2)
    with pytest.raises(UserError, match="inputs holds something else than a bundle"):
        Path("inputs", "mine.txt").write_text("mine")
        bundle.run([Path("model")], Path("inputs"))
    with pytest.raises(UserError, match="There is no trained model in nothing"):
        bundle.run([Path("nothing")], Path("bundle"))
    assert not Path("bundle").exists()
