import importlib.metadata
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

import hsmodels
from hsdata import catalog as catalogs
from hsdata import paths
from hsdata.params import Augment
from hsengine.base.errors import UserError
from hsengine.base.files import write_text
from hsengine.base.settings import Machine
from hsengine.train.identity import identity
from hsmodels import score, testing, train, zoo
from hsmodels.heldout import data_hash, division
from hsmodels.inference import finish, reconstruct
from hsmodels.params import Params, Predict
from hsmodels.project import PROJECT
from hsmodels.reconstruction import Reconstruction
from hsmodels.zoo.basis import Basis


@pytest.fixture(params=[2], ids=["track 2"])
def project(request, tmp_path, monkeypatch):
    """A tiny project in the current folder."""
    monkeypatch.chdir(tmp_path)
    testing.project(request.param)
    return request.param


def _params(track=2, model="example", given=None, trackers=(), **changes):
    machine = {key: changes.pop(key) for key in list(changes) if key in Machine.model_fields}
    plain = {"epochs": 2, "batch_size": 2, "lr": 0.01, "score_every": 2, "clip_norm": None, "warmup_epochs": 0}
    raw = {
        "track": track,
        "model": model,
        "models": {model: {"width": 4} if given is None else given},
        "train": plain | changes,
        "machine": {"trackers": list(trackers)} | machine,
        "residual": "none",
        "stripes": False,
        "loss": {"ssc": 0.0, "ssc_ramp": 0.0, "ssc_smooth": False},
        "augment": {"crop": None, "flip": True},
    }
    return Params.model_validate(raw)


def _weights():
    """What a training makes, its model card among it."""
    return {name: (paths.MODEL / name).read_bytes() for name in ("model.safetensors", "last.safetensors", "README.md")}


@pytest.mark.parametrize("project", [1, 2], indirect=True, ids=["track 1", "track 2"])
def test_a_model_is_trained_scored_and_can_be_loaded(project):
    done = train.run(_params(project))
    model, config = hsmodels.load(which="last")
    assert config["track"] == project
    assert config["wavelengths"] == [400 + 10 * band for band in range(61)]
    assert config["checkpoint"]["epoch"] == 1
    assert config["data"]["training"] == 3
    assert config["data"]["held_out"] == 3
    assert config["packages"]["torch"] == importlib.metadata.version("torch")
    assert "example: val/SSC" in str(done)
    task = Reconstruction(_params(project), *division(catalogs.load(paths.CATALOG)))
    values = []
    for index in range(3):
        item = task.held_out()[0, index, 0]
        with torch.no_grad():
            prediction = finish(model(item["input"][None]), 0.001)
        values.append(score.ssc(item["target"][None], prediction)["SSC"])
    assert config["checkpoint"]["measures"]["val/SSC"] == pytest.approx(np.mean(values), abs=1e-6)
    speed = json.loads(paths.THROUGHPUT.read_text())
    assert speed["samples"] == 6
    assert (paths.CURVES / "plots" / "metrics" / "val" / "by_category" / "1" / "SSC.tsv").exists()
    card = (paths.MODEL / "README.md").read_text()
    assert f"track-{project}" in card and "61 wavelengths from 400 to 1000 nm" in card and "By category:" in card


def test_the_weights_have_the_keys_of_the_published_models(project):
    train.run(_params(given={"width": 3}))
    keys = safetensors.torch.load_file(paths.MODEL / "model.safetensors").keys()
    assert keys == zoo.build("example", width=3).state_dict().keys()


def _composed(residual="kernel_ridge", stripes=True, **changes):
    return _params(**changes).model_copy(update={"residual": residual, "stripes": stripes})


def test_a_residual_with_stripes_is_trained_saved_and_scored_alike(project):
    done = train.run(_composed())
    config = done.config
    assert str(done).startswith("example over kernel_ridge with stripes: val/SSC")
    model, _ = hsmodels.load(which="last")
    task = Reconstruction(_composed(), *division(catalogs.load(paths.CATALOG)))
    values = []
    for index in range(3):
        item = task.held_out()[0, index, 0]
        prediction = reconstruct(model, item["input"], Predict())
        values.append(score.ssc(item["target"], prediction)["SSC"])
    assert config["checkpoints"]["last"]["measures"]["val/SSC"] == pytest.approx(np.mean(values), abs=1e-6)
    assert float(model.bias.detach().abs().max()) > 0
    alone = zoo.for_track("kernel_ridge", 2, {}).eval()
    zoo.fit(alone, ((item["input"][None], item["target"][None]) for item in _whole_frames(task)))
    item = task.held_out()[0, 0, 0]["input"][None]
    torch.testing.assert_close(zoo.base_of(model)(item), alone(item))


def _whole_frames(task):
    samples = task._samples(task._rows, None, learning=False)
    return [samples[0, index, 0] for index in range(len(samples))]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_scores_as_single_precision_does(project, half_on_cpu, precision):
    """0.01 is what docs/scaling.md promises."""

    def scored(precision):
        params = _params(model="mstpp", given={"n_feat": 8, "stage": 1}, epochs=4, precision=precision)
        raw = params.model_dump(mode="json") | {"residual": "ridge", "loss": {"ssc": 1.0}}
        done = train.run(Params.model_validate(raw))
        return done.config["checkpoints"]["last"]["measures"]["val/SSC"], _weights()

    (single, weights), (half, others) = scored("no"), scored(precision)
    assert half == pytest.approx(single, abs=0.01)
    assert weights["last.safetensors"] != others["last.safetensors"]


def test_a_resumed_residual_is_not_solved_for_again(project, monkeypatch):
    train.run(_composed())
    whole = _weights()
    told = []

    def progress(self, done):
        told.append(done)
        if len(told) == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Reconstruction, "progress", progress)
        with pytest.raises(SystemExit):
            train.run(_composed())
    monkeypatch.setattr(Reconstruction, "prepare", lambda self, model: pytest.fail("solved for again"))
    train.run(_composed())
    assert _weights() == whole


@pytest.mark.parametrize("residual", ["none", "ridge"])
def test_a_basis_is_learnt_stated_and_kept(project, monkeypatch, capsys, residual):
    params = _composed(residual).model_copy(update={"basis": 4, "augment": Augment(light=0.2, mix=0.5, materials=0.3)})
    stopped = []

    def progress(self, done):
        stopped.append(done)
        if len(stopped) == 3:
            signal.raise_signal(signal.SIGTERM)

    done = train.run(params)
    told = capsys.readouterr().err
    whole, config = _weights(), done.config
    error = config["checkpoints"]["last"]["measures"]["val/basis_error"]
    assert 0.0 < error < 1.0 and f"4 spectra leave {error:.2%} of the training's over" in told
    model, record = hsmodels.load(which="last")
    assert record["model"]["basis"] == 4
    basis, alone = zoo.basis_of(model), Basis(61, 4)
    frames = _whole_frames(Reconstruction(params, *division(catalogs.load(paths.CATALOG))))
    alone.fit(item["target"][None] for item in frames)
    assert all(torch.equal(value, basis.state_dict()[name]) for name, value in alone.state_dict().items())
    with monkeypatch.context() as patch:
        patch.setattr(Reconstruction, "progress", progress)
        with pytest.raises(SystemExit):
            train.run(params)
    monkeypatch.setattr(Reconstruction, "prepare", lambda self, model: pytest.fail("learnt again"))
    again = train.run(params)
    assert _weights() == whole
    assert again.config["checkpoints"]["last"]["measures"]["val/basis_error"] == error


def test_two_trainings_are_equal_to_the_bit(project):
    train.run(_params())
    first, curves = _weights(), {file: file.read_bytes() for file in paths.CURVES.rglob("*.tsv")}
    train.run(_params(loader_workers=1))
    assert _weights() == first
    assert {file: file.read_bytes() for file in paths.CURVES.rglob("*.tsv")} == curves


def test_a_closed_form_model_is_fitted_and_written_like_any_other(project):
    done = train.run(_params(model="ridge", given={}))
    assert done.config["ended_by"] == "closed form"
    model, config = hsmodels.load()
    assert config["model"]["name"] == "ridge"
    assert torch.isfinite(model(torch.rand(1, 3, 8, 8))).all()


def test_a_leak_stops_the_training_and_is_named(project):
    training = paths.TRAINING.read_text()
    frame = catalogs.load(paths.CATALOG)
    held, trained = paths.HELD_OUT.read_text().split()[0], training.split()[0]
    frame.loc[frame["id"] == trained, "cube_hash"] = frame.loc[frame["id"] == held, "cube_hash"].item()
    catalogs.save(frame, paths.CATALOG)
    with pytest.raises(UserError, match=rf"would see held-out samples:\n  {held} is held out, but .*{trained}"):
        train.run(_params())
    assert not paths.MODEL.exists()


def test_what_is_missing_or_wrong_is_told_before_anything_is_made(project):
    with pytest.raises(UserError, match="There is no model 'exampel'"):
        train.run(_params(model="exampel"))
    with pytest.raises(UserError, match="cannot take the input of track 2"):
        train.run(_params(model="raw2hsi", given={}))
    with pytest.raises(UserError, match=r"train\.watch"):
        train.run(_params(watch="PSNR"))
    with pytest.raises(UserError, match=r"'ridge' is solved for, not trained: .*'basis' to 0"):
        train.run(_params(model="ridge", given={}).model_copy(update={"basis": 4}))
    with pytest.raises(UserError, match="basis: 62 spectra cannot be independent"):
        train.run(_params().model_copy(update={"basis": 62}))
    write_text(paths.HELD_OUT, "nobody\n")
    with pytest.raises(UserError, match="nobody"):
        train.run(_params())
    paths.CATALOG.unlink()
    with pytest.raises(UserError, match="There is no catalog"):
        train.run(_params())
    assert not paths.OUTPUTS.exists() or not paths.MODEL.exists()


def test_what_a_training_is_made_of_decides_whose_state_it_takes(project, tmp_path):
    rows = division(catalogs.load(paths.CATALOG))

    def key(params, rows=rows):
        work = train.Work(None, train.configuration(params), data_hash(*rows), (0, 0), {})
        return identity(work, params.train, seed=params.seed, entries=PROJECT.entries).key

    plain = key(_params())
    assert key(_params(loader_workers=2, state_minutes=1, launch={"processes": 2}, trackers=["tensorboard"])) == plain
    assert key(_params(workers=3)) == plain
    assert key(_params(lr=0.02)) != plain
    assert key(_params(given={"width": 5})) != plain
    assert key(_params(), (rows[0].iloc[1:], rows[1])) != plain
    assert key(_params(), (rows[0].assign(cube_hash="other"), rows[1])) != plain
    (tmp_path / "weights.pt").write_bytes(b"a")
    start = _params(given={"weights": str(tmp_path / "weights.pt")})
    before = key(start)
    (tmp_path / "weights.pt").write_bytes(b"b")
    assert key(start) != before


def test_pictures_of_held_out_samples_stand_beside_the_curves(project):
    train.run(_params(pictures=1, epochs=1))
    assert len(list(paths.CURVES.rglob("comparison.png"))) == 1


def test_two_processes_are_started_and_score_as_one_does(project):
    alone = train.run(_params()).config["checkpoints"]["last"]["measures"]
    code = "import sys; from hsmodels import train; from hsmodels.params import Params\n"
    code += "print(train.run(Params.model_validate_json(sys.argv[1])))"
    params = _params(launch={"processes": 2}).model_dump_json()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, params]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "example: val/SSC" in done.stdout
    both = hsmodels.load(which="last")[1]["checkpoint"]["measures"]
    assert json.loads(paths.THROUGHPUT.read_text())["processes"] == 2
    for name, value in alone.items():
        assert both[name] == pytest.approx(value, abs=1e-6), name
