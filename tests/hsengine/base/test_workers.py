import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hsdata import Cube, convert
from hsdata.formats import hdf5
from hsengine.base import workers
from hsengine.base.errors import UserError
from hsengine.base.workers import run, stream


def double(item: int) -> int:
    return 2 * item


def last_of_four(folder: Path, item: int) -> int:
    """Item 0 waits until the others are done."""
    while item == 0 and len(list(folder.iterdir())) < 3:
        time.sleep(0.01)
    if item:
        (folder / str(item)).touch()
    return item


def process_id(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def refuse(item: str) -> str:
    if item == "bad":
        raise UserError("bad.h5 is truncated; get it again.")
    return item


def divide(item: int) -> float:
    return 1 / item


def die(item: str) -> str:
    if item == "fatal":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def one_thread(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"] + os.environ["ZARR_THREADING__MAX_WORKERS"]


def meet(folder: Path, _: int) -> int:
    """This process, once another one has begun too: how soon the second starts is the machine's business."""
    (folder / str(os.getpid())).touch()
    for _ in range(1200):
        if len(list(folder.iterdir())) > 1:
            break
        time.sleep(0.05)
    return os.getpid()


def touch_then_wait(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    assert run(double, range(7), workers=count) == [0, 2, 4, 6, 8, 10, 12]
    assert run(double, [], workers=count) == []


def test_items_are_taken_as_workers_become_free() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    for count, _ in enumerate(stream(double, items(), workers=2), start=1):
        assert taken <= count + 2
    assert taken == 50


def test_stream_yields_what_is_finished_first(tmp_path: Path) -> None:
    order = [index for index, _ in stream(partial(last_of_four, tmp_path), range(4), workers=2)]
    assert sorted(order) == [0, 1, 2, 3]
    # The result before it may come out together with it.
    assert order.index(0) >= 2


def test_several_processes_share_the_items(tmp_path: Path) -> None:
    assert len(set(run(partial(meet, tmp_path), range(8), workers=2))) == 2
    assert set(run(process_id, range(2), workers=1)) == {os.getpid()}


@pytest.mark.parametrize("count", [1, 2])
def test_a_user_error_comes_out_whole(count: int) -> None:
    with pytest.raises(UserError, match=r"^bad\.h5 is truncated; get it again\.$"):
        run(refuse, ["a", "bad", "b"], workers=count)


def test_a_bug_keeps_its_type_and_says_where() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(divide, [1, 0, 2], workers=2)
    assert any("in divide" in note for note in caught.value.__notes__)


def test_a_dead_worker_is_reported_with_its_item() -> None:
    with pytest.raises(UserError, match="SIGKILL while converting fatal"):
        run(die, ["a", "b", "fatal", "c"], workers=2, label="converting")


def test_workers_compute_with_one_thread_and_this_process_keeps_its_own() -> None:
    before = dict(os.environ)
    assert set(run(one_thread, range(2), workers=2)) == {"11"}
    assert dict(os.environ) == before


def test_stopping_early_leaves_no_process_behind() -> None:
    results = stream(process_id, range(100), workers=2)
    worker = next(results)[1]
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(
        "import os, time\nfrom pathlib import Path\nfrom hsengine.base.workers import run\n"
        f"{inspect.getsource(touch_then_wait)}\n"
        "if __name__ == '__main__':\n"
        f"    run(touch_then_wait, [{str(tmp_path / 'ids')!r}] * 4, workers=2)\n"
    )
    (tmp_path / "ids").mkdir()
    parent = subprocess.Popen([sys.executable, str(script)])
    assert _until(lambda: len(list((tmp_path / "ids").iterdir())) == 2)
    parent.kill()
    parent.wait()
    children = [int(path.name) for path in (tmp_path / "ids").iterdir()]
    assert _until(lambda: not any(_runs(child) for child in children))


def test_an_unguarded_script_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("from hsengine.base.workers import run\nrun(abs, [1, 2], workers=2)\n")
    outcome = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode != 0
    assert "if __name__ ==" in outcome.stderr


def test_works_beside_running_threads() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert run(double, [1, 2], workers=2) == [2, 4]
    finally:
        stop.set()
        thread.join()


def test_no_workers_means_the_cores_of_this_process() -> None:
    assert workers.available_cores() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("asked", "size", "expected"), [(0, 1e6, 1), (0, 1e9, 0), (3, 1e6, 3), (1, 1e9, 1)], ids=str)
def test_small_work_stays_in_this_process_unless_processes_are_asked_for(
    asked: int, size: float, expected: int
) -> None:
    assert workers.sensible(asked, size) == expected


def test_long_names_of_items_are_cut() -> None:
    assert len(workers.name_of("x" * 1000)) == 200


def test_a_missing_scheduler_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    monkeypatch.setattr(workers, "_SECONDS_TO_CONNECT", 1)
    with pytest.raises(UserError, match="No Dask scheduler answers at tcp"):
        run(double, [1], scheduler="tcp://127.0.0.1:9")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="pip install"):
        run(double, [1], scheduler="tcp://127.0.0.1:9")


def test_a_cluster_gives_what_processes_give(cluster: str, tmp_path: Path) -> None:
    assert run(double, range(20), scheduler=cluster) == run(double, range(20), workers=1)
    assert len(set(run(partial(meet, tmp_path), range(12), scheduler=cluster))) == 2


def test_a_stage_gives_the_same_files_on_a_cluster(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(3):
        values = np.random.default_rng(number).random((5, 9, 8), dtype=np.float32)
        hdf5.write(f"{number}.h5", Cube(values, np.arange(5) * 10.0 + 400))
        rows.append({"id": f"s{number}", "split": "train", "cube": f"{number}.h5", "cube_hash": str(number)})
    catalog = pd.DataFrame(rows).assign(bands=5, height=9, width=8)
    convert.update(catalog, "here", workers=1)
    assert convert.update(catalog, "there", scheduler=cluster).made == 3
    here, there = (
        {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
        for folder in ("here", "there")
    )
    assert here == there


def test_a_user_error_comes_out_of_a_cluster_whole(cluster: str) -> None:
    with pytest.raises(UserError, match=r"^bad\.h5 is truncated; get it again\.$"):
        run(refuse, ["a", "bad", "b"], scheduler=cluster)


def test_a_dead_worker_of_a_cluster_is_reported_with_its_item(cluster: str) -> None:
    with pytest.raises(UserError, match="died while converting fatal"):
        run(die, ["fatal"], scheduler=cluster, label="converting")


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _runs(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
