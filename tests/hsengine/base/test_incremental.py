import errno
import inspect
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hsengine.base import files, incremental
from hsengine.base.errors import UserError
from hsengine.base.incremental import JOURNAL, MANIFEST, Job, key_of, update


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder; the folders themselves as empty ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
    }


def make(work: dict[str, Any]) -> dict[str, Any]:
    """Write what is asked for."""
    time.sleep(work.get("seconds", 0.0))
    if work.get("fail"):
        raise UserError(f"{work['name']} is unreadable; get it again.")
    folder = Path(work["folder"])
    with files.replacing(folder / f"{work['name']}.txt") as scratch:
        scratch.write_text(work["text"])
    with files.replacing(folder / f"{work['name']}.store") as scratch:
        scratch.mkdir()
        (scratch / "values").write_bytes(work["text"].encode() * 1000)
        (scratch / "meta").write_text(work["name"])
    return {"length": len(work["text"])}


def jobs_of(folder: Path, texts: dict[str, str], **more: Any) -> list[Job]:
    return [
        Job(
            name,
            key_of(text, 1),
            (f"{name}.txt", f"{name}.store"),
            {"folder": str(folder), "name": name, "text": text, **more},
        )
        for name, text in texts.items()
    ]


TEXTS = {"train/a": "first", "train/b": "second", "test/c": "third"}


def undisturbed(folder: Path, texts: dict[str, str]) -> dict[str, bytes]:
    update(folder, jobs_of(folder, texts), make, workers=1)
    return content_of(folder)


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    first = update(tmp_path / "out", jobs_of(tmp_path / "out", TEXTS), make, workers=1)
    assert (first.made, first.kept, first.removed) == (["train/a", "train/b", "test/c"], [], [])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    second = update(tmp_path / "out", jobs_of(tmp_path / "out", TEXTS), make, workers=1)
    assert (second.made, second.kept) == ([], ["train/a", "train/b", "test/c"])
    assert second.facts == first.facts == {"train/a": {"length": 5}, "train/b": {"length": 6}, "test/c": {"length": 5}}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_only_what_changed_is_made_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    undisturbed(folder, TEXTS)
    texts = {"train/a": "changed", "train/b": "second", "train/d": "new"}
    done = update(folder, jobs_of(folder, texts), make, workers=1)
    assert (done.made, done.kept, done.removed) == (["train/a", "train/d"], ["train/b"], ["test/c"])
    assert content_of(folder) == undisturbed(tmp_path / "other", texts)
    assert not (folder / "test").exists()


def test_full_makes_everything(tmp_path: Path) -> None:
    before = undisturbed(tmp_path, TEXTS)
    assert update(tmp_path, jobs_of(tmp_path, TEXTS), make, workers=1, full=True).made == list(TEXTS)
    assert content_of(tmp_path) == before


def test_no_jobs_leave_an_empty_folder_with_a_manifest(tmp_path: Path) -> None:
    undisturbed(tmp_path / "out", TEXTS)
    update(tmp_path / "out", [], make)
    assert sorted(content_of(tmp_path / "out")) == [MANIFEST]


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "train/a.txt").unlink(),
        lambda folder: (folder / "train/a.txt").write_text("firsT"),
        lambda folder: (folder / "train/a.txt").write_text("longer than before"),
        lambda folder: (folder / "train/a.store/meta").unlink(),
        lambda folder: (folder / "train/a.store/stray").touch(),
        lambda folder: (folder / "train/a.store/values").write_bytes(b"X" * 5000),
    ],
)
def test_a_damaged_output_is_made_again(
    tmp_path: Path, damage: Any, forgetful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = undisturbed(tmp_path / "out", TEXTS)
    if forgetful:
        monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "empty state"))
    damage(tmp_path / "out")
    done = update(tmp_path / "out", jobs_of(tmp_path / "out", TEXTS), make, workers=1)
    assert (done.made, done.kept) == (["train/a"], ["train/b", "test/c"])
    assert content_of(tmp_path / "out") == before


def test_unchanged_files_are_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed(tmp_path, TEXTS)

    def forbidden(path: Any) -> str:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(files, "file_hash", forbidden)
    assert update(tmp_path, jobs_of(tmp_path, TEXTS), make, workers=1).made == []


@pytest.mark.parametrize("broken", ["", "{", '{"samples": {"train/a": 3}}', "[]", "null"])
def test_a_broken_manifest_makes_everything_anew(tmp_path: Path, broken: str) -> None:
    undisturbed(tmp_path / "out", TEXTS)
    (tmp_path / "out" / MANIFEST).write_text(broken)
    texts = {"train/a": "first"}
    update(tmp_path / "out", jobs_of(tmp_path / "out", texts), make, workers=1)
    assert content_of(tmp_path / "out") == undisturbed(tmp_path / "other", texts)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "notes.md").write_text("mine")
    undisturbed(tmp_path, TEXTS)
    update(tmp_path, [], make)
    assert sorted(content_of(tmp_path)) == [MANIFEST, "train", "train/notes.md"]


def test_the_manifest_holds_neither_times_nor_the_place(tmp_path: Path) -> None:
    one, two = undisturbed(tmp_path / "one", TEXTS), undisturbed(tmp_path / "two", dict(reversed(TEXTS.items())))
    assert one == two
    assert str(tmp_path).encode() not in one[MANIFEST]


def test_a_failure_names_the_item_and_keeps_what_was_finished(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, TEXTS)
    bad = Job("train/b", key_of("bad"), jobs[1].outputs, jobs[1].work | {"fail": True})
    with pytest.raises(UserError, match=r"^train/b is unreadable; get it again\.$"):
        update(tmp_path, [jobs[0], bad, jobs[2]], make, workers=1)
    done = update(tmp_path, jobs, make, workers=1)
    assert (done.made, done.kept) == (["train/b", "test/c"], ["train/a"])
    assert not (tmp_path / JOURNAL).exists()


def test_going_back_after_a_failure_does_not_trust_the_old_manifest(tmp_path: Path) -> None:
    before = undisturbed(tmp_path / "out", TEXTS)
    folder = tmp_path / "out"
    texts = {"train/a": "FIRST", "train/b": "other"}
    jobs = jobs_of(folder, texts)
    jobs[1] = Job(jobs[1].name, jobs[1].key, jobs[1].outputs, jobs[1].work | {"fail": True})
    with pytest.raises(UserError):
        update(folder, jobs, make, workers=1)
    done = update(folder, jobs_of(folder, TEXTS), make, workers=1)
    assert "train/a" in done.made
    assert content_of(folder) == before


def test_a_journal_with_an_unfinished_line_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    before = undisturbed(folder, TEXTS)
    records = json.loads(before[MANIFEST])["samples"]
    (folder / MANIFEST).unlink()
    lines = [json.dumps({"outputs": [*jobs_of(folder, TEXTS)[0].outputs, "train/gone.txt"]})]
    lines += [json.dumps({"name": name, "record": records[name]}) for name in ("train/a", "train/b")]
    (folder / JOURNAL).write_text("\n".join(lines)[:-20])
    (folder / "train/gone.txt").touch()
    done = update(folder, jobs_of(folder, TEXTS), make, workers=1)
    assert (done.made, done.kept) == (["train/b", "test/c"], ["train/a"])
    assert content_of(folder) == before


def test_changed_outputs_of_a_sample_replace_the_old_ones(tmp_path: Path) -> None:
    undisturbed(tmp_path, {"a": "first"})
    (job,) = jobs_of(tmp_path, {"a": "first"})
    update(tmp_path, [Job("a", "other key", ("a.txt",), job.work)], make_text_only, workers=1)
    assert sorted(content_of(tmp_path)) == ["a.txt", MANIFEST]


def make_text_only(work: dict[str, Any]) -> None:
    files.write_text(Path(work["folder"]) / f"{work['name']}.txt", work["text"])


def test_forgetting_an_output_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"a\.store was not made"):
        update(tmp_path, jobs_of(tmp_path, {"a": "first"}), make_text_only, workers=1)


def test_the_manifest_is_not_written_through_a_hard_link(tmp_path: Path) -> None:
    before = undisturbed(tmp_path / "out", TEXTS)
    os.link(tmp_path / "out" / MANIFEST, tmp_path / "cached")
    os.link(tmp_path / "out" / "train/a.txt", tmp_path / "cached text")
    undisturbed(tmp_path / "out", {"train/a": "changed"})
    assert (tmp_path / "cached").read_bytes() == before[MANIFEST]
    assert (tmp_path / "cached text").read_text() == "first"


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no file locks")
    with incremental._alone_in(tmp_path), pytest.raises(UserError, match="Another run is writing"):
        update(tmp_path, [], make)
    update(tmp_path, [], make)


def test_a_full_disk_is_reported_and_a_rerun_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    before = undisturbed(tmp_path / "other", TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refusing(Path.mkdir, "b.store"))
        with pytest.raises(UserError, match="No space left on the disk"):
            update(folder, jobs_of(folder, TEXTS), make, workers=1)
    assert not list(folder.rglob(".part-*"))
    update(folder, jobs_of(folder, TEXTS), make, workers=1)
    assert content_of(folder) == before


def refusing(genuine: Any, name: str) -> Any:
    def method(self: Path, *args: Any, **options: Any) -> Any:
        if self.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(self, *args, **options)

    return method


def test_killed_runs_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    texts = {f"train/{index:02}": f"text {index}" for index in range(30)}
    expected = undisturbed(tmp_path / "undisturbed", texts)
    folder = tmp_path / "killed"
    undisturbed(folder, {"train/00": "old", "test/gone": "old"})
    script = tmp_path / "run.py"
    script.write_text(
        "import time\nfrom pathlib import Path\nfrom typing import Any\n"
        "from hsengine.base import files\nfrom hsengine.base.errors import UserError\n"
        "from hsengine.base.incremental import Job, key_of, update\n"
        f"{inspect.getsource(make)}\n{inspect.getsource(jobs_of)}\n"
        "if __name__ == '__main__':\n"
        f"    folder, texts = Path({str(folder)!r}), {texts!r}\n"
        "    print(len(update(folder, jobs_of(folder, texts, seconds=0.03), make, workers=2).kept))\n"
    )
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.DEVNULL)
        before = finished(folder)
        while finished(folder) < before + 3 and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.wait()
    finish = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert int(finish.stdout) > 0
    assert content_of(folder) == expected


def test_an_interrupted_run_stops_at_once_and_tidies_up(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    script = tmp_path / "run.py"
    script.write_text(
        "import signal\nimport time\nfrom pathlib import Path\nfrom hsengine.base import files\n"
        "from hsengine.base.incremental import Job, update\n"
        # A shell starts what it runs in the background with Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{inspect.getsource(never_done)}\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [Job(name, name, (name,), {str(folder)!r}) for name in 'abcd']\n"
        f"    update({str(folder)!r}, jobs, never_done, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list(folder.glob(".part-*/*"))) < 2 and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) != 0
    assert [path.name for path in folder.iterdir()] == [JOURNAL]


def never_done(folder: str) -> None:
    with files.replacing(Path(folder, "output")) as scratch:
        scratch.touch()
        time.sleep(60)


def finished(folder: Path) -> int:
    """How many lines the journal has."""
    path = folder / JOURNAL
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_one_sample_more_costs_one_sample(tmp_path: Path) -> None:
    texts = {f"train/{index}": "text" for index in range(100)}
    undisturbed(tmp_path, texts)
    assert update(tmp_path, jobs_of(tmp_path, texts | {"train/new": "text"}), make, workers=1).made == ["train/new"]


def test_keys_tell_apart_what_differs() -> None:
    keys = {key_of("a", 1), key_of("a", 2), key_of("a", "1"), key_of("a", 1, None), key_of({"b": 1}), key_of("a1")}
    assert len(keys) == 6
    assert key_of({"x": 1, "y": 2}) == key_of({"y": 2, "x": 1})
