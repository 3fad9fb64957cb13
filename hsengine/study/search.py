"""Search by Optuna: it proposes the values of each trial, and each trial is a DVC experiment.

DVC's experiments are the results. Optuna's journal beside the logs keeps what DVC does not know: trials that were
stopped early with their courses, and what the ones that failed have tried.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hsengine.base import locks, paths
from hsengine.base.errors import UserError
from hsengine.base.files import replacing
from hsengine.base.params import flat
from hsengine.study import experiments
from hsengine.study import plan as plans
from hsengine.study.experiments import Status
from hsengine.study.file import Range, Search
from hsengine.study.plan import Experiment, Plan
from hsengine.study.pool import Pool, Say, clear, failure
from hsengine.study.run import Outcome, check, going_on, missing, notes
from hsengine.study.snapshot import Snapshot

_HOPELESS = 3
"""So many failures without a single result end a search."""
_NUMBER = "number"


def run(plan: Plan, *, jobs: int, say: Say) -> Outcome:
    """Run the trials of a search that have not run.

    Args:
        plan: a study with a search.
        jobs: how many run at once; with more than one, what is proposed depends on which trial ends first.
        say: tells the user something.

    Raises:
        UserError: Optuna is missing; a parameter is wrong; a trial exists that has other parameters.
    """
    _optuna()
    check(plan, corners(plan))
    return _Searching(plan, jobs, say).run()


def corners(plan: Plan) -> list[Experiment]:
    """Trials at the ends of the space, one value away from the first end each."""
    space = _search(plan).space
    ends = {key: part if isinstance(part, list) else [part.low, part.high] for key, part in space.items()}
    first = {key: values[0] for key, values in ends.items()}
    changed = [{**first, key: value} for key, values in ends.items() for value in values[1:]]
    return [plan.trial(0, values) for values in [first, *changed]]


def trials(plan: Plan) -> tuple[list[Experiment], dict[str, Status], set[str]]:
    """All trials with the values that are known of them, the records of those that have begun, and who was stopped."""
    names = [plan.trial(number, {}).name for number in range(_search(plan).trials)]
    records, known = experiments.read(names), _journalled(plan)
    found = []
    for number, name in enumerate(names):
        record = records.get(name)
        done = record is not None and record.state == "done"
        tried = known[number].params if number in known else {}
        found.append(plan.trial(number, _values_of(plan, record.params) if record and done else tried))
    stopped = {names[number] for number, trial in known.items() if number < len(names) and trial.state.name == "PRUNED"}
    return found, records, {name for name in stopped if name not in records or records[name].state == "failed"}


class _Searching:
    """A search under way."""

    def __init__(self, plan: Plan, jobs: int, say: Say) -> None:
        self.plan, self.search, self.jobs, self.say = plan, _search(plan), jobs, say
        self.space = dict(_distributions(self.search))
        self.given: dict[int, dict[str, Any]] = {}
        self.done: list[str] = []
        self.failed: list[str] = []
        self.lock = threading.Lock()

    def run(self) -> Outcome:
        """Take over what is known of earlier trials, and run what is left."""
        waiting = self._resume()
        self.say(f"{self.search.trials} trials: {self.search.trials - len(waiting)} ended, {len(waiting)} to run")
        if not waiting:
            clear()
        else:
            for note in notes():
                self.say(note)
            try:
                with Pool(Snapshot.take(), self.plan.study.target, self.jobs, self.say) as pool:
                    for _ in pool.each(lambda number: self._trial(pool, number), waiting):
                        pass
            except KeyboardInterrupt:
                self.say(going_on(len(waiting)))
                raise
        return Outcome(sorted(self.done), sorted(self.failed))

    def _resume(self) -> list[int]:
        """Write the journal anew, with what still holds; the numbers of the trials that are left."""
        known, (planned, records, stopped) = _journalled(self.plan), trials(self.plan)
        missing(self.plan, [one for one in planned if one.name in records])
        kept, waiting = [], []
        for number, one in enumerate(planned):
            record, values = records.get(one.name), _values_of(self.plan, plans.nested(one.values))
            if one.name in stopped:
                kept.append(self._past(number, "PRUNED", values, None, known[number].intermediate_values))
            elif record is None or record.state != "done":
                waiting.append(number)
                # One that nobody has proposed yet has the values of the study's base or recipe, which are none of its.
                if number in known and values.keys() == self.space.keys():
                    self.given[number] = values
                    kept.append(self._past(number, "FAIL", values))
            elif (value := record.measure(self.plan.study.metrics, self.plan.measure)) is None:
                self.failed.append(one.name)
            else:
                self.done.append(one.name)
                kept.append(self._past(number, "COMPLETE", values, value, self._course(record)))
        with replacing(_journal(self.plan)) as file:
            self._create(file).add_trials(kept)
        self.optuna = self._create(_journal(self.plan))
        return waiting

    def _create(self, file: Path) -> Any:
        optuna = _optuna()
        return optuna.create_study(
            storage=_opened(file),
            study_name=self.plan.study.name,
            direction="maximize" if self.plan.sign > 0 else "minimize",
            pruner=optuna.pruners.MedianPruner(self.search.startup, self.search.warmup),
            load_if_exists=True,
        )

    def _trial(self, pool: Pool, number: int) -> None:
        """Run a trial and tell Optuna how it ended."""
        if not self.done and len(self.failed) >= max(_HOPELESS, self.jobs):
            return
        asked, plan = self._ask(number), self.plan
        name = plan.trial(number, {}).name
        self.say(f"{name}: " + ", ".join(f"{key} {short(value)}" for key, value in asked.params.items()))
        reported: set[int] = set()
        stopped = False

        def watch(folder: Path) -> bool:
            nonlocal stopped
            course = experiments.growing_curve(folder / paths.CURVES, plan.curve)
            new = [step for step in sorted(course) if step not in reported and math.isfinite(course[step])]
            for step in new:
                asked.report(course[step], step)
                reported.add(step)
            stopped = bool(new) and asked.should_prune()
            if stopped:
                self.say(f"{name}: worse than the median at epoch {new[-1]}, stopped")
            return stopped

        good = pool.run(plan.trial(number, asked.params), watch if self.search.pruner != "none" else None)
        record = experiments.read([name])[name] if good else None
        value = record.measure(plan.study.metrics, plan.measure) if record else None
        with self.lock:
            if record and value is not None:
                for step, point in self._course(record).items():
                    if step not in reported:
                        asked.report(point, step)
                self.optuna.tell(asked, value)
                self.done.append(name)
                self.say(f"{name}: {plan.measure} {value:.4f}; best so far {self.optuna.best_value:.4f}")
            else:
                self.optuna.tell(asked, state=_optuna().trial.TrialState["PRUNED" if stopped else "FAIL"])
                if not stopped:
                    self.failed.append(name)
                    self.say(f"{name}: failed: {failure(name)}")

    def _ask(self, number: int) -> Any:
        """Let Optuna propose a trial's values, or take those that it had before."""
        optuna = _optuna()
        with self.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # A sampler of its own for each number: a search that was broken off goes on as it would have.
            self.optuna.sampler = optuna.samplers.TPESampler(seed=self._seed(number), constant_liar=self.jobs > 1)
            if number in self.given:
                self.optuna.enqueue_trial(self.given[number])
            asked = self.optuna.ask(self.space)
            asked.set_user_attr(_NUMBER, number)
        return asked

    def _course(self, record: Status) -> dict[int, float]:
        course = experiments.curve(record.revision, self.plan.curve) if self.search.pruner != "none" else {}
        return {step: point for step, point in course.items() if math.isfinite(point)}

    def _past(
        self,
        number: int,
        state: str,
        values: Any,
        value: float | None = None,
        course: Mapping[int, float] | None = None,
    ) -> Any:
        """A trial of the past.

        Raises:
            UserError: its values are not in the space.
        """
        kinds = _optuna().trial
        try:
            return kinds.create_trial(
                state=kinds.TrialState[state],
                params=values,
                distributions=self.space,
                value=value,
                intermediate_values=course,
                user_attrs={_NUMBER: number},
            )
        except ValueError as error:
            raise UserError(
                f"The trial '{self.plan.trial(number, {}).name}' was made with another space ({error}). Put the "
                "study's space back, or give the study another name."
            ) from None

    def _seed(self, number: int) -> int:
        digest = hashlib.blake2b(f"{self.search.seed} {number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big")


def short(value: Any) -> str:
    """A value that was tried, in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values_of(plan: Plan, content: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the space names, where nested parameters have them."""
    values = flat(content)
    return {key: values[key] for key in _search(plan).space if key in values}


def _journalled(plan: Plan) -> dict[int, Any]:
    """The last of Optuna's trials of each number, as far as the journal goes."""
    if not _journal(plan).is_file():
        return {}
    study = _optuna().load_study(study_name=plan.study.name, storage=_opened(_journal(plan)))
    return {trial.user_attrs[_NUMBER]: trial for trial in study.trials if _NUMBER in trial.user_attrs}


def _distributions(search: Search) -> Iterator[tuple[str, Any]]:
    kinds = _optuna().distributions
    for key, part in search.space.items():
        if not isinstance(part, Range):
            yield key, kinds.CategoricalDistribution(part)
        elif part.whole:
            yield key, kinds.IntDistribution(int(part.low), int(part.high), log=part.log)
        else:
            yield key, kinds.FloatDistribution(float(part.low), float(part.high), log=part.log)


def _search(plan: Plan) -> Search:
    if plan.study.search is None:
        raise ValueError("the study has no search")
    return plan.study.search


def _journal(plan: Plan) -> Path:
    return experiments.folder() / f"{plan.prefix}{plan.study.name}.journal"


def _opened(file: Path) -> Any:
    storages = _optuna().storages
    return storages.JournalStorage(storages.journal.JournalFileBackend(str(file), _Lock(file)))


class _Lock:
    """Who writes to a journal, until released or dead; Optuna's own locks outlive who is killed."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._held = journal, -1

    def acquire(self) -> bool:
        handle = os.open(self._journal, os.O_RDONLY)
        # Where the file system knows no locks, nobody can be waited for.
        with contextlib.suppress(locks.UnsupportedError):
            locks.awaited(handle)
        self._held = handle
        return True

    def release(self) -> None:
        os.close(self._held)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("A search needs Optuna: install it with 'pip install hyperobject-toolkit[study]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
