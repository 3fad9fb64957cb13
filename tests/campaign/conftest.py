"""How much is tried: a little each time, much with `make fuzz`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from killing import KILLED
from spoiling import CAMPAIGN, TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each reader was tried in a campaign, and how many runs were killed."""
    if CAMPAIGN and (TRIED or KILLED):
        terminalreporter.section("tried")
    for name, count in KILLED.items() if CAMPAIGN else ():
        terminalreporter.line(f"{name}: killed {count} times")
    for name, (seconds, examples) in TRIED.items() if CAMPAIGN else ():
        terminalreporter.line(f"{name}: {seconds:.0f} s, {examples:,} spoiled files")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the examples of a module share, as the current one."""
    folder = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HYPEROBJECT_STATE", str(folder / "state"))
        yield folder
