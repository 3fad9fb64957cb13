"""The sample data are the same bytes on every machine: `data.dvc` says which."""

import hashlib
import json
from pathlib import Path

from hsdata import sample
from hsengine.base.params import read_yaml

ROOT = Path(__file__).resolve().parents[1]


def test_the_sample_data_are_those_that_data_dvc_records(tmp_path):
    sample.make(tmp_path / "data")
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and not _behind_a_link(path, tmp_path)]
    entries = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": path.relative_to(tmp_path / "data").as_posix()}
        for path in files
    ]
    entries.sort(key=lambda entry: entry["relpath"].split("/"))
    (recorded,) = read_yaml(ROOT / "data.dvc")["outs"]
    assert recorded["nfiles"] == len(entries)
    # DVC's hash of a folder: the MD5 of the JSON list of its files.
    listing = json.dumps(entries, sort_keys=True).encode()
    assert recorded["md5"] == hashlib.md5(listing).hexdigest() + ".dir"


def _behind_a_link(path: Path, stop: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents if stop in parent.parents)
