"""What each booster of the pasture models is worth: a study of a project in one process. Run it in challenges/biomass.

Trains and evaluates the experiments of a study file as `hstasks study run` does, but without DVC, whose stages would
take as long again as these short trainings. Variants that differ in `predict` alone share a training. One repetition of
all variants comes after the other, so that a run that is stopped early has compared all of them. What is measured is
kept in a file, and a second run goes on from there. Beside the study's own variants: pseudo-labels of the test images
by the baseline's model of the same fold and seed, and the baseline's seeds as one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

Found = dict[str, dict[str, Any]]

PSEUDO = "pseudo-labels"


def main() -> None:
    from hsengine.base.files import write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path, default=Path("studies/ablations.yaml"))
    parser.add_argument("--minutes", type=float, default=25.0, help="of processor time, after which none is begun")
    parser.add_argument("--keep", type=Path, default=Path("derived/boosters"), help="folder of models and measures")
    given = parser.parse_args()
    params = Path("params.yaml")
    if not Path("derived/split").is_dir() or "challenge: biomass" not in params.read_text(encoding="utf-8"):
        print("no project of pastures in this folder: run it where derived/split is")
        return
    from hsengine.study import plan as plans
    from hsengine.study import table
    from hsengine.study.experiments import Status
    from hstasks.biomass.challenge import PROJECT

    plan = plans.load(given.study, "params.yaml", PROJECT)
    planned = plan.experiments()
    file = given.keep / "measures.json"
    found: Found = json.loads(file.read_text()) if file.is_file() else {}
    baseline = plan.study.baseline or planned[0].label
    extra = [_pseudo(one) for one in planned if one.label == baseline]
    everything = sorted([*planned, *extra], key=lambda one: one.repeat)
    started = time.process_time()
    for one in everything:
        if one.name in found or time.process_time() - started > 60.0 * given.minutes:
            continue
        before = time.process_time()
        found[one.name] = _measured(plan.parameters(one), one.label == PSEUDO, given.keep, given.keep / one.name)
        found[one.name]["seconds"] = time.process_time() - before
        write_json(file, found)
        print(f"{one.name}: {found[one.name]['R2']:.4f}, {found[one.name]['seconds']:.0f} s", flush=True)
    records = {name: Status(name, "done", metrics={plan.study.metrics: said}) for name, said in found.items()}
    rows = table.rows(plan, everything, records)
    print(table.markdown(table.header(plan, rows), table.cells(plan, rows)))
    print("\n".join(table.remarks(plan, everything, records)))
    _together([one for one in planned if one.label == baseline and one.name in found], given.keep)
    print(f"{sum(said['seconds'] for said in found.values()):.0f} processor seconds")


def _pseudo(one: Any) -> Any:
    """The experiment of a baseline's repetition with pseudo-labels."""
    from dataclasses import replace

    return replace(one, name=one.name.replace(one.label, PSEUDO), label=PSEUDO)


def _measured(params: Any, labelled: bool, keep: Path, out: Path) -> dict[str, Any]:
    """Train what has not been trained, and score the held-out images."""
    from hsengine.base import paths
    from hstasks.biomass import evaluate, pseudo, train
    from hstasks.images.pseudo import FOLDER

    plain = params.model_dump(mode="json", exclude={"predict", "machine", "stack", "frozen", "pseudo"})
    teacher = keep / "models" / hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=8).hexdigest()
    model = teacher.with_suffix(".pseudo") if labelled else teacher
    shutil.rmtree(FOLDER, ignore_errors=True)
    if labelled:
        asked = params.pseudo.model_copy(update={"models": [str(teacher)]})
        print(pseudo.run(params.model_copy(update={"pseudo": asked})))
    if not model.is_dir():
        train.run(params)
        shutil.copytree(paths.MODEL, model)
    metrics = dict(evaluate.run(params, model=model, file=keep / "metrics.json", folder=out).metrics)
    shutil.rmtree(FOLDER, ignore_errors=True)
    return metrics


def _together(repeats: list[Any], keep: Path) -> None:
    """The score of the mean of the seeds' grams beside the mean of their scores, fold by fold."""
    import pandas as pd

    from hstasks.biomass import evaluate
    from hstasks.biomass.layout import TARGETS
    from hstasks.biomass.score import weighted_r2

    folds: dict[Any, list[Any]] = {}
    for one in repeats:
        folds.setdefault(one.repeat[1], []).append(pd.read_csv(keep / one.name / evaluate.OUT_OF_FOLD))
    for fold, tables in folds.items():
        grams = [rows[list(TARGETS)].to_numpy() for rows in tables]
        truth = tables[0][[f"{name}_truth" for name in TARGETS]].to_numpy()
        each = [weighted_r2(truth, one, TARGETS) or 0.0 for one in grams]
        together = weighted_r2(truth, sum(grams) / len(grams), TARGETS) or 0.0
        print(f"fold {fold}: {len(grams)} seeds as one {together:.4f}, one by one {sum(each) / len(each):.4f}")


if __name__ == "__main__":
    main()
