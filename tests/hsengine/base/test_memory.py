"""What may stay in memory."""

from pathlib import Path

import pytest

from hsengine.base import memory


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 800 bytes that runs one training process."""
    monkeypatch.setattr(memory, "installed", lambda: 800)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("needed", "kept"), [(0, True), (100, True), (101, False)])
def test_auto_keeps_what_fills_an_eighth_of_the_memory_or_less(needed: int, kept: bool) -> None:
    assert memory.keeps("auto", needed) is kept


@pytest.mark.usefixtures("machine")
def test_training_processes_of_one_machine_share_that_eighth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.keeps("auto", 25)
    assert not memory.keeps("auto", 26)


@pytest.mark.usefixtures("machine")
def test_who_says_so_keeps_all_or_nothing() -> None:
    assert memory.keeps("memory", 10**9)
    assert memory.keeps("device", 10**9)
    assert not memory.keeps("none", 0)


def test_a_control_group_may_have_less_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_GROUP", group)
    whole = memory.installed()
    group.write_text("max\n")
    assert memory.installed() == whole
    group.write_text(f"{whole // 2}\n")
    assert memory.installed() == whole // 2
    group.write_text(f"{whole * 2}\n")
    assert memory.installed() == whole
