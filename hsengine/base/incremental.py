"""Outputs of a stage, kept up to date sample by sample.

A stage's output folder holds `manifest.json`: for each sample the key its outputs were made under (a hash of
the input's content, the parameters and the code's version) and each file's size and hash. A sample is made
again when its key differs or a file is not what the manifest says; outputs of samples that are gone are removed.

While a stage runs, `.journal` beside the manifest takes its place: it lists all outputs that may exist and gains
a line for each sample that is finished, so that a run that was killed is taken up where it stopped. The
manifest holds no times and no absolute paths: a folder's content depends on the wanted samples only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

from hsengine.base import files, locks, reading, remembered, workers
from hsengine.base.errors import UserError

MANIFEST = "manifest.json"
JOURNAL = ".journal"

_STORE = "hashes-1"

# Hashing more threads at once than this waits for the disk.
_HASHING_THREADS = 8


@dataclass(frozen=True)
class Job:
    """What makes the outputs of one sample.

    Attributes:
        name: of the sample, unique in the folder, such as `train/Category-1_a_0001`.
        key: hash of everything that the outputs depend on, see `key_of`.
        outputs: the files or folders made, as posix paths relative to the stage's folder.
        work: what `make` is called with; must pickle.
    """

    name: str
    key: str
    outputs: tuple[str, ...]
    work: Any


@dataclass(frozen=True)
class Made:
    """What is known of a sample that was made.

    Attributes:
        key: the job's.
        outputs: the job's.
        files: path relative to the stage's folder -> (size in bytes, hash).
        facts: what `make` returned.
    """

    key: str
    outputs: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Update:
    """What `update` did, by names of samples in the order of the jobs, and every sample's facts."""

    made: list[str]
    kept: list[str]
    removed: list[str]
    facts: dict[str, dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class Summary:
    """How many outputs a stage made anew, found up to date and removed, and how long it took."""

    made: int
    kept: int
    removed: int
    seconds: float

    what: ClassVar[str] = "made"
    """What was done to those that were made, as in "3 images converted"."""

    @classmethod
    def of(cls, done: Update, start: float, **more: Any) -> Self:
        """The counts of an update that began at `time.perf_counter() == start`."""
        return cls(len(done.made), len(done.kept), len(done.removed), time.perf_counter() - start, **more)

    def __str__(self) -> str:
        return f"{self.made} {self.what}, {self.kept} up to date, {self.removed} removed, in {self.seconds:.1f} s"


def key_of(*parts: Any) -> str:
    """A hash of values that JSON can write."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def update(
    folder: str | os.PathLike[str],
    jobs: Sequence[Job],
    make: Callable[[Any], Mapping[str, Any] | None],
    *,
    full: bool = False,
    workers: int = 0,
    scheduler: str | None = None,
    label: str = "making",
) -> Update:
    """Bring `folder` to hold the outputs of `jobs` and nothing of earlier jobs.

    However often a run is killed and begun again, the folder ends with the bytes of an undisturbed run,
    provided that `make` is a function of its argument.

    Args:
        folder: the stage's output folder; files in it that no run has made are left alone.
        jobs: one for each wanted sample.
        make: called with `job.work` in a worker process; writes the job's outputs through
            `hsengine.base.files.replacing` (never into a file that exists: it may be a hard link into a cache) and
            returns facts for the manifest, which JSON can write.
        full: make every sample, whatever the manifest says.
        workers: processes, see `hsengine.base.workers.stream`.
        scheduler: Dask scheduler, see `hsengine.base.workers.stream`.
        label: for the progress bar.

    Raises:
        UserError: from `make`, or because the folder cannot be written or another run is writing it. Samples
            that were finished stay finished.
    """
    place = Path(folder).absolute() if scheduler else Path(folder)
    wanted = {output for job in jobs for output in job.outputs}
    if len({job.name for job in jobs}) != len(jobs) or len(wanted) != sum(len(job.outputs) for job in jobs):
        raise ValueError("names and outputs of jobs must be unique")
    with _alone_in(place):
        files.remove_scratch(place)
        known = _State.load(place)
        sound = set() if full else _sound(place, known, jobs)
        todo = [job for job in jobs if job.name not in sound]
        stale = {path for path in known.outputs - wanted if wanted.isdisjoint(map(str, PurePosixPath(path).parents))}
        names = {job.name for job in jobs}
        removed = sorted(name for name in known.records if name not in names)
        records = {name: known.records[name] for name in sound}
        if todo or stale or known.unfinished:
            with _Journal(place, known.outputs | wanted, records) as journal:
                _remove(place, stale)
                results = _stream(place, todo, make, workers, scheduler, label)
                for index, record in results:
                    records[todo[index].name] = record
                    journal.add(todo[index].name, record)
        _write_manifest(place, records)
        (place / JOURNAL).unlink(missing_ok=True)
        _remember(place, records)
    return Update(
        made=[job.name for job in todo],
        kept=[job.name for job in jobs if job.name in sound],
        removed=removed,
        facts={job.name: records[job.name].facts for job in jobs},
    )


def _stream(
    place: Path, todo: Sequence[Job], make: Callable[[Any], Any], count: int, scheduler: str | None, label: str
) -> Iterator[tuple[int, Made]]:
    return workers.stream(partial(_made, place, make), todo, workers=count, scheduler=scheduler, label=label)


def _write_manifest(place: Path, records: Mapping[str, Made]) -> None:
    content = {"samples": {name: vars(records[name]) for name in sorted(records)}}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    path = place / MANIFEST
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
        files.write_text(path, text)


def _made(place: Path, make: Callable[[Any], Mapping[str, Any] | None], job: Job) -> Made:
    """Make one sample; runs in a worker."""
    facts = dict(make(job.work) or {})
    missing = [output for output in job.outputs if not (place / output).exists()]
    if missing:
        raise RuntimeError(f"{job.name}: {', '.join(missing)} was not made in {place}")
    written = {path: _fingerprint(place / path) for path in _files_of(place, job.outputs)}
    # As they come back from the manifest, so that a resumed run writes the same one.
    return Made(job.key, job.outputs, written, json.loads(json.dumps(facts)))


def _fingerprint(path: Path) -> tuple[int, str]:
    return path.stat().st_size, _hash(path)


def _hash(path: Path) -> str:
    return files.file_hash(path, "sha256")


def _files_of(place: Path, outputs: Sequence[str]) -> list[str]:
    """Every file of the outputs that exist, as sorted posix paths relative to the folder."""
    found = []
    for output in outputs:
        path = place / output
        if path.is_dir():
            found += [Path(at, name).relative_to(place).as_posix() for at, _, names in os.walk(path) for name in names]
        elif path.exists():
            found.append(output)
    return sorted(found)


@dataclass
class _State:
    """What earlier runs left in a folder.

    Attributes:
        records: the samples that were finished.
        outputs: every output that may exist.
        unfinished: whether a run was stopped before its end.
    """

    records: dict[str, Made] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)
    unfinished: bool = False

    @classmethod
    def load(cls, place: Path) -> _State:
        journal = place / JOURNAL
        state = cls(unfinished=journal.exists())
        damaged = False
        try:
            if state.unfinished:
                state._read_journal(journal)
            elif (place / MANIFEST).exists():
                content = reading.json_value((place / MANIFEST).read_text(encoding="utf-8"), f"{place / MANIFEST}")
                state.records = {name: _record(entry) for name, entry in content["samples"].items()}
        except (UserError, ValueError, KeyError, TypeError, AttributeError):
            damaged = True
        if damaged:
            # The folder is a stage's own, but what is in it is no longer known: all of it goes.
            everything = _files_of(place, [path.name for path in place.iterdir()])
            return cls(outputs=set(everything) - {MANIFEST, JOURNAL}, unfinished=True)
        state.outputs.update(output for record in state.records.values() for output in record.outputs)
        return state

    def _read_journal(self, journal: Path) -> None:
        first, *lines = journal.read_text(encoding="utf-8").split("\n")
        self.outputs = set(reading.json_value(first, f"{journal}")["outputs"])
        for line in lines:
            # A killed run can leave its last line unfinished.
            with contextlib.suppress(UserError):
                entry = reading.json_value(line, f"{journal}")
                self.records[entry["name"]] = _record(entry["record"])


def _record(entry: dict[str, Any]) -> Made:
    written = {path: (int(size), str(digest)) for path, (size, digest) in entry["files"].items()}
    return Made(str(entry["key"]), tuple(entry["outputs"]), written, dict(entry["facts"]))


class _Journal:
    """The finished samples of a run that is under way, one a line."""

    def __init__(self, place: Path, outputs: set[str], records: dict[str, Made]) -> None:
        self._path = place / JOURNAL
        lines = [json.dumps({"outputs": sorted(outputs)})]
        lines += [self._line(name, record) for name, record in records.items()]
        files.write_text(self._path, "\n".join(lines) + "\n")

    def __enter__(self) -> _Journal:
        self._stream = self._path.open("a", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, name: str, record: Made) -> None:
        with files.explaining(self._path):
            self._stream.write(self._line(name, record) + "\n")
            self._stream.flush()

    @staticmethod
    def _line(name: str, record: Made) -> str:
        return json.dumps({"name": name, "record": vars(record)})


def _sound(place: Path, known: _State, jobs: Sequence[Job]) -> set[str]:
    """Names of the jobs whose outputs are there, under the right key and as they were written."""
    sound: set[str] = set()
    unsure: dict[str, list[str]] = {}
    with remembered.Store(_STORE) as store:
        for job in jobs:
            record = known.records.get(job.name)
            if record is None or record.key != job.key or record.outputs != job.outputs:
                continue
            if _files_of(place, job.outputs) != sorted(record.files):
                continue
            stamps = {path: remembered.stamp(place / path) for path in record.files}
            doubtful = [path for path, stamp in stamps.items() if store.get(stamp) != record.files[path][1]]
            if any((stamp := stamps[path]) is None or stamp.size != record.files[path][0] for path in doubtful):
                continue
            sound.add(job.name)
            if doubtful:
                unsure[job.name] = doubtful
    pairs = [(name, path) for name, paths in unsure.items() for path in paths]
    with ThreadPoolExecutor(min(workers.available_cores(), _HASHING_THREADS)) as pool:
        digests = pool.map(lambda pair: _hash(place / pair[1]), pairs)
        for (name, path), digest in zip(pairs, digests, strict=True):
            if digest != known.records[name].files[path][1]:
                sound.discard(name)
    return sound


def _remember(place: Path, records: Mapping[str, Made]) -> None:
    """Under which stamps the files last had their hashes, so that what has not changed is not hashed again."""
    with remembered.Store(_STORE) as store:
        for record in records.values():
            for path, (_, digest) in record.files.items():
                store.put(remembered.stamp(place / path), digest)


def _remove(place: Path, outputs: set[str]) -> None:
    """Remove outputs and the folders that they leave empty."""
    for output in sorted(outputs):
        path = place / output
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            for parent in list(PurePosixPath(output).parents)[:-1]:
                (place / parent).rmdir()
        except PermissionError:
            raise UserError(f"{path} cannot be removed: check the permissions of {path.parent}.") from None
        except OSError:
            # A folder above is not empty, or gone already.
            continue


@contextmanager
def _alone_in(place: Path) -> Iterator[None]:
    """Make the folder and hold its lock."""
    with files.explaining(place / MANIFEST):
        place.mkdir(parents=True, exist_ok=True)
    with locks.alone_in(place):
        try:
            yield
        except BaseException:
            # Workers that were stopped at Ctrl-C had no time to tidy up.
            files.remove_scratch(place)
            raise
