"""A small project of each challenge, whose stages have run, and the verbs to kill in it."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from killing import ROOT, Runs
from ruamel.yaml import YAML

from hsdata.formats import hdf5
from hsdata.testing import smooth_cube
from hsmodels import zoo
from hsmodels.testing import project


class Verb(NamedTuple):
    """What is killed: in which project, the line, what is taken away before it, and a file that the clock decides.

    In the line, KAGGLE is the address of a stand-in for Kaggle.
    """

    project: str
    line: str
    gone: str = ""
    varying: str = "throughput.json"


class Project(NamedTuple):
    """A challenge's project: what makes its data and parameters, and the verbs that run before any is killed."""

    make: Callable[[Path], None]
    lines: tuple[str, ...]


def made(name: str, folder: Path, runs: Runs) -> None:
    """Make a project in a new folder."""
    folder.mkdir()
    with contextlib.chdir(folder):
        PROJECTS[name].make(folder)
    for line in PROJECTS[name].lines:
        runs.finish(line, folder)
    # An earlier training, which labels what has no labels and is compared with the other.
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(folder / "outputs/model", folder / "first")
        shutil.copytree(folder / "outputs/evaluation", folder / "earlier")


def _written(name: str, content: dict[str, Any]) -> None:
    YAML().dump(content, Path(name))


def _small(challenge: str) -> Any:
    """The module of a challenge's small project, of its own tests."""
    sys.path.insert(0, str(ROOT / "tests/hstasks" / challenge))
    return __import__(f"small_{challenge}")


_CUBES: dict[str, Any] = {
    "track": 2,
    "model": "example",
    "models": {"example": {"width": 4}},
    "residual": "none",
    "stripes": False,
    "train": {"epochs": 2, "batch_size": 2, "warmup_epochs": 0},
    "machine": {"trackers": [], "state_minutes": 0.001},
    "evaluate": {"pictures": 1, "baselines": False},
}


def _cubes(folder: Path) -> None:
    project(2)
    _written("params.yaml", _CUBES)
    _written("plain.yaml", _CUBES | {"smote": {"balance": "max"}})
    _places_for_new()
    Path("kaggle").mkdir()
    Path("kaggle/kaggle.json").write_text('{"username": "ada", "key": "secret"}')
    Path("recipes").mkdir()
    Path("recipes/short.yaml").write_text("# A short training.\ntrain: {epochs: 1}\n")
    for number, name in enumerate(("good", "other")):
        hdf5.write(f"{name}.h5", smooth_cube(number))
    torch.manual_seed(0)
    torch.save(zoo.build("mst_plus_plus_up", n_feat=4, stage=1).state_dict(), "published.pth")


def _fetched(folder: Path, competition: str) -> Path:
    """Where Kaggle's client finds files that it has fetched before: nothing goes over the network."""
    place = folder / "kaggle" / "competitions"
    place.mkdir(parents=True)
    (place / f"{competition}.complete").touch()
    return place / competition


def _places_for_new() -> None:
    """An empty folder, and a git repository with another."""
    Path("empty").mkdir()
    Path("repository/empty").mkdir(parents=True)
    _call("git", "init", "-q", "repository")


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


_STAGE = """\
import json, pathlib
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
pathlib.Path("outputs/model").mkdir(parents=True, exist_ok=True)
pathlib.Path("outputs/model/weights").write_bytes(bytes(10_000))
value = params["train"]["lr"] * (1 + params["seed"])
pathlib.Path("outputs/metrics.json").write_text(json.dumps({name: value for name in ("SSC", "score")}))
"""
_VARIANTS = {"variants": {"slow": {"train.lr": 0.001}, "fast": {"train.lr": 0.01}}}
_SEARCH = {"search": {"trials": 2, "space": {"train.lr": {"low": 0.001, "high": 0.01}}, "pruner": "none"}}


def _studies(content: dict[str, Any], measure: str) -> None:
    """A project of git and DVC whose only stage takes no time, with a study and a search."""
    _written("params.yaml", {"seed": 1, **content})
    Path("stage.py").write_text(_STAGE)
    stage = {
        "cmd": "python stage.py",
        "deps": ["stage.py"],
        "params": ["seed", "train.lr"],
        "outs": ["outputs/model"],
        "metrics": [{"outputs/metrics.json": {"cache": False}}],
    }
    _written("dvc.yaml", {"stages": {"evaluate": stage}})
    Path("studies").mkdir()
    about = {"measure": measure, "direction": "max"}
    _written("studies/two.yaml", {"name": "two", **about, **_VARIANTS})
    _written("studies/search.yaml", {"name": "search", **about, **_SEARCH})
    Path(".gitignore").write_text("/state\n/outputs/model\n")
    _call("git", "init", "-q", ".")
    for key in ("user.name", "user.email"):
        _call("git", "config", key, "ada")
    _call(sys.executable, "-m", "dvc", "init", "-q")
    _call("git", "add", "-A")
    _call("git", "commit", "-q", "-m", "begin")


def _cube_studies(folder: Path) -> None:
    _studies(_CUBES, "SSC")


def _salt_studies(folder: Path) -> None:
    _studies({"challenge": "salt", **_small("salt").SMALL}, "score")


def _salt(folder: Path) -> None:
    from hstasks.salt import fetch, sample

    content = {"challenge": "salt", **_small("salt").SMALL}
    _written("params.yaml", content)
    confident = {"models": ["first"], "confidence": 0.0, "confidence_small": 0.0, "most": 1.0}
    _written("pseudo.yaml", content | {"pseudo": confident})
    sample.run(folder / "data", train=40, test=12, seed=3)
    _places_for_new()
    files = _fetched(folder, fetch.COMPETITION)
    files.mkdir()
    for part in ("train", "test"):
        shutil.make_archive(str(files / part), "zip", folder / "data" / part)
    for table in (folder / "data").glob("*.csv"):
        shutil.copy(table, files)


def _landcover(folder: Path) -> None:
    from hstasks.landcover import sample

    small = _small("landcover")
    content = small.parameters().model_dump(mode="json")
    _written("params.yaml", content)
    sample.make(folder / "data", seed=1, sites=small.SITES)


def _lenses(folder: Path) -> None:
    from hstasks.lenses import sample
    from hstasks.networks.convnextv2 import ConvNeXtV2

    small = _small("lenses").small()
    _written("params.yaml", {"challenge": "lenses", **small.model_dump(mode="json")})
    sample.run(folder / "data", objects=8, blind=6, seed=3, workers=1)
    torch.manual_seed(0)
    torch.save(ConvNeXtV2(1, 1, (1, 1, 2, 1), (8, 16, 24, 32)).state_dict(), "published.pt")


def _biomass(folder: Path) -> None:
    from hstasks.biomass import fetch, sample

    content = _small("biomass").SMALL
    _written("params.yaml", content)
    _written("pseudo.yaml", content | {"pseudo": {"models": ["first"], "grams": 1000.0, "share": 100.0}})
    _written("stack.yaml", content | {"stack": {"members": ["outputs/folds"], "forms": ["means", "colour_ridge"]}})
    sample.run(folder / "data", groups=3, images=3, width=64)
    shutil.copytree(folder / "data", _fetched(folder, fetch.COMPETITION))


def _tasks(*verbs: str) -> tuple[str, ...]:
    return tuple(f"hstasks {verb}" for verb in verbs)


PROJECTS = {
    "cubes": Project(_cubes, ("hsdata smote plan --params plain.yaml", "hsmodels train", "hsmodels evaluate")),
    "studies": Project(_cube_studies, ()),
    "salt studies": Project(_salt_studies, ()),
    "salt": Project(_salt, _tasks("catalog", "mosaic", "split", "train", "evaluate")),
    "landcover": Project(
        _landcover, _tasks("catalog", "split", "replicate", "relabel", "train", "evaluate", "aggregate")
    ),
    "lenses": Project(_lenses, _tasks("catalog", "convert", "split", "train", "evaluate")),
    "biomass": Project(_biomass, _tasks("catalog", "split", "train", "evaluate", "folds")),
}

_EVALUATION = "outputs/metrics.json outputs/evaluation"
_TRAINED = "outputs/model outputs/curves outputs/throughput.json"
_PREDICT = "hsmodels predict --input data/track2/test-private/rgb_2 --output made --device cpu"
_BASELINE = "outputs/stages/baseline"

# A new verb that writes is tried as soon as it is named here.
VERBS = {
    "import": Verb("cubes", "hsdata import good.h5 --to made --track both"),
    "export": Verb("cubes", "hsdata export good.h5 other.h5 --to made"),
    "view": Verb("cubes", "hsdata view good.h5 other.h5"),
    "sample": Verb("cubes", "hsdata sample made --size 16 --train 4 --workers 1 --force"),
    "catalog": Verb("cubes", "hsdata catalog --workers 1"),
    "convert": Verb("cubes", "hsdata convert --workers 1"),
    "convert anew": Verb("cubes", "hsdata convert --workers 1", "derived/hsi_61_zarr"),
    "render": Verb("cubes", "hsdata render --workers 1"),
    "index": Verb("cubes", "hsdata index", "derived/index"),
    "smote plan": Verb("cubes", "hsdata smote plan"),
    "smote generate": Verb("cubes", "hsdata smote generate --workers 1"),
    "fetch": Verb("cubes", "hsdata fetch --track 2 --to made --base-url KAGGLE"),
    "merge": Verb("cubes", "hsdata merge made --copy --workers 1"),
    "train": Verb("cubes", "hsmodels train", _TRAINED),
    "evaluate": Verb("cubes", "hsmodels evaluate"),
    "predict": Verb("cubes", _PREDICT),
    "submit": Verb("cubes", "hsmodels submit"),
    "report": Verb("cubes", "hsmodels report"),
    "compare": Verb("cubes", "hsmodels compare outputs/model first"),
    "export onnx": Verb("cubes", "hsmodels export"),
    "export torchscript": Verb("cubes", "hsmodels export --format torchscript --to made.pt"),
    "bundle": Verb("cubes", "hsmodels bundle --to made", varying="README.md"),
    "bundle zip": Verb("cubes", "hsmodels bundle --to made.zip", varying="made.zip"),
    "recipe apply": Verb("cubes", "hsmodels recipe apply short"),
    "import-checkpoint": Verb("cubes", "hsmodels import-checkpoint published.pth --to made"),
    "code": Verb("cubes", "hsmodels code"),
    "new": Verb("cubes", "hsmodels new made", varying="index"),
    "new in an empty folder": Verb("cubes", "hsmodels new empty", varying="index"),
    "new in a repository": Verb("cubes", "hsmodels new repository/made", varying="index"),
    "new in a repository's folder": Verb("cubes", "hsmodels new repository/empty", varying="index"),
    "study": Verb("studies", "hsmodels study run studies/two.yaml"),
    "search": Verb("studies", "hsmodels study run studies/search.yaml"),
    "salt sample": Verb("salt", "hstasks sample made"),
    "salt catalog": Verb("salt", "hstasks catalog", "derived/catalog.csv"),
    "salt mosaic": Verb("salt", "hstasks mosaic", "derived/mosaic.csv"),
    "salt split": Verb("salt", "hstasks split"),
    "salt pseudo": Verb("salt", "hstasks pseudo --params pseudo.yaml"),
    "salt train": Verb("salt", "hstasks train", _TRAINED),
    "salt evaluate": Verb("salt", "hstasks evaluate"),
    "salt submit": Verb("salt", "hstasks submit"),
    "salt report": Verb("salt", "hstasks report"),
    "salt predict": Verb("salt", "hstasks predict --input data/test/images --output made --device cpu"),
    "salt export": Verb("salt", "hstasks export"),
    "salt compare": Verb("salt", "hstasks compare outputs/evaluation earlier"),
    "landcover sample": Verb("landcover", "hstasks sample made"),
    "landcover catalog": Verb("landcover", "hstasks catalog"),
    "landcover split": Verb("landcover", "hstasks split"),
    "landcover split anew": Verb("landcover", "hstasks split", "derived/split derived/masks"),
    "landcover replicate": Verb("landcover", "hstasks replicate"),
    "landcover relabel": Verb("landcover", "hstasks relabel", "derived/oem"),
    "landcover train": Verb("landcover", "hstasks train", f"{_BASELINE}/model {_BASELINE}/curves"),
    "landcover evaluate": Verb("landcover", "hstasks evaluate"),
    "landcover aggregate": Verb("landcover", "hstasks aggregate", "outputs/summary.csv"),
    "landcover test": Verb("landcover", "hstasks test"),
    "landcover submit": Verb("landcover", "hstasks submit"),
    "landcover report": Verb("landcover", "hstasks report"),
    "landcover predict": Verb(
        "landcover", f"hstasks predict --input data/target/scenes --output made --model {_BASELINE}/model --device cpu"
    ),
    "lenses sample": Verb("lenses", "hstasks sample made"),
    "lenses catalog": Verb("lenses", "hstasks catalog", "derived/catalog.csv derived/parameters.csv"),
    "lenses convert": Verb("lenses", "hstasks convert", "derived/cutouts.zarr"),
    "lenses split": Verb("lenses", "hstasks split"),
    "lenses train": Verb("lenses", "hstasks train", _TRAINED),
    "lenses evaluate": Verb("lenses", "hstasks evaluate", f"{_EVALUATION} outputs/calibration.json"),
    "lenses submit": Verb("lenses", "hstasks submit"),
    "lenses report": Verb("lenses", "hstasks report"),
    "lenses predict": Verb("lenses", "hstasks predict --input data/test --output made --device cpu"),
    "lenses import-checkpoint": Verb("lenses", "hstasks import-checkpoint published.pt --to made"),
    "biomass sample": Verb("biomass", "hstasks sample made"),
    "biomass fetch": Verb("biomass", "hstasks fetch --to made"),
    "biomass catalog": Verb("biomass", "hstasks catalog", "derived/catalog.csv"),
    "biomass split": Verb("biomass", "hstasks split"),
    "biomass pseudo": Verb("biomass", "hstasks pseudo --params pseudo.yaml"),
    "biomass train": Verb("biomass", "hstasks train", _TRAINED),
    "biomass evaluate": Verb("biomass", "hstasks evaluate", _EVALUATION),
    "biomass submit": Verb("biomass", "hstasks submit"),
    "biomass report": Verb("biomass", "hstasks report"),
    "biomass folds": Verb("biomass", "hstasks folds", f"{_TRAINED} {_EVALUATION} outputs/folds"),
    "biomass stack": Verb("biomass", "hstasks stack --params stack.yaml"),
    "biomass predict": Verb("biomass", "hstasks predict --input data/test --output made --device cpu"),
    "tasks code": Verb("salt", "hstasks code"),
    "tasks new": Verb("salt", "hstasks new salt made", varying="index"),
    "tasks new in an empty folder": Verb("salt", "hstasks new salt empty", varying="index"),
    "tasks new in a repository": Verb("salt", "hstasks new salt repository/made", varying="index"),
    "salt fetch": Verb("salt", "hstasks fetch --to made"),
    "tasks study": Verb("salt studies", "hstasks study run studies/two.yaml"),
    "tasks search": Verb("salt studies", "hstasks study run studies/search.yaml"),
}
