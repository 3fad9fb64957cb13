"""From a study file to DVC experiments that have run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hsengine.base.errors import UserError
from hsengine.base.params import read_yaml
from hsengine.base.wording import listed, some
from hsengine.study import experiments, plan
from hsengine.study import queue as queues
from hsengine.study.experiments import Record
from hsengine.study.plan import Experiment, Study
from hsengine.study.queue import Queue
from hsmodels.params import Params

_PAUSE = 1.0
_LOOK_EVERY = 20.0
_LOOK_AGAIN = 3.0
_ATTEMPTS = 2
"""How often an experiment is queued whose worker is killed."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a study's experiments.

    Attributes:
        done: those that have a result.
        failed: those that have none.
    """

    done: Sequence[str]
    failed: Sequence[str]

    def check(self) -> None:
        """See that none failed.

        Raises:
            UserError: some did; says how to see why.
        """
        if self.failed:
            count = len(self.failed) + len(self.done)
            raise UserError(
                f"{len(self.failed)} of {count} experiments failed; see why with\n"
                + listed([f"dvc queue logs {name}" for name in self.failed])
                + "\nand run the study again to try them again."
            )


def run(study: Study, params_file: Path, *, jobs: int, say: Say) -> Outcome:
    """Run those experiments of a study that have not run.

    Experiments that are done, running or queued are left as they are, if they have the parameters that the study
    gives them now; those that failed are queued again.

    Args:
        study: the study, without a search.
        params_file: what the experiments start from.
        jobs: how many run at once.
        say: tells the user something.

    Raises:
        UserError: a parameter is wrong; an experiment of that name has other parameters; DVC refuses one.
    """
    experiments.check_project()
    raw = read_yaml(params_file)
    wanted = plan.expand(study, raw)
    check_models(plan.parameters(raw, experiment) for experiment in wanted)
    records = records_of([experiment.name for experiment in wanted])
    new = missing(wanted, records, raw)
    say(_beginning(wanted, new, records))
    for note in notes() if new else []:
        say(note)
    queue_up(new, study, again=[one.name for one in new if one.name in records])
    waiting = {one.name: one for one in wanted if one in new or records[one.name].state != "done"}
    ended = follow(study, waiting, jobs=jobs, say=say)
    failed = [one.name for one in wanted if not ended.get(one.name, True)]
    return Outcome([one.name for one in wanted if one.name not in failed], failed)


def follow(study: Study, waiting: Mapping[str, Experiment], *, jobs: int, say: Say) -> dict[str, bool]:
    """Wait for experiments to end: name → whether it has a result."""
    ended: dict[str, bool] = {}
    if not waiting:
        return ended
    follower = Follower(study, jobs, say)
    follower.start()
    with tqdm(total=len(waiting), desc=study.name, unit="experiment", disable=None) as bar:
        try:
            while len(ended) < len(waiting):
                time.sleep(_PAUSE)
                for name, good in follower.ended({k: v for k, v in waiting.items() if k not in ended}).items():
                    ended[name] = good
                    bar.write(f"{name}: {'done' if good else f'failed; see: dvc queue logs {name}'}")
                    bar.update()
        except KeyboardInterrupt:
            bar.write(
                "The experiments go on in DVC's queue: 'dvc queue status' shows them, 'dvc queue stop' ends the queue "
                "after those that run, and the same command waits for them again."
            )
            raise
    return ended


class Follower:
    """Sees experiments through DVC's queue: starts workers, and queues again what a killed worker leaves.

    Args:
        study: what they belong to.
        jobs: how many run at once.
        say: tells the user something.
    """

    def __init__(self, study: Study, jobs: int, say: Say) -> None:
        self._study, self._jobs, self._say = study, jobs, say
        self._snapshot = ""
        self._next = 0.0
        self._idle: set[str] = set()
        self._absent: set[str] = set()
        self._attempts: dict[str, int] = {}

    def start(self) -> None:
        """See that workers run."""
        queues.start(self._jobs)
        self._snapshot = experiments.snapshot()
        self._next = time.monotonic() + _LOOK_EVERY

    def ended(self, pending: Mapping[str, Experiment]) -> dict[str, bool]:
        """Those of the pending ones that have ended since, and whether they have a result."""
        snapshot = experiments.snapshot()
        found = dict.fromkeys(pending.keys() & experiments.finished().keys(), True)
        rest = {name: one for name, one in pending.items() if name not in found}
        changed, now = snapshot != self._snapshot, time.monotonic()
        if not rest or not (changed or now > self._next):
            return found
        # DVC's list follows the references by a moment.
        self._next = now + (_LOOK_AGAIN if changed else _LOOK_EVERY)
        self._snapshot = snapshot
        return found | self._look(rest)

    def _look(self, pending: Mapping[str, Experiment]) -> dict[str, bool]:
        queue, done = queues.look(), experiments.finished()
        ended: dict[str, bool] = {}
        idle, absent, cut_off = set(), set(), []
        for name in pending:
            if name in done:
                ended[name] = True
            elif queue.of(name, "Running"):
                if _is_lost(name, queue):
                    idle.add(name)
            elif queue.of(name, "Queued"):
                if not queue.active:
                    idle.add(name)
            elif queue.of(name, "Success"):
                cut_off.append(name)
            elif queue.of(name, "Failed") or name in self._absent:
                ended[name] = False
            else:
                absent.add(name)
        # A worker may be about to take up or to hand over an experiment, and DVC's list misses one that changes its
        # state meanwhile: only the second time counts.
        still = idle & self._idle
        for name in still:
            if queue.of(name, "Running"):
                queues.give_up(name)
                cut_off.append(name)
        for name in cut_off:
            if not self._again(pending[name]):
                ended[name] = False
        if still or cut_off:
            self.start()
        self._idle, self._absent = idle - still, absent
        return ended

    def _again(self, experiment: Experiment) -> bool:
        """Queue an experiment again whose worker was killed, unless that has happened too often."""
        self._attempts[experiment.name] = self._attempts.get(experiment.name, 0) + 1
        if self._attempts[experiment.name] > _ATTEMPTS:
            return False
        self._say(f"{experiment.name}: DVC's worker is gone; queueing it again")
        queue_up([experiment], self._study, again=[experiment.name])
        return True


def queue_up(new: Sequence[Experiment], study: Study, *, again: Sequence[str] = ()) -> None:
    """Put experiments into DVC's queue, those in `again` in place of what it lists of them."""
    queues.forget(again)
    added = queues.add(((one.name, queues.overrides(one.values)) for one in new), study.target)
    disable = None if len(new) > 1 else True
    for _ in tqdm(added, total=len(new), desc="queueing", unit="experiment", disable=disable):
        pass


def records_of(names: Sequence[str]) -> dict[str, Record]:
    """What DVC knows of experiments; where killed workers left it at a loss, it is helped first.

    Raises:
        UserError: DVC cannot list its experiments.
    """
    try:
        return experiments.read(names)
    except UserError:
        lost = _lost()
        if lost:
            time.sleep(_LOOK_AGAIN)
        for name in lost & _lost():
            queues.give_up(name)
        return experiments.read(names)


def missing(wanted: Sequence[Experiment], records: Mapping[str, Record], raw: Mapping[str, Any]) -> list[Experiment]:
    """Those experiments that are neither done nor under way.

    Raises:
        UserError: one of the others has not the parameters that it should have.
    """
    new, wrong = [], []
    for experiment in wanted:
        record = records.get(experiment.name)
        if record is None or record.state == "failed":
            new.append(experiment)
            continue
        found = plan.differences(plan.parameters(raw, experiment), record.params)
        if found:
            remove = "dvc exp remove" if record.state == "done" else "dvc queue remove"
            wrong.append(f"{remove} {experiment.name}    # {some(found, 3)}")
    if wrong:
        raise UserError(
            f"{len(wrong)} experiments of these names are there with other parameters. Put the study and params.yaml "
            f"back as they were, give the study another name, or remove the experiments:\n{listed(wrong)}"
        )
    return new


def check_models(settings: Iterable[Params]) -> None:
    """See that each model can be made and takes the input of its track.

    Raises:
        UserError: it does not; names the model and the parameter.
    """
    from hsmodels import zoo

    checked = []
    for params in settings:
        case = (params.model, params.track, params.models.get(params.model, {}))
        if case not in checked:
            checked.append(case)
            zoo.for_track(*case)


def notes() -> list[str]:
    """What a user should know of the copies in which experiments run."""
    found = []
    unknown = [file for file in experiments.untracked() if not file.startswith("studies/")]
    if unknown:
        found.append(f"git does not know {some(unknown, 5)}: experiments run without; 'git add' what they need.")
    if not experiments.is_tracked("dvc.lock"):
        found.append(
            "git does not know dvc.lock: each experiment makes the derived data anew. 'dvc repro' and "
            "'git add dvc.lock' let them share what is there."
        )
    return found


def _is_lost(name: str, queue: Queue) -> bool:
    """Whether nobody works any more on an experiment that DVC takes for running."""
    return not queue.active and not any(run.alive for run in queues.runs() if run.name == name)


def _lost() -> set[str]:
    queue = queues.look()
    return {entry.name for entry in queue.entries if entry.status == "Running" and _is_lost(entry.name, queue)}


def _beginning(wanted: Sequence[Experiment], new: Sequence[Experiment], records: Mapping[str, Record]) -> str:
    states = [records[one.name].state for one in wanted if one not in new]
    under_way = len(states) - states.count("done")
    return (
        f"{len(wanted)} experiments: {states.count('done')} done, {under_way} queued or running already, "
        f"{len(new)} to queue"
    )
