import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest

from hsengine.base import locks
from hsengine.base.errors import UserError

HOLD = """
import sys, time
from hsengine.base import locks
with locks.alone_in(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(folder, seconds):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_process_that_holds_a_folder_is_named(tmp_path):
    process = holder(tmp_path, 60)
    try:
        said = f"Another run is writing to {tmp_path}: process {process.pid} "
        with pytest.raises(UserError, match=said), locks.alone_in(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_lock_ends_with_its_holder(tmp_path):
    process = holder(tmp_path, 60)
    process.kill()
    process.wait()
    with locks.alone_in(tmp_path):
        pass


def test_who_waits_says_whom_for_and_goes_on(tmp_path, capsys):
    process = holder(tmp_path, 0.5)
    with locks.alone_in(tmp_path, wait=True):
        assert process.wait() == 0
    assert (
        f"waiting for another run to end that is writing to {tmp_path}: process {process.pid}"
        in capsys.readouterr().err
    )


def test_a_folder_that_was_replaced_meanwhile_is_locked_anew(tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    genuine = locks.taken

    def replaced(handle):
        monkeypatch.setattr(locks, "taken", genuine)
        place.rename(tmp_path / "old")
        place.mkdir()
        return genuine(handle)

    monkeypatch.setattr(locks, "taken", replaced)
    with locks.alone_in(place), pytest.raises(UserError), locks.alone_in(place):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_said_and_done_without(tmp_path, monkeypatch, capsys, code):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    start = time.monotonic()
    with locks.alone_in(tmp_path):
        pass
    assert "cannot be locked" in capsys.readouterr().err
    assert time.monotonic() - start < 10
    assert not list(tmp_path.iterdir())
