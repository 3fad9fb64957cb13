"""From a study file to DVC experiments that have run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from hsengine.base.errors import UserError
from hsengine.base.wording import listed, some
from hsengine.study import experiments
from hsengine.study.plan import Experiment, Plan
from hsengine.study.pool import Pool, Say, clear, failure
from hsengine.study.snapshot import Snapshot


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
            UserError: some did; says why and where to read more.
        """
        if self.failed:
            count = len(self.failed) + len(self.done)
            raise UserError(
                f"{len(self.failed)} of {count} experiments failed:\n"
                + listed([f"{name}: {failure(name)}" for name in self.failed])
                + "\nRun the study again to try them again."
            )


def run(plan: Plan, *, jobs: int, say: Say) -> Outcome:
    """Run those experiments of a study that have not run.

    Those that are done are left as they are, if they have the parameters that the study gives them now; those that
    failed are tried again.

    Args:
        plan: the study, without a search.
        jobs: how many run at once.
        say: tells the user something.

    Raises:
        UserError: a parameter is wrong; an experiment of that name has other parameters.
    """
    wanted = plan.experiments()
    check(plan, wanted)
    new = missing(plan, wanted)
    say(f"{len(wanted)} experiments: {len(wanted) - len(new)} done, {len(new)} to run")
    good: dict[str, bool] = {}
    if not new:
        clear()
    else:
        for note in notes():
            say(note)
        with tqdm(total=len(new), desc=plan.study.name, unit="experiment", disable=None) as bar:
            try:
                with Pool(Snapshot.take(), plan.study.target, jobs, bar.write) as pool:
                    for one, ended in pool.each(pool.run, new):
                        good[one.name] = ended
                        bar.write(f"{one.name}: {'done' if ended else f'failed: {failure(one.name)}'}")
                        bar.update()
            except KeyboardInterrupt:
                bar.write(going_on(len(new) - sum(good.values())))
                raise
        # One that an earlier run was still at may have other parameters.
        missing(plan, wanted)
    failed = [one.name for one in wanted if not good.get(one.name, True)]
    return Outcome([one.name for one in wanted if one.name not in failed], failed)


def going_on(count: int) -> str:
    """What a user should know who stopped a study."""
    return f"{count} experiments are left. The same command goes on; trainings continue from their saved states."


def missing(plan: Plan, wanted: Sequence[Experiment]) -> list[Experiment]:
    """Those experiments that are not done.

    Raises:
        UserError: one of the others has not the parameters that it should have.
    """
    records = experiments.read(one.name for one in wanted)
    new, wrong = [], []
    for one in wanted:
        record = records.get(one.name)
        if record is None or record.state != "done":
            new.append(one)
        elif found := plan.differences(one, record.params):
            wrong.append(f"dvc exp remove {one.name}    # {some(found, 3)}")
    if wrong:
        raise UserError(
            f"{len(wrong)} experiments of these names are there with other parameters. Put the study and params.yaml "
            f"back as they were, give the study another name, or remove the experiments:\n{listed(wrong)}"
        )
    return new


def check(plan: Plan, wanted: Iterable[Experiment]) -> None:
    """See that experiments can be trained, each kind once.

    Raises:
        UserError: one cannot; names it and the parameter.
    """
    checked = []
    for one in wanted:
        params = plan.parameters(one)
        # Seeds and folds change nothing that is checked.
        case = {key: value for key, value in one.values.items() if key != "seed" and key not in plan.project.fold(0, 2)}
        if case not in checked:
            checked.append(case)
            try:
                plan.project.check(params)
            except UserError as error:
                raise UserError(f"The experiment '{one.name}': {error}") from None


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
