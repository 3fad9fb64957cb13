"""The stage `evaluate`: temperature and threshold from the validation part, then the scores of the test part, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from hsengine import evaluate as engine
from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing, write_json
from hsengine.evaluate import Summary
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import ensemble, measures, parameters, published, scoring
from hstasks.lenses import samples as seen
from hstasks.lenses import split as splits
from hstasks.lenses.convert import Store
from hstasks.lenses.ensemble import SPLIT_KEY, Calibration
from hstasks.lenses.params import Input, Params
from hstasks.lenses.samples import Sample
from hstasks.lenses.scoring import Member, Scores
from hstasks.lenses.split import Decision

LEADING = "auroc"
OBJECTS = "objects.csv"
PUBLISHED = "published"
VALIDATION, TEST = "val", "test"


def run(
    params: Params,
    *,
    model: Path = paths.MODEL,
    file: Path = paths.METRICS,
    folder: Path = paths.EVALUATION,
    calibration: Path | None = None,
) -> Summary:
    """Fit temperature and threshold on the validation part and score the test part with them.

    Writes `metrics.json`, and into the folder `objects.csv` (a row an object), `roc.png`, `calibration.png`,
    `scores.png` and, under `published`, the published system's files. With `predict.models`, the ensemble is scored. A
    model of parameters is measured on the test lenses, see `parameters.evaluate`; it has no threshold.

    Args:
        params: how to predict.
        model: what training wrote.
        file: for `metrics.json`.
        folder: replaced as a whole.
        calibration: for temperature and threshold; None: `calibration.json` beside the model's folder.

    Raises:
        UserError: there is no model, catalog, store or split, a member was trained on another split, or a part lacks
            a class.
    """
    decision = splits.load()
    if parameters.is_regression(model):
        member = parameters.single(model, params.predict.checkpoint)
        _check_split([member], decision)
        scoring.write_calibration(calibration or scoring.beside(model), None, [member])
        return parameters.evaluate(member, decision, params.predict, file=file, folder=folder)
    frame = catalogs.labelled(catalogs.load())
    chosen = scoring.members([model, *params.predict.models], params.predict.checkpoint)
    _check_split(chosen, decision)
    store = Store()
    with ExitStack() as stack:
        tables = {
            part: stack.enter_context(_scored(chosen, frame, decision, part, params, store))
            for part in (VALIDATION, TEST)
        }
        validation = tables[VALIDATION]
        ids, values = scoring.by_object(chosen, validation, _bands(frame), params.ensemble.mean)
        labels = frame.set_index("id")["label"]
        fitted = ensemble.fit(
            ids,
            values,
            labels.loc[ids],
            decision,
            mean=params.ensemble.mean,
            temperature=params.ensemble.temperature,
            d4=params.predict.d4,
        )
        objects = {part: _objects(chosen, table, frame, fitted, part) for part, table in tables.items()}
        singles = {part: _files(chosen, table, frame, fitted) for part, table in tables.items()}
        metrics = _metrics(objects, singles, fitted, params.evaluate.resamples)
        metrics["run"] = _run(chosen, decision, params, fitted) | {"unscored": _unscored(objects, decision)}
        with replacing(folder) as scratch:
            scratch.mkdir()
            engine.write_table(pd.concat([objects[VALIDATION], objects[TEST]]), scratch / OBJECTS)
            measures.plot(scratch, objects[TEST], fitted.threshold)
            (scratch / PUBLISHED).mkdir()
            for part in (VALIDATION, TEST):
                published.write_scores(scratch / PUBLISHED, singles[part], part=part, threshold=fitted.threshold)
            published.write_results(scratch / PUBLISHED, singles[TEST], chosen[0].record)
        scoring.write_calibration(calibration or scoring.beside(model), fitted, chosen)
        write_json(file, metrics)
    return Summary(metrics, file, folder, "objects")


def _check_split(chosen: Sequence[Member], decision: Decision) -> None:
    for member in chosen:
        known = member.record.get(SPLIT_KEY)
        if known is not None and known != decision.hash:
            raise UserError(
                f"{member.name} was trained on the split {str(known)[:12]}, and the split is {decision.hash[:12]} now: "
                "it may have learned from what it would be measured on. Train it on this split."
            )


@contextmanager
def _scored(
    chosen: Sequence[Member], frame: pd.DataFrame, decision: Decision, part: str, params: Params, store: Store
) -> Iterator[list[Scores]]:
    """What each member says of the samples of a part of the split."""
    only = [_samples(member, decision, frame, part) for member in chosen]
    wanted = {sample.id for own in only for sample in own}
    rows = frame[frame["id"].isin(wanted)]
    if rows.empty:
        raise UserError(f"There is no object to measure in the part '{part}' of the split.")
    with scoring.scored(chosen, rows, store, params.predict, only=only, label=f"scoring {part}") as found:
        yield found


def _samples(member: Member, decision: Decision, frame: pd.DataFrame, part: str) -> set[Sample]:
    section = Input(bands=member.sight.bands, together=member.sight.together)
    return set(seen.parts(decision, frame, section, part))


def _objects(
    chosen: Sequence[Member], table: list[Scores], frame: pd.DataFrame, fitted: Calibration, part: str
) -> pd.DataFrame:
    """A row an object: what is known of it, and what the ensemble says."""
    ids, values = scoring.by_object(chosen, table, _bands(frame), fitted.mean)
    known = frame.set_index("id").loc[ids].reset_index()
    probability = fitted.probabilities(values)
    rows = known[["id", "domain", "label", "group", "rein", "mag_lens_i", "mag_src_i", "bands"]].assign(part=part)
    rows = rows.assign(prob=probability, pred=fitted.decisions(probability))
    for number, own in enumerate(values):
        rows[f"member_{number}"] = own
    return rows


def _unscored(objects: Mapping[str, pd.DataFrame], decision: Decision) -> list[str]:
    """The objects of the parts of which no member sees a band."""
    parts = decision.rows.groupby("part")["id"]
    return sorted(name for part, rows in objects.items() for name in set(parts.get_group(part)) - set(rows["id"]))


def _bands(frame: pd.DataFrame) -> dict[str, str]:
    """The letters of each object's readable bands."""
    return dict(zip(frame["id"], frame["bands"], strict=True))


def _files(chosen: Sequence[Member], table: list[Scores], frame: pd.DataFrame, fitted: Calibration) -> pd.DataFrame:
    """A row a sample, as the published system counts: a file where each band is seen by itself, else an object."""
    known = frame.set_index("id")
    names = sorted(set().union(*table))
    if any(sample not in own for own in table for sample in names):
        # Members that see the bands in different ways have objects in common only.
        return _objects(chosen, table, frame, fitted, "").assign(path=lambda rows: rows["id"], band="")
    values = fitted.probabilities([[own[sample] for sample in names] for own in table])
    rows = known.loc[[sample.id for sample in names]]
    return pd.DataFrame(
        {
            "path": [sample.name for sample in names],
            "domain": list(rows["domain"]),
            "label": list(rows["label"]),
            "group": list(rows["group"]),
            "band": [sample.band for sample in names],
            "prob": values,
        }
    )


def _metrics(
    objects: Mapping[str, pd.DataFrame], singles: Mapping[str, pd.DataFrame], fitted: Calibration, resamples: int
) -> dict[str, Any]:
    """The measures of the test objects, and by domain, magnitude, Einstein radius, band and part."""
    parts = measures.measures(objects[TEST], fitted.threshold, resamples=resamples)
    found = _flat(parts.pop("all"))
    for name, values in parts.items():
        group, _, own = name.partition("::")
        found.setdefault(group, {})[own] = _flat(values)
    # By band only where each has a score of its own.
    if (singles[TEST]["band"] != "").any():
        for name, values in measures.measures(singles[TEST], fitted.threshold, resamples=0).items():
            group, _, own = name.partition("::")
            if group == "band":
                found.setdefault("band", {})[own] = _flat(values)
            elif group == "all":
                found["samples"] = {"each band by itself": _flat(values)}
    seen_ones = measures.measures(objects[VALIDATION], fitted.threshold, resamples=0)["all"]
    return found | {"part": {VALIDATION: _flat(seen_ones)}}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Measures with the ends of their intervals as numbers beside them."""
    found = {name: value for name, value in values.items() if name not in ("interval", "samples")}
    found["objects"] = values["samples"]
    for name, ends in (values.get("interval") or {}).items():
        if ends is not None:
            found |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return found


def _run(chosen: Sequence[Member], decision: Decision, params: Params, fitted: Calibration) -> dict[str, Any]:
    return {
        "leading": LEADING,
        "model": chosen[0].record["model"]["name"],
        "checkpoint": params.predict.checkpoint,
        "members": len(chosen),
        "tta": params.predict.d4,
        "split": decision.hash,
        "strategy": decision.strategy,
        "sisters": decision.sisters,
        "calibration": fitted.to_dict(),
        "same_division": engine.same_division([member.record.get(SPLIT_KEY) for member in chosen], decision.hash),
        "training": [member.record.get("training") for member in chosen],
    }
