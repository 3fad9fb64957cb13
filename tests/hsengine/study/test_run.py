import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hsengine.base.errors import UserError
from hsengine.study import calls, experiments, plan, run, snapshot
from hsengine.study.plan import Experiment
from hsengine.study.pool import Pool
from hsengine.study.snapshot import Snapshot

STUDY = "name: s\nvariants:\n  a: {train.lr: 0.25}\n  b: {train.lr: 0.5}\n  broken: {fail: true}\n"


COPIES = experiments.folder() / "copies"


def _until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _plan(project, text=STUDY):
    file = Path("studies", "s.yaml")
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return plan.load(file, "params.yaml", project)


def _run(project, text=STUDY, jobs=2):
    said = []
    return run.run(_plan(project, text), jobs=jobs, say=said.append), said


def _gain(name):
    return experiments.read([name])[name].measure("outputs/metrics.json", "gain")


def test_a_study_runs_skips_what_is_done_and_tries_again_what_failed(project, capfd):
    outcome, said = _run(project)
    assert said[0] == "3 experiments: 0 done, 3 to run"
    assert "dvc.lock" in said[1]
    assert (outcome.done, outcome.failed) == (["s-a", "s-b"], ["s-broken"])
    assert (_gain("s-a"), _gain("s-b")) == (0.25, 0.5)
    with pytest.raises(UserError, match=r"(?s)1 of 3 experiments failed.*failed to reproduce 'evaluate' \(see (\S+)\)"):
        outcome.check()
    assert "no mosaics here" in experiments.log("s-broken").read_text()
    assert "s-a: done" in capfd.readouterr().out

    Path("stage.py").write_text(Path("stage.py").read_text().replace('sys.exit("no mosaics here")', "pass"))
    outcome, said = _run(project)
    assert said[0] == "3 experiments: 2 done, 1 to run"
    assert outcome.failed == []
    assert not list(COPIES.iterdir())


def test_an_experiment_of_that_name_with_other_parameters_is_an_error_that_says_what_to_do(project):
    _run(project, "name: s\nvariants: {b: {train.lr: 0.5}}\n")
    with pytest.raises(UserError, match=r"(?s)another name.*dvc exp remove s-b .*train\.lr is 0\.5, not 0\.75"):
        _run(project, "name: s\nvariants: {b: {train.lr: 0.75}}\n")
    assert _run(project, "name: s\nvariants: {b: {train.lr: 0.5, machine.workers: 3}}\n")[0].failed == []


def test_what_could_not_be_trained_is_named_before_anything_runs(project):
    with pytest.raises(UserError, match=r"The experiment 's-a-s0': there is no model 'huge'"):
        _run(project, "name: s\nvariants: {a: {model: huge}}\nseeds: 3\n")
    assert not experiments.folder().exists()


def test_experiments_start_from_the_files_as_they_were_when_the_study_began(project):
    Path("offset.txt").write_text("1")
    Path("new.txt").write_text("unknown to git")
    found = Snapshot.take()
    Path("offset.txt").write_text("2")
    with Pool(found, "evaluate", 1, print) as pool:
        assert pool.run(Experiment("s-a", "a", {"train.lr": 0.5}))
    assert _gain("s-a") == 1.5
    assert Path("offset.txt").read_text() == "2"
    assert calls.git("show", f"{experiments.finished()['s-a'][1]}:new.txt") is None


def test_files_that_were_touched_are_no_changes(project):
    os.utime("offset.txt", (0, 0))
    assert Snapshot.take().changes == ""
    Path("offset.txt").write_text("5")
    assert Snapshot.take().changes


@pytest.mark.parametrize("depth", [None, 1])
def test_a_clone_that_is_shallow_or_not_makes_copies(project, tmp_path, monkeypatch, depth, helpers):
    git = helpers.git
    git("commit", "-q", "--allow-empty", "-m", "another")
    shallow = [] if depth is None else ["--depth", str(depth)]
    git("clone", "-q", *shallow, Path.cwd().as_uri(), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    git("config", "user.email", "test@example.org")
    git("config", "user.name", "Test")
    assert _run(project, "name: s\nvariants: {a: {train.lr: 0.5}}\n")[0].done == ["s-a"]


def test_experiments_that_run_are_stopped_with_their_state_saved(project):
    said = []

    with pytest.raises(KeyboardInterrupt), Pool(Snapshot.take(), "evaluate", 1, said.append) as pool:
        ends = pool.each(pool.run, [Experiment(f"s-{n}", "s", {"sleep": 100}) for n in range(3)])
        threading.Thread(target=lambda: list(ends), daemon=True).start()
        _until(lambda: list(COPIES.glob("*/outputs/curves/plots/metrics/val/*")))
        raise KeyboardInterrupt
    assert said[0].startswith("stopping s-0")
    assert "state saved" in experiments.log("s-0").read_text()
    assert experiments.finished() == {}
    assert not list(COPIES.iterdir())


def test_what_an_earlier_study_still_runs_is_waited_for(project):
    said = []
    with Pool(Snapshot.take(), "evaluate", 1, said.append) as pool:
        experiments.folder().mkdir(parents=True)
        with experiments.log("s-a").open("ab") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            assert experiments.read(["s-a"])["s-a"].state == "running"
            thread = threading.Thread(target=pool.run, args=[Experiment("s-a", "a", {})])
            thread.start()
            _until(lambda: said)
        thread.join()
    assert "s-a: an earlier run is still at it; waiting" in said[0]
    assert experiments.read(["s-a"])["s-a"].state == "done"


def test_a_study_that_was_killed_leaves_results_and_nothing_in_the_way(project):
    """Its experiment ends without it; what was killed with it is taken off."""
    script = (
        "from hsengine.study import snapshot; from hsengine.study.pool import Pool; "
        "from hsengine.study.plan import Experiment; import sys; "
        f"snapshot.DVC = {snapshot.DVC!r}; pool = Pool(snapshot.Snapshot.take(), 'evaluate', 1, print); "
        "pool.run(Experiment('s-a', 'a', {'train.lr': 0.25, 'sleep': 1.5}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    _until(lambda: list(COPIES.glob("s-a/outputs/curves/plots")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    shutil.copytree(Path(".dvc"), COPIES / "s-b" / ".dvc", ignore=lambda *_: ["tmp"])
    outcome, _ = _run(project, "name: s\nvariants: {a: {train.lr: 0.25, sleep: 1.5}, b: {train.lr: 0.5}}\n")
    assert outcome.failed == []
    assert (_gain("s-a"), _gain("s-b")) == (0.25, 0.5)
    assert not list(COPIES.iterdir())


def test_copies_that_a_killed_study_left_half_removed_go_with_the_next_run(project):
    text = "name: s\nvariants: {a: {train.lr: 0.25}}\n"
    _run(project, text)
    for left in ("s-a", ".s-a"):
        (COPIES / left / ".git").mkdir(parents=True)
        outcome, said = _run(project, text)
        assert outcome.done == ["s-a"] and said == ["1 experiments: 1 done, 0 to run"]
        assert not list(COPIES.iterdir())
    # What is left of its repository is not looked for in the user's.
    (COPIES / "s-a" / ".git").mkdir(parents=True)
    assert _run(project, "name: s\nvariants: {a: {train.lr: 0.25}, b: {train.lr: 0.5}}\n")[0].done == ["s-a", "s-b"]
    assert not list(COPIES.iterdir())


def test_below_the_root_of_a_repository_experiments_are_those_of_the_folder(project, tmp_path, monkeypatch, helpers):
    root = tmp_path / "root"
    for folder in (root, root / "challenges" / "toy"):
        helpers.make_project(folder)
    monkeypatch.chdir(root)
    helpers.repository()
    Path("offset.txt").write_text("7")
    monkeypatch.chdir(root / "challenges" / "toy")
    Path("offset.txt").write_text("1")
    assert _run(project, "name: s\nvariants: {a: {train.lr: 0.5}}\n")[0].done == ["s-a"]
    assert _gain("s-a") == 1.5
    assert experiments.read(["s-a"])["s-a"].params["train"] == {"lr": 0.5}


def test_notes_name_what_git_does_not_know(monkeypatch):
    monkeypatch.setattr(experiments, "untracked", lambda: ["studies/mine.yaml", "hsmodels/zoo/mine.py"])
    monkeypatch.setattr(experiments, "is_tracked", lambda file: False)
    found = "\n".join(run.notes())
    assert "hsmodels/zoo/mine.py" in found
    assert "studies" not in found
    assert "dvc.lock" in found


def test_outside_of_a_project_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc init"):
        snapshot.check()
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="commit the project first"):
        snapshot.check()
