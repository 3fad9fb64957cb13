"""Search by Optuna: it proposes the values of each trial, and each trial is a DVC experiment.

Optuna's own memory is made anew at each start from what DVC knows, so DVC's experiments are the only store of
results. What was proposed follows from the seed, the trial's number and the results known at that moment.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsengine.base import paths
from hsengine.base.errors import UserError
from hsengine.base.files import write_json
from hsengine.base.params import read_yaml
from hsengine.base.wording import some
from hsengine.study import experiments, plan
from hsengine.study import queue as queues
from hsengine.study.experiments import Record
from hsengine.study.plan import Experiment, Range, Search, Study
from hsengine.study.run import Follower, Outcome, Say, check_models, missing, notes, queue_up, records_of

_PAUSE = 1.0
_HOPELESS = 3
"""So many failures without a single result end a search."""


def run(study: Study, params_file: Path, *, jobs: int, say: Say) -> Outcome:
    """Run the trials of a search that have not run.

    Args:
        study: a study with a search.
        params_file: what the trials start from.
        jobs: how many run at once; with more than one, what is proposed depends on which trial ends first.
        say: tells the user something.

    Raises:
        UserError: Optuna is missing; a parameter is wrong; a trial exists that has other parameters.
    """
    _optuna()
    experiments.check_project()
    raw = read_yaml(params_file)
    check_models(plan.parameters(raw, corner) for corner in corners(study))
    searching = _Searching(study, raw, jobs, say)
    searching.resume()
    for note in notes() if searching.waiting else []:
        say(note)
    return searching.finish()


def names(study: Study) -> list[str]:
    """The names of a search's trials."""
    return [plan.trial(study, number, {}).name for number in range(_search(study).trials)]


def corners(study: Study) -> list[Experiment]:
    """Trials at the ends of the space, one value away from the first end each."""
    space = _search(study).space
    ends = {key: part if isinstance(part, list) else [part.low, part.high] for key, part in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    changed = [{**first, key: value} for key, values in ends.items() for value in values[1:]]
    return [plan.trial(study, 0, values) for values in [first, *changed]]


def values_of(study: Study, record: Record) -> dict[str, Any]:
    """The values of a trial, as its `params.yaml` has them; keys that it lacks are left out."""
    found = {}
    for key in _search(study).space:
        value: Any = record.params
        for part in key.split("."):
            value = value.get(part, _search) if isinstance(value, Mapping) else _search
        if value is not _search:
            found[key] = value
    return found


def pruned(study: Study) -> dict[str, dict[str, Any]]:
    """The trials that were stopped early: name → their values and course."""
    try:
        found = json.loads(_memory(study).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class _Trial:
    """A trial under way."""

    experiment: Experiment
    asked: Any
    reported: set[int]
    stopped: bool = False


class _Searching:
    """A search under way."""

    def __init__(self, study: Study, raw: Mapping[str, Any], jobs: int, say: Say) -> None:
        optuna = _optuna()
        self.study, self.search, self.raw, self.jobs, self.say = study, _search(study), raw, jobs, say
        self.space = _distributions(self.search)
        pruner = optuna.pruners.MedianPruner(self.search.startup, self.search.warmup)
        direction = "maximize" if study.sign > 0 else "minimize"
        self.optuna = optuna.create_study(direction=direction, pruner=pruner)
        self.under_way: dict[str, _Trial] = {}
        self.waiting: list[tuple[int, dict[str, Any] | None]] = []
        self.listed: set[str] = set()
        self.done: list[str] = []
        self.failed: list[str] = []
        self.follower = Follower(study, jobs, say)

    def resume(self) -> None:
        """Take over what DVC knows of earlier trials."""
        records, stopped = records_of(names(self.study)), pruned(self.study)
        known = [plan.trial(self.study, n, values_of(self.study, records[name])) for n, name in self._numbered(records)]
        missing(known, records, self.raw)
        for number, name in enumerate(names(self.study)):
            record = records.get(name)
            if record is not None and record.state == "failed":
                self.listed.add(name)
            values = {} if record is None else values_of(self.study, record)
            if record is None or record.state == "failed":
                if name in stopped:
                    self._add(name, "PRUNED", stopped[name]["values"], None, dict(stopped[name]["course"]))
                else:
                    if values:
                        self._check(name, values)
                    self.waiting.append((number, values or None))
            elif record.state == "done":
                self._take(name, record)
            else:
                self._check(name, values)
                self.under_way[name] = self._ask(number, values)
        past = len(self.optuna.trials) - len(self.under_way)
        self.say(
            f"{self.search.trials} trials: {past} ended, {len(self.under_way)} queued or running already, "
            f"{len(self.waiting)} to come"
        )

    def finish(self) -> Outcome:
        """Run what is left."""
        if self.under_way:
            self.follower.start()
        try:
            while self.waiting or self.under_way:
                self._fill()
                time.sleep(_PAUSE)
                if self.search.pruner != "none":
                    self._prune()
                pending = {name: trial.experiment for name, trial in self.under_way.items()}
                for name, good in self.follower.ended(pending).items():
                    self._end(name, good)
                if self.waiting and len(self.failed) >= max(_HOPELESS, self.jobs) and not self.done:
                    self.say(f"The first {len(self.failed)} trials failed: no more are begun.")
                    self.waiting.clear()
        except KeyboardInterrupt:
            self.say(f"{some(list(self.under_way)) or 'No trial'} stays in DVC's queue; the same command goes on.")
            raise
        return Outcome(self.done, self.failed)

    def _numbered(self, records: Mapping[str, Record]) -> list[tuple[int, str]]:
        return [(number, name) for number, name in enumerate(names(self.study)) if name in records]

    def _fill(self) -> None:
        """Begin trials until as many as may run are under way."""
        new = []
        while self.waiting and len(self.under_way) < self.jobs:
            number, values = self.waiting.pop(0)
            trial = self._ask(number, values)
            self.under_way[trial.experiment.name] = trial
            new.append(trial.experiment)
        if new:
            queue_up(new, self.study, again=[one.name for one in new if one.name in self.listed])
            self.follower.start()

    def _ask(self, number: int, values: dict[str, Any] | None) -> _Trial:
        """Let Optuna propose a trial's values, or take given ones."""
        optuna = _optuna()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # A sampler of its own for each number: a search that was broken off goes on as it would have.
            self.optuna.sampler = optuna.samplers.TPESampler(seed=self._seed(number), constant_liar=self.jobs > 1)
            if values is not None:
                self.optuna.enqueue_trial(values)
            asked = self.optuna.ask(self.space)
        experiment = plan.trial(self.study, number, asked.params)
        plan.parameters(self.raw, experiment)
        shown = [
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in asked.params.items()
        ]
        self.say(f"{experiment.name}: {', '.join(shown)}")
        return _Trial(experiment, asked, set())

    def _prune(self) -> None:
        """Stop trials whose course is worse than the median."""
        runs = {run.name: run for run in queues.runs() if run.name in self.under_way}
        for name, run in runs.items():
            trial = self.under_way[name]
            if trial.stopped or not run.alive:
                continue
            course = experiments.growing_curve(run.root / paths.CURVES, self.study.curve)
            if self._report(trial, course) and trial.asked.should_prune():
                trial.stopped = True
                known = pruned(self.study) | {name: {"values": trial.asked.params, "course": sorted(course.items())}}
                write_json(_memory(self.study), known)
                self.say(f"{name}: worse than the median at epoch {max(course)}, stopped")
                run.stop()

    def _report(self, trial: _Trial, course: Mapping[int, float]) -> bool:
        """Tell Optuna the new points of a course; whether there were any."""
        new = [step for step in sorted(course) if step not in trial.reported and math.isfinite(course[step])]
        for step in new:
            trial.asked.report(course[step], step)
            trial.reported.add(step)
        return bool(new)

    def _end(self, name: str, good: bool) -> None:
        """Take in a trial that has ended."""
        states = _optuna().trial.TrialState
        trial = self.under_way.pop(name)
        record = experiments.read([name]).get(name) if good else None
        value = None if record is None else record.measure(self.study.metrics, self.study.measure)
        if record is not None and value is not None:
            self._report(trial, experiments.curve(record.revision, self.study.curve))
            self.optuna.tell(trial.asked, value)
            self.done.append(name)
            self.say(f"{name}: {self.study.measure} {value:.4f}; best so far {self.optuna.best_value:.4f}")
        elif trial.stopped:
            self.optuna.tell(trial.asked, state=states.PRUNED)
        else:
            self.optuna.tell(trial.asked, state=states.FAIL)
            self.failed.append(name)
            self.say(f"{name}: failed; see: dvc queue logs {name}")

    def _take(self, name: str, record: Record) -> None:
        """Take in a trial that was done before."""
        value = record.measure(self.study.metrics, self.study.measure)
        if value is None:
            self._add(name, "FAIL", values_of(self.study, record), None, {})
            self.failed.append(name)
            return
        course = experiments.curve(record.revision, self.study.curve) if self.search.pruner != "none" else {}
        self._add(name, "COMPLETE", values_of(self.study, record), value, course)
        self.done.append(name)

    def _add(
        self, name: str, state: str, values: Mapping[str, Any], value: float | None, course: Mapping[int, float]
    ) -> None:
        made = self._check(name, values, state=state, value=value, course=course)
        self.optuna.add_trial(made)

    def _check(
        self,
        name: str,
        values: Mapping[str, Any],
        *,
        state: str = "RUNNING",
        value: float | None = None,
        course: Mapping[int, float] | None = None,
    ) -> Any:
        """A trial with these values.

        Raises:
            UserError: they are not in the space.
        """
        trials = _optuna().trial
        points = {step: point for step, point in (course or {}).items() if math.isfinite(point)}
        try:
            return trials.create_trial(
                state=trials.TrialState[state],
                params=dict(values),
                distributions=self.space,
                value=value,
                intermediate_values=points,
            )
        except ValueError as error:
            raise UserError(
                f"The trial '{name}' was made with another space ({error}). Put the study's space back, or give the "
                "study another name."
            ) from None

    def _seed(self, number: int) -> int:
        digest = hashlib.blake2b(f"{self.search.seed} {number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big")


def _distributions(search: Search) -> dict[str, Any]:
    kinds = _optuna().distributions
    found: dict[str, Any] = {}
    for key, part in search.space.items():
        if not isinstance(part, Range):
            found[key] = kinds.CategoricalDistribution(part)
        elif part.whole:
            found[key] = kinds.IntDistribution(int(part.low), int(part.high), log=part.log)
        else:
            found[key] = kinds.FloatDistribution(float(part.low), float(part.high), log=part.log)
    return found


def _search(study: Study) -> Search:
    if study.search is None:
        raise ValueError("the study has no search")
    return study.search


def _memory(study: Study) -> Path:
    """Where the names of pruned trials are kept: DVC knows them as failed only."""
    project = hashlib.blake2b(str(Path.cwd()).encode(), digest_size=8).hexdigest()
    return paths.state_folder() / "studies" / project / f"{study.name}.json"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("A search needs Optuna: install it with 'pip install hyperobject-toolkit[study]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
