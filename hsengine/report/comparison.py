"""What stands on the page of a comparison of any project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsengine.base.files import check_own, replacing, write_json
from hsengine.compare import RESAMPLES, Difference, Interval, Result
from hsengine.report.page import Block, Chart, Note, Page, Section, Table, write

RECORD, PAGE = "comparison.json", "comparison.html"
_SHOWN = 20


def save(folder: Path, page: Page, record: Mapping[str, Any]) -> None:
    """Write a comparison's folder, page and numbers, whole or not at all.

    Raises:
        UserError: something else stands there, or it cannot be written.
    """
    check_place(folder)
    with replacing(folder) as scratch:
        scratch.mkdir()
        write(page, scratch / PAGE)
        write_json(scratch / RECORD, record)


def check_place(folder: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UserError: see `save`.
    """
    check_own(folder, RECORD, "a comparison", holds=(PAGE,))


def record(measure: str, results: Sequence[Result], found: Sequence[Difference]) -> dict[str, Any]:
    """The numbers, for programs."""
    return {
        "measure": measure,
        "resamples": RESAMPLES,
        "results": [{"name": one.name, "mean": one.mean, "samples": dict(one.values)} for one in results],
        "differences": [
            {
                "first": one.first,
                "second": one.second,
                "mean": one.mean,
                "by_samples": one.by_samples,
                "by_groups": one.by_groups,
                "groups": one.groups,
                "deciding": list(one.deciding),
            }
            for one in found
        ],
    }


def differences(measure: str, results: Sequence[Result], found: Sequence[Difference], source: str) -> Section:
    """Means, and how much each result differs from those before it."""
    means = Table(["model", measure], [[one.name, f"{one.mean:.4f}"] for one in results], source)
    rows = [
        [
            f"{one.second} - {one.first}",
            f"{one.mean:+.4f}",
            _range(one.by_samples),
            _range(one.by_groups),
            "yes" if one.is_sure else "no",
        ]
        for one in found
    ]
    told = (
        f"{source}; 95 % intervals by bootstrap, {RESAMPLES} draws of {len(found[0].each)} samples and of "
        f"{found[0].groups} groups"
    )
    columns = [f"difference of {measure}", "mean", "over samples", "over groups", "0 is outside"]
    return Section("Differences", [means, Table(columns, rows, told, "Of the same samples")])


def deciding(measure: str, found: Sequence[Difference], source: str) -> Section:
    """The samples on which results differ most."""
    blocks: list[Block] = []
    for one in found:
        shown = list(one.each.items())[:_SHOWN]
        said = (
            f"Without {', '.join(one.deciding[:_SHOWN])}{' and others' if len(one.deciding) > _SHOWN else ''} "
            f"({len(one.deciding)} of {len(one.each)} samples) the mean would not be of that sign."
            if one.deciding
            else "No sample speaks against the mean."
            if one.mean
            else "There is no difference to decide."
        )
        trace = {"type": "bar", "x": [name for name, _ in shown], "y": [value for _, value in shown]}
        layout = {"yaxis": {"title": {"text": f"difference of {measure}"}}}
        blocks += [
            Chart({"data": [trace], "layout": layout}, source, f"{one.second} - {one.first}, the greatest differences"),
            Note(said),
        ]
    return Section("Samples that decide", blocks)


def _range(found: Interval | None) -> str:
    return "–" if found is None else f"{found[0]:+.4f} to {found[1]:+.4f}"
