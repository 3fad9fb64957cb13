"""The same of the texts of the image tasks: their parameters, the competitions' tables, and what the stages write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from spoiling import Fault, at_length, attempt, spoiled, text

pytest.importorskip("timm", reason="the libraries of the image tasks are not installed")

from hsengine.base.errors import UserError
from hstasks import challenge
from hstasks.biomass import layout as biomass
from hstasks.images import catalog, split
from hstasks.landcover import classes
from hstasks.lenses import lens_table, published
from hstasks.lenses import split as lens_split
from hstasks.salt import layout as salt

ROOT = Path(__file__).resolve().parents[2]
IDS = [f"id{number}" for number in range(12)]
KNOWN = pd.DataFrame({"id": IDS})


def _salt(name: str) -> Callable[[Path], Any]:
    def read(file: Path) -> Any:
        found = salt.Found(file.parent, [], [])
        read_table = {"train.csv": salt._read_train, "depths.csv": salt._read_depths}[name]
        return read_table(found, {one: salt.Tile(one, salt.TRAIN, file) for one in IDS})

    return read


def _biomass() -> str:
    described = {"Sampling_Date": "2015/1/9", "State": "Vic", "Species": "Clover", "Pre_GSHH_NDVI": "0.5"}
    rows = [
        {
            "sample_id": f"ID{number}__{target}",
            "image_path": f"train/ID{number}.jpg",
            **described,
            "Height_Ave_cm": "3.5",
            "target_name": target,
            "target": "1.5",
        }
        for number in range(2)
        for target in biomass.TARGETS
    ]
    return pd.DataFrame(rows)[list(biomass.TRAIN_COLUMNS)].to_csv(index=False)


def _catalog() -> str:
    rows = [{"id": name, "split": "train", "image": f"{name}.png", "content": name} for name in IDS]
    return catalog.framed(rows).to_csv(index=False)


def _decision() -> str:
    split.write(split.decide(catalog.framed([{"id": name, "split": "train"} for name in IDS]), split.Split()), "folds")
    return Path("folds", split.DECISION).read_text()


def _divided() -> str:
    parts = ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    return "id,part\n" + "".join(f"{name},{part}\n" for name, part in zip(IDS, parts, strict=True))


def _table_of_lenses() -> str:
    return pd.DataFrame({"id": IDS, **dict.fromkeys(lens_table.LENS_VALUES, 1.5)}).to_csv(index=False)


TEXTS: dict[str, tuple[Callable[[], str], Callable[[Path], Any]]] = {
    **{
        f"{name}/params.yaml": ((ROOT / "challenges" / name / "params.yaml").read_text, challenge.load)
        for name in challenge.NAMES
    },
    "salt/train.csv": (lambda: "id,rle_mask\n" + "".join(f"{name},1 3 9 2\n" for name in IDS), _salt("train.csv")),
    "salt/depths.csv": (lambda: "id,z\n" + "".join(f"{name},306\n" for name in IDS), _salt("depths.csv")),
    "biomass/train.csv": (_biomass, lambda file: biomass.train_entries(file, file.parent)),
    "landcover/labels.csv": (
        lambda: (Path(classes.__file__).parent / "tables" / f"{classes.TABLES[0]}.csv").read_text(),
        lambda file: classes.relabelling(str(file)),
    ),
    "lenses/split.csv": (_divided, lambda file: lens_split._from_file(KNOWN, str(file))),
    "lenses/parameters.csv": (_table_of_lenses, lens_table.load),
    "lenses/threshold.txt": (lambda: "0.5\n", published.read_threshold),
    "tasks/catalog.csv": (_catalog, catalog.load),
    "folds/decision.json": (_decision, lambda file: split.load(file.parent)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_spoiled_text_of_a_task_is_read_or_explained(name: str, place: Path) -> None:
    make, read = TEXTS[name]
    content = make().encode()
    file = place / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    read(file)

    def tried(found: list[Fault]) -> None:
        file.write_bytes(spoiled(content, found))
        attempt(lambda: read(file))

    at_length(f"of tasks: {name}", text, tried)


@pytest.mark.parametrize("name", ["lenses/split.csv", "landcover/labels.csv"])
@pytest.mark.parametrize("fault", ["comma", "semicolons", "comment", "tab", "twice"])
def test_a_table_of_the_user_is_read_strictly(name: str, fault: str, place: Path) -> None:
    make, read = TEXTS[name]
    lines = make().splitlines()
    file = place / name
    file.parent.mkdir(exist_ok=True)
    # A comma at the end of each row moves the columns of a lenient reader.
    changed = {
        "comma": [lines[0], *(f"{line}," for line in lines[1:])],
        "semicolons": [line.replace(",", ";") for line in lines],
        "comment": ["# by hand", *lines],
        "tab": [line.replace(",", "\t") for line in lines],
        "twice": [*lines, lines[-1]],
    }
    file.write_text("\n".join(changed[fault]) + "\n")
    with pytest.raises(UserError, match=file.name):
        read(file)


def test_a_decision_that_nests_without_end_is_refused(place: Path) -> None:
    make, read = TEXTS["folds/decision.json"]
    make()
    file = place / "folds" / split.DECISION
    read(file)
    file.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"decision\.json cannot be read .*without end; make it anew"):
        read(file)
