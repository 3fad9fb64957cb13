"""The stage `submit`."""

import errno
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hsdata import paths
from hsdata.formats import image, mosaic
from hsengine import folder
from hsengine.base.errors import UserError
from hsmodels import packing, submit, zoo
from hsmodels.inference import reconstruct
from hsmodels.params import Params, Predict
from hsmodels.testing import PRIVATE, model_folder, project


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("track", "scale"), [(1, 1), (2, 2)])
def test_the_archives_hold_the_predictions_of_test_private(track: int, scale: int) -> None:
    project(track)
    model = model_folder(track=track)
    summary = submit.run(Params(track=track))
    assert summary.ids == list(PRIVATE) and "2 samples of test-private" in str(summary)
    with zipfile.ZipFile("outputs/submission/site.zip") as archive:
        for name in PRIVATE:
            cube = np.load(io.BytesIO(archive.read(f"{name}.npy")))
            folder = Path(f"data/track{track}/test-private")
            read = mosaic.read(folder / "mosaic" / f"{name}.npy") if track == 1 else None
            read = image.read(folder / "rgb_2" / f"{name}.png") if track == 2 else read
            expected = reconstruct(model, torch.from_numpy(read), Predict())
            assert cube.shape == (16, 16, 61) == (read.shape[1] * scale, read.shape[2] * scale, 61)
            assert np.array_equal(cube, expected.permute(1, 2, 0).numpy())
    record = json.loads(Path("outputs/submission/provenance.json").read_text())
    assert record["ids"] == list(PRIVATE) and record["ensemble"] is False and record["floor"] == 0.001
    assert record["models"][0]["checkpoint"] == {"which": "best", "epoch": 3}


def test_two_runs_give_the_same_bytes() -> None:
    project(2)
    model_folder(track=2)
    digests = []
    for _ in range(2):
        submit.run(Params(track=2, predict=Predict(tta=True, tile=16, overlap=8)))
        files = sorted(paths.SUBMISSION.iterdir())
        digests.append([(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files])
    assert digests[0] == digests[1]
    assert [name for name, _ in digests[0]] == ["provenance.json", "site.zip", "submission.zip"]


def test_the_chosen_checkpoint_is_submitted_and_recorded() -> None:
    project(2)
    model_folder(track=2)
    sums = []
    for which in ("best", "last"):
        submit.run(Params(track=2, predict=Predict(checkpoint=which)))
        sums.append((paths.SUBMISSION / "site.zip").read_bytes())
        record = json.loads((paths.SUBMISSION / "provenance.json").read_text())
        assert record["checkpoint"] == which
    assert sums[0] != sums[1]


def test_without_private_samples_a_note_says_so_and_the_experiment_ends_well() -> None:
    project(2, private=[])
    model_folder(track=2)
    done = submit.run(Params(track=2))
    assert "no sample of test-private" in str(done) and "track2/test-private/" in str(done)
    assert [file.name for file in paths.SUBMISSION.iterdir()] == [submit.NOTHING]


def test_a_first_stage_leaves_a_note_and_does_not_fail() -> None:
    project(1)
    model_folder(track=1)
    submit.run(Params(track=1))
    model_folder(track=1, name="revsci_rgb", params={"n_blocks": 1})
    done = submit.run(Params(track=1))
    assert "it is a first stage, with nothing to submit" in str(done)
    assert [file.name for file in paths.SUBMISSION.iterdir()] == [submit.NOTHING]


def test_without_a_model_or_with_one_of_another_track_the_remedy_is_named() -> None:
    project(2)
    with pytest.raises(UserError, match="no trained model in outputs/model"):
        submit.run(Params(track=2))
    model_folder(track=1)
    with pytest.raises(UserError, match=r"trained for track 1, but params\.yaml says track 2"):
        submit.run(Params(track=2))


def test_a_failed_check_leaves_the_old_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    project(2)
    model_folder(track=2)
    submit.run(Params(track=2))
    before = {path.name: path.read_bytes() for path in paths.SUBMISSION.iterdir()}
    whole = packing.bands_last
    monkeypatch.setattr(packing, "bands_last", lambda cube: whole(cube)[:-1])
    with pytest.raises(UserError, match=r"shape \(15, 16, 61\); its input asks for \(16, 16, 61\)"):
        submit.run(Params(track=2))
    assert {path.name: path.read_bytes() for path in paths.SUBMISSION.iterdir()} == before
    assert not list(paths.OUTPUTS.rglob(".part-*"))


def test_a_full_disk_is_an_error_with_a_remedy_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    project(2)
    model_folder(track=2)
    write = packing.write_npy

    def full(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
        if PRIVATE[1] in name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(archive, name, array)

    monkeypatch.setattr(packing, "write_npy", full)
    with pytest.raises(UserError, match="No space left on the disk of outputs/submission"):
        submit.run(Params(track=2))
    assert not paths.SUBMISSION.exists() and not list(paths.OUTPUTS.rglob(".part-*"))


def test_a_diverged_model_is_not_submitted() -> None:
    project(2)
    model = model_folder(track=2)
    state = {key: torch.full_like(value, torch.nan) for key, value in zoo.inner(model).state_dict().items()}
    folder.save(paths.MODEL, {"best": state}, folder.record(paths.MODEL))
    with pytest.raises(UserError, match="not finite"):
        submit.run(Params(track=2))
    assert not paths.SUBMISSION.exists()


def test_an_ensemble_with_fitted_weights_is_recorded_as_such() -> None:
    project(2)
    model_folder(track=2)
    model_folder(Path("other"), track=2, seed=7)
    submit.run(Params(track=2, predict=Predict(models=["other"], weights="fitted")))
    record = json.loads((paths.SUBMISSION / "provenance.json").read_text())
    assert record["ensemble"] is True and record["members"] == 2
    assert record["weights"].startswith("fitted") and len(record["mean_weight"]) == 2
    assert [row["folder"] for row in record["models"]] == ["outputs/model", "other"]
    assert record["models"][0]["weights_blake2b"] != record["models"][1]["weights_blake2b"]


def test_models_that_do_not_go_together_are_refused() -> None:
    project(2)
    model_folder(track=2)
    model_folder(Path("other"), track=1)
    with pytest.raises(UserError, match="not of the same track"):
        submit.run(Params(track=2, predict=Predict(models=["other"])))
