"""A stand-in for DVC: experiments end when the test says so."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hsengine.study.queue import Entry, Queue

from hsengine.study import experiments, queue, run
from hsengine.study.experiments import Record

FILE = "outputs/metrics.json"


@dataclass
class FakeDVC:
    """What DVC would know; `ends` gives an experiment's value from its values, None where it fails."""

    ends: object = None
    records: dict = field(default_factory=dict)
    entries: list = field(default_factory=list)
    active: int = 1
    alive: bool = False
    runs: list = field(default_factory=list)
    curves: dict = field(default_factory=dict)
    added: list = field(default_factory=list)
    starts: int = 0
    given_up: list = field(default_factory=list)
    forgotten: list = field(default_factory=list)
    planned: dict = field(default_factory=dict)

    def finish(self, name, value, params=None):
        metrics = {FILE: {"SSC": value}}
        self.records[name] = Record(name, "done", name, "b" * 40, params or {}, metrics)
        self.entries = [entry for entry in self.entries if entry.name != name]

    def set(self, name, status):
        self.entries = [entry for entry in self.entries if entry.name != name]
        if status:
            self.entries.append(Entry("f" * 7, name, status))

    def add(self, new, target):
        for name, _ in new:
            self.added.append(name)
            self.set(name, "Queued")
            yield name

    def done(self):
        return {name: record.revision for name, record in self.records.items() if record.state == "done"}

    def start(self, jobs):
        self.starts += 1


@pytest.fixture
def dvc(monkeypatch):
    """DVC replaced by a `FakeDVC`."""
    fake = FakeDVC()
    monkeypatch.setattr(experiments, "check_project", lambda: None)
    monkeypatch.setattr(experiments, "snapshot", lambda: str(fake.done()))
    monkeypatch.setattr(experiments, "finished", fake.done)
    monkeypatch.setattr(experiments, "read", lambda names: {n: fake.records[n] for n in names if n in fake.records})
    monkeypatch.setattr(experiments, "curve", lambda revision, name: fake.curves.get(revision, {}))
    monkeypatch.setattr(queue, "look", lambda: Queue(tuple(fake.entries), fake.active))
    monkeypatch.setattr(queue, "start", fake.start)
    monkeypatch.setattr(queue, "add", fake.add)
    monkeypatch.setattr(queue, "runs", lambda: fake.runs)
    monkeypatch.setattr(queue, "forget", lambda names: fake.forgotten.extend(names))
    monkeypatch.setattr(queue, "give_up", fake.given_up.append)
    monkeypatch.setattr(run, "notes", list)
    monkeypatch.setattr(run, "_PAUSE", 0.0)
    monkeypatch.setattr(run, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(run, "_LOOK_AGAIN", 0.0)
    return fake


@pytest.fixture
def params_file():
    """The project's own params.yaml."""
    return Path(__file__).resolve().parents[3] / "params.yaml"
