"""The stage `report`: the test objects at any threshold, and the bands of those that went most wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hsengine.base import paths
from hsengine.report import content
from hsengine.report.page import Section, Table, packed
from hsengine.report.pictures import picture
from hstasks.lenses import catalog as catalogs
from hstasks.lenses import evaluate, parameters
from hstasks.lenses.convert import Store
from hstasks.lenses.layout import BANDS, DOMAINS
from hstasks.lenses.params import Params
from hstasks.report import page as pages
from hstasks.report.page import PARAMS, Own, Summary

SHOWN: Final = 12
"""Objects of each kind that the page shows."""

MISSED, ALARMS, FOUND, REJECTED = (
    "lenses with the lowest probability",
    "non-lenses with the highest probability",
    "lenses with the highest probability",
    "non-lenses with the lowest probability",
)
"""The kinds; of the last two, which went well, a third as many are shown."""

_COLUMNS = ("id", "domain", "label", "part", "prob", "rein", "mag_lens_i", "mag_src_i")
_RGB = "irg"
_SOFT = 3.0
_QUANTILE = 0.998

__loads__ = ("hstasks/report/templates/objects.html", "hstasks/report/assets/objects.js")


def run(
    params: Params,
    *,
    model: Path = paths.MODEL,
    file: Path = paths.REPORT,
    metrics: Path = paths.METRICS,
    objects: Path = paths.EVALUATION / evaluate.OBJECTS,
    params_file: Path = PARAMS,
) -> Summary:
    """Write the page of the last training and evaluation.

    Args:
        params: of the file; nothing of them decides the page.
        model: what training wrote.
        file: the HTML file.
        metrics: what `hstasks evaluate` wrote.
        objects: the table of objects that it wrote.
        params_file: the parameters, as they are compared with the last commit's.

    Raises:
        UserError: an earlier stage's result is missing or damaged.
    """
    found = content.read_json(metrics, "evaluate")
    if found["run"]["leading"] == parameters.LEADING:
        return _of_parameters(found, objects.with_name(parameters.LENSES), file, params_file)
    rows = [row for row in content.read_table(objects, _COLUMNS) if row["part"] == evaluate.TEST]
    chosen = picked(rows)
    return pages.make(
        _project(),
        found,
        "objects",
        own(rows, chosen, images([row["id"] for row, _ in chosen]), found),
        content.ranked(
            [_row(row) for row in sorted(rows, key=_error, reverse=True)],
            f"{objects}, the objects of the test part, ordered by the distance of probability and truth",
        ),
        lead=(
            f"{evaluate.LEADING} over {found['objects']} objects of the test part, which neither training nor the "
            "threshold has seen. Below: what each threshold gives and the objects that went most wrong, then all "
            "scores, what was run and what it cost."
        ),
        watched="auc",
        file=file,
        params_file=params_file,
    )


def _of_parameters(found: Mapping[str, Any], table: Path, file: Path, params_file: Path) -> Summary:
    """The page of a model of parameters."""
    source = f"{paths.METRICS}: {found['objects']} lenses of the test part; errors in the parameter's own unit"
    heads = ["parameter", "R2", "RMSE", "MAE", "objects"]
    rows = [[name, *(content.number(part[head]) for head in heads[1:])] for name, part in found["parameter"].items()]
    known = content.read_table(table, ["id"])
    return pages.make(
        _project(),
        {name: value for name, value in found.items() if name != "parameter"},
        "objects",
        Own(Section("Parameters", [Table(heads, rows, source)]), ""),
        Section("Lenses", [Table(["table", "lenses"], [[str(table), str(len(known))]], "a row a lens")]),
        lead=(
            "The parameters of the lenses of the test part as they were predicted, beside what is known of them. R2 is "
            "the mean over all but the angles, whose error is that modulo 180 degrees."
        ),
        watched="R2",
        file=file,
        params_file=params_file,
    )


def _project() -> Any:
    from hstasks.lenses.challenge import PROJECT

    return PROJECT


def _error(row: Mapping[str, str]) -> float:
    return abs(float(row["prob"]) - float(row["label"]))


def _row(row: Mapping[str, str]) -> dict[str, str]:
    said = {"id": row["id"], "truth": "lens" if row["label"] == "1" else "no lens", "probability": row["prob"]}
    return said | {name: row[name] for name in ("domain", "rein", "mag_lens_i", "mag_src_i")}


def picked(rows: Sequence[Mapping[str, str]], most: int = SHOWN) -> list[tuple[Mapping[str, str], str]]:
    """Objects to look at with their kind: of each class those that went most wrong, and some that went best."""
    found: list[tuple[Mapping[str, str], str]] = []
    lenses, others = (sorted((row for row in rows if row["label"] == label), key=_error) for label in "10")
    for kind, part in ((MISSED, lenses[::-1][:most]), (ALARMS, others[::-1][:most])):
        found += [(row, kind) for row in part]
    shown = {row["id"] for row, _ in found}
    for kind, part in ((FOUND, lenses), (REJECTED, others)):
        found += [(row, kind) for row in part if row["id"] not in shown][: most // 3]
    return found


def images(ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The images (5, 41, 41) of objects in counts, NaN where a band cannot be read, from the store.

    Raises:
        UserError: there is no catalog or store, or they do not hold an object.
    """
    frame, store = catalogs.load(), Store()
    rows = frame[frame["id"].isin(set(ids))]
    places = zip(rows["id"], rows["bucket"], rows["row"], strict=True)
    return {str(name): store.read(str(bucket), int(row)) for name, bucket, row in places}


def own(
    rows: Sequence[Mapping[str, str]],
    chosen: Sequence[tuple[Mapping[str, str], str]],
    seen: Mapping[str, NDArray[np.float32]],
    found: Mapping[str, Any],
) -> Own:
    """The page's part with rates, curves and objects."""
    names = [name for name in DOMAINS if any(row["domain"] == name for row in rows)]
    fitted = found["run"]["calibration"]
    kinds = [kind for kind in (MISSED, ALARMS, FOUND, REJECTED) if any(kind == one for _, one in chosen)]
    about = {
        "count": len(rows),
        "domains": names,
        "bands": list(BANDS),
        "kinds": kinds,
        "threshold": fitted["threshold"],
        "items": [_described(row, kind, seen[row["id"]]) for row, kind in chosen],
    }
    values = (
        np.array([float(row["prob"]) for row in rows], dtype="<f8").tobytes(),
        bytes(int(row["label"]) for row in rows),
        bytes(names.index(row["domain"]) for row in rows),
    )
    part = pages.part(
        "objects.html",
        about=about,
        lead=(
            "Move the threshold: an object is said to be a lens where its probability reaches it. t* is where the "
            "true positive rate most exceeds the false one on the validation part."
        ),
        source=(
            f"Counted over {len(rows)} objects of the test part, from their probabilities as {evaluate.OBJECTS} has "
            f"them; t* was fitted on {fitted['objects']} objects of the validation part."
        ),
        shown=f"The worst mistakes, and some that went well: {len(chosen)} of {len(rows)} objects",
        stretched=(
            "Each band by itself from its sky to its brightest pixels on an inverse hyperbolic sine scale, so that "
            "faint arcs show; colour: i, r, g as red, green, blue on a common scale. Bands that cannot be read are "
            "empty. Choose an object to see its bands."
        ),
    )
    return Own(Section("Objects", [part]), "objects.js", {"objects-scores": packed(b"".join(values))}, len(chosen))


def _described(row: Mapping[str, str], kind: str, image: NDArray[np.float32]) -> dict[str, Any]:
    """What the page's script reads of an object."""
    units = {"rein": "Einstein radius {}″", "mag_lens_i": "lens galaxy i = {}", "mag_src_i": "source i = {}"}
    facts = [f"domain {row['domain']}"]
    facts += [text.format(f"{float(row[name]):.2f}") for name, text in units.items() if row[name]]
    bands = [picture(stretched(plane[None])) if np.isfinite(plane).any() else None for plane in image]
    red, green, blue = (image[BANDS.index(band)] for band in _RGB)
    return {
        "title": row["id"],
        "kind": kind,
        "lens": row["label"] == "1",
        "probability": float(row["prob"]),
        "size": [int(side) for side in image.shape[1:]],
        "facts": facts,
        "pictures": [picture(stretched(np.stack([red, green, blue]))), *bands],
    }


def stretched(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Bands (bands, H, W) in counts as a picture in [0, 1], on a scale that they share: asinh above the sky's noise.

    The way of Lupton et al. (2004, PASP 116, 133): bands are scaled alike, so that colours stay.
    """
    values = np.nan_to_num(image.astype(np.float64))
    sky = np.median(values, axis=(1, 2), keepdims=True)
    noise = 1.4826 * np.median(np.abs(values - sky), axis=(1, 2), keepdims=True)
    # In units of each band's own noise, so that a noisy band does not drown the others.
    signal = (values - sky) / np.maximum(noise, 1e-6 + 1e-3 * float(np.abs(values).max()))
    bright = max(float(np.quantile(signal, _QUANTILE)), _SOFT)
    shade: NDArray[np.float64] = np.arcsinh((signal + 1.0) / _SOFT) / np.arcsinh((bright + 1.0) / _SOFT)
    return np.clip(shade, 0.0, 1.0)
