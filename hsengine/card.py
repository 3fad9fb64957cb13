"""The model card: what a trained model is, how well it does and how it is loaded, in the form that model hubs read."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

FILE = "README.md"
LIBRARY = "hyperobject-toolkit"
FOLDER = "FOLDER"
"""Stands for the model's folder in `About.load`."""

_HELD_OUT, _GROUPED = "val/", "by_"
_LIMITS = (
    "The score is of the held-out samples on which the epoch was chosen: expect a little less on others.",
    "The licence is that of the code that trained the model. Whether the terms of the data allow its weights to be "
    "passed on is for whoever passes them on to find out.",
)


@dataclass(frozen=True)
class About:
    """What only a project knows of its models.

    Attributes:
        summary: what goes in and what comes out: a paragraph of Markdown.
        data: what it was trained on, in a few words.
        task: a hub's name of the kind of task, such as "image-to-image"; empty for none.
        tags: words to find it by.
        limits: sentences about what it cannot do.
        load: Python that loads and applies it, with `FOLDER` for the model's folder.
    """

    summary: str = ""
    data: str = "held-out samples"
    task: str = ""
    tags: Sequence[str] = ()
    limits: Sequence[str] = ()
    load: str = ""


def card(about: About, record: Mapping[str, Any]) -> str:
    """The model card: Markdown after a block of YAML; equal records give equal texts.

    Args:
        about: what the project says of its models.
        record: the content of the folder's `config.json`.
    """
    title = str(record.get("title", record["model"]["name"]))
    # What was imported was trained elsewhere, and its record says neither when it was best nor on what.
    trained = "training" in record.get("data", {})
    parts = [f"---\n{_front(about, record, title)}---", f"# {title}", about.summary, *_files(record)]
    parts += _scores(record) + (_trained(record) if trained else [])
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in (*about.limits, *(_LIMITS if trained else ())))]
    if about.load:
        parts += ["## Load", f"```python\n{about.load.strip()}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def digest(text: str | bytes) -> str:
    """What a record says of its card, so that it is known again."""
    content = text.encode() if isinstance(text, str) else text
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _front(about: About, record: Mapping[str, Any], title: str) -> str:
    """The block of YAML that hubs read."""
    values, watch = _of(record, "best"), _plain(record.get("watch", ""))
    trained = "training" in record.get("data", {})
    front: dict[str, Any] = {"library_name": LIBRARY, "license": "mit" if trained else "unknown"}
    if about.task:
        front["pipeline_tag"] = about.task
    front["tags"] = [*about.tags, str(record["model"]["name"])]
    if watch in values:
        front["metrics"] = [watch]
        measured = [
            {"type": name, "value": float(f"{value:.6g}"), "name": f"{name}, validation"}
            for name, value in values.items()
        ]
        result = {
            "task": {"type": about.task or "other"},
            "dataset": {"type": _slug(about.data), "name": about.data, "args": {"hash": record["data"]["hash"]}},
            "metrics": measured,
        }
        front["model-index"] = [{"name": title, "results": [result]}]
    stream, yaml = io.StringIO(), YAML()
    yaml.width = 4096
    yaml.dump(front, stream)
    return stream.getvalue()


def _files(record: Mapping[str, Any]) -> list[str]:
    """What lies in the folder, a row a checkpoint."""
    watch = _plain(record.get("watch", ""))
    rows = []
    for which, said in record.get("checkpoints", {}).items():
        averaged = len(said.get("mean_of_epochs") or ())
        kind = "moving average" if said.get("moving_average") else ""
        weights = f"mean of {averaged} epochs" if averaged > 1 else kind
        value = _of(record, which).get(watch)
        rows.append([f"`{said.get('file', which)}`", which, said.get("epoch"), weights, _shown(value)])
    told = "`config.json` is the record: parameters, data, code, versions, each checkpoint's measures."
    return ["## Files", told, _table(["file", "checkpoint", "epoch", "weights", watch or "score"], rows)]


def _scores(record: Mapping[str, Any]) -> list[str]:
    """The best checkpoint's measures, over all and by group."""
    values = _of(record, "best")
    if not values:
        return []
    parts = [
        "## Score",
        f"Means over the {record['data']['held_out']} held-out samples at epoch "
        f"{record['checkpoints']['best']['epoch']}, as training measured them.",
        _table(["measure", "value"], [[name, _shown(value)] for name, value in values.items()]),
    ]
    for group, members in _groups(record).items():
        columns = list(dict.fromkeys(name for member in members.values() for name in member))
        rows = [[name, *(_shown(member.get(column)) for column in columns)] for name, member in members.items()]
        parts += [f"By {group}:", _table([group, *columns], rows)]
    return parts


def _trained(record: Mapping[str, Any]) -> list[str]:
    data = record["data"]
    lines = [
        f"{data['training']} samples, with {data['held_out']} others held out; hash of both: `{data['hash']}`",
        f"{record['epochs']} epochs, ended by: {record['ended_by']}; the best one is that of `{record['watch']}`",
        f"hash of the code: `{record['code']}`",
    ]
    if record.get("git_revision"):
        changed = " with changes that were not committed" if record.get("git_dirty") else ""
        lines.append(f"Git revision `{record['git_revision']}`{changed}")
    versions = {"Python": record.get("python"), **record.get("packages", {})}
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    return ["## Training", "\n".join(f"- {line}" for line in lines)]


def _of(record: Mapping[str, Any], which: str) -> dict[str, float]:
    """A checkpoint's measures over all held-out samples, as far as they are numbers."""
    return {name: value for name, value in _held_out(record, which) if "/" not in name}


def _groups(record: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """The best checkpoint's measures by group, member and name."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, value in _held_out(record, "best"):
        group, *rest = name.split("/")
        if group.startswith(_GROUPED) and len(rest) == 2:
            found[group.removeprefix(_GROUPED).replace("_", " ")][rest[0]][rest[1]] = value
    return found


def _held_out(record: Mapping[str, Any], which: str) -> Iterator[tuple[str, float]]:
    for name, value in sorted(record.get("checkpoints", {}).get(which, {}).get("measures", {}).items()):
        if name.startswith(_HELD_OUT) and value is not None and math.isfinite(value):
            yield _plain(name), value


def _plain(name: str) -> str:
    return name.removeprefix(_HELD_OUT)


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join("" if cell is None else _cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|")
