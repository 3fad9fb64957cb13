"""What every test may ask for: the shared references, a state folder of its own, a full disk, a Dask cluster."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import settings

import hsmodels  # noqa: F401  (says how threads wait, before torch is imported)
from hsengine.base.errors import UserError
from hsengine.train import session

# How long an example takes says more of the machine than of the code.
settings.register_profile("project", deadline=None)
settings.register_profile("campaign", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of real captures and reference values beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with reference values and real captures is absent")
    return SHARED


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume state and remembered file facts of a test stay in that test."""
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(params=[errno.ENOSPC, errno.EACCES], ids=["full disk", "no permission"])
def unwritable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """While `unwritable(name)` lasts, no file of that name can be written; it must end in a message to the user."""

    def refusing(genuine: Callable[..., Any], name: str) -> Callable[..., Any]:
        def method(self: Path, *args: Any, **options: Any) -> Any:
            if self.name == name and [*args, *options.values()][:1] not in ([], ["r"], ["rb"]):
                raise OSError(request.param, os.strerror(request.param))
            return genuine(self, *args, **options)

        return method

    @contextmanager
    def refused(name: str) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refusing(Path.open, name))
            patch.setattr(Path, "write_bytes", refusing(Path.write_bytes, name))
            patch.setattr(Path, "write_text", refusing(Path.write_text, name))
            said = "No space left on the disk" if request.param == errno.ENOSPC else "check the permissions"
            with pytest.raises(UserError, match=said):
                yield

    return refused


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and two worker processes on loopback."""
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    place = tmp_path_factory.mktemp("dask")
    file = place / "scheduler.json"
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "OMP_NUM_THREADS": "1",
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": place}
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    processes = [subprocess.Popen([*module, *options], **quiet)]
    try:
        assert _appeared(file)
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
        options = [
            "--host",
            "127.0.0.1",
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--local-directory",
            str(place),
        ]
        processes += [subprocess.Popen([*worker, *options], **quiet) for _ in range(2)]
        address = json.loads(file.read_text())["address"]
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _appeared(file: Path, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        # It is there before it is written.
        if file.exists() and file.stat().st_size:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def half_on_cpu(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """bf16 and fp16 of the engine as on a GPU: a stand-in, as slow as a processor without such numbers is."""

    if torch.cuda.is_available():
        pytest.skip("there is a GPU: half precision needs no stand-in")

    class HalfOnCPU(Accelerator):  # type: ignore[misc]
        """Autocasts to fp16 and scales the loss on a CPU, where Accelerate itself leaves both out."""

        start = 2.0**16

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if self.mixed_precision == "fp16":
                self.native_amp = True
                self.scaler = torch.amp.GradScaler("cpu", init_scale=self.start, growth_interval=4)

    monkeypatch.setattr(session, "Accelerator", HalfOnCPU)
    monkeypatch.setattr(session, "_check_precision", lambda precision: None)
    return HalfOnCPU


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; tests of pages are left out where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium to open pages with: 'apt-get install chromium'")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a file as a page without network; whatever it says on the console fails the test."""
    contexts, said = [], []

    def opening(file: Path, *, width: int = 1200, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        # A busy machine is no fault of the page.
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(file.resolve().as_uri())
        return page

    yield opening
    for context in contexts:
        context.close()
    assert said == []
