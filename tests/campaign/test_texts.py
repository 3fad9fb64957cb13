"""Every text that people edit, spoiled: it says the same as far as it can, or the user is told."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spoiling import Fault, at_length, attempt, spoiled, text

from hsdata import catalog, leakage
from hsdata.camera.camera import Camera
from hsdata.captures import provenance
from hsdata.cube import BAND_GRID
from hsdata.formats import envi, wavelengths
from hsdata.mixing import pairs
from hsdata.params import load_data_params
from hsdata.testing import catalog_of, numbered
from hsengine import folder
from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hsengine.study import plan, recipe
from hsmodels import checkpoint
from hsmodels.inference.weights import read_weights, write_weights
from hsmodels.params import load_params
from hsmodels.project import PROJECT
from hsmodels.testing import model_folder

ROOT = Path(__file__).resolve().parents[2]
RECIPE = sorted((ROOT / "recipes").glob("*.yaml"))[0]
STUDY = ROOT / "studies" / "models.yaml"
LISTED = "wavelength\n" + "\n".join(f"{value:g}" for value in BAND_GRID)


def _imports() -> str:
    sample = {item.name: 1 if item.type == "int" else "x" for item in fields(provenance.ImportedSample)}
    values = asdict(provenance.ImportedSample(**sample))
    return ",".join(values) + "\n" + ",".join(map(str, values.values())) + "\n"


def _catalog() -> str:
    catalog.save(catalog_of({"train": numbered(1, 3), "test-public": numbered(2, 2)}), "sound.csv")
    return Path("sound.csv").read_text()


def _plan() -> str:
    frame = catalog_of({"train": [*numbered(1, 2), *numbered(2, 4)]})
    pairs.write(pairs.plan(pairs.labels(frame)), "plan.csv")
    return Path("plan.csv").read_text()


def _weights() -> str:
    write_weights("fitted.csv", np.full((2, 61), 0.5), BAND_GRID)
    return Path("fitted.csv").read_text()


def _record() -> str:
    model_folder(Path("model"), track=2)
    return Path("model/config.json").read_text()


def _all_finite(values: Any) -> None:
    assert np.isfinite(values).all()


# Name of the file: its sound text, its reader, and what a result that was read must be.
TEXTS: dict[str, tuple[Callable[[], str], Callable[[Path], Any], Callable[[Any], None] | None]] = {
    "params.yaml": ((ROOT / "params.yaml").read_text, lambda file: (load_data_params(file), load_params(file)), None),
    f"recipes/{RECIPE.name}": (
        RECIPE.read_text,
        lambda file: recipe.read(PROJECT, file.stem, file.parent),
        lambda found: str(found) and None,
    ),
    "study.yaml": (STUDY.read_text, lambda file: plan.load(file, ROOT / "params.yaml", PROJECT).experiments(), None),
    "index.txt": (lambda: "".join(f"{name}\n" for name in numbered(1, 5)), leakage.read, None),
    "groups/groups.csv": (lambda: "id,group\na,b\nc,d\n", lambda file: provenance.groups(file.parent), None),
    "imports/imports.csv": (_imports, lambda file: provenance.read(file.parent), None),
    "derived/catalog.csv": (_catalog, catalog.load, None),
    "plan.csv": (_plan, pairs.read, None),
    "list.csv": (lambda: LISTED, wavelengths.read_list, _all_finite),
    "list.txt": (lambda: LISTED.partition("\n")[2].replace("\n", " "), wavelengths.read_list, _all_finite),
    "camera.csv": (
        lambda: "wavelength,r,g,b\n400,0.1,0.2,0.3\n700,0.3,0.2,0.1\n",
        Camera.from_csv,
        lambda found: _all_finite(found.sensitivities),
    ),
    "weights.csv": (_weights, read_weights, _all_finite),
    "image.hdr": (
        lambda: "ENVI\nsamples = 3\nlines = 2\nbands = 1\ndata type = 4\nwavelength = {500}\n",
        envi.read_header,
        None,
    ),
    "spoiled/config.json": (_record, lambda file: folder.read(file.parent, checkpoint.Record), None),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_spoiled_text_is_read_or_explained(name: str, place: Path) -> None:
    make, read, check = TEXTS[name]
    content = make().encode()
    file = place / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    if name != "imports/imports.csv":
        read(file)

    def tried(found: list[Fault]) -> None:
        file.write_bytes(spoiled(content, found))
        attempt(lambda: read(file), check)

    at_length(name, text, tried)


@pytest.mark.parametrize(
    "content",
    [
        "a: " + "[" * 300 + "]" * 300,
        # Parsed to its end, this would take hours.
        "a: " + "[" * 100_000,
        "a: &a [*a]",
        "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]),
        "seed: 99999-99-99",
        "!!python/object/apply:os.system ['touch ran']",
        "seed: 1" + "0" * 5000,
        "model: mstpp\nmodels: {mstpp: {stages: .nan}}",
        "train: {lr: .inf}",
        "loss: {l1: 0, sam: 0, ssc: 0}",
    ],
)
def test_parameters_without_end_or_meaning_are_refused(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(content)
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_params("params.yaml")
    assert not Path("ran").exists()


def test_a_record_with_numbers_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", track=2)
    file = tmp_path / "model" / "config.json"
    sound = json.loads(file.read_text())
    for value in (float("nan"), float("inf")):
        file.write_text(json.dumps(sound | {"checkpoints": {"best": {"epoch": value}}}))
        with pytest.raises(UserError, match="a finite number is needed"):
            checkpoint.load(tmp_path / "model")


def test_the_parameters_of_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        read_yaml(tmp_path / "params.yaml")
