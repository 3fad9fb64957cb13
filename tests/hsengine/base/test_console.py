import errno
import subprocess
import sys

import pytest

from hsengine.base import console
from hsengine.base.errors import UserError


def _raising(error):
    def app():
        raise error

    return app


def test_a_users_mistake_is_one_message_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as caught:
        console.run(_raising(UserError("a.h5 is truncated: copy it again.")))
    assert caught.value.code == "error: a.h5 is truncated: copy it again."


def test_a_full_disk_is_one_message():
    with pytest.raises(SystemExit, match="No space left on device: x"):
        console.run(_raising(OSError(errno.ENOSPC, "No space left on device", "x")))


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        console.run(_raising(ZeroDivisionError()))


@pytest.mark.parametrize("package", ["hsdata", "hsmodels"])
def test_help_does_not_import_heavy_libraries(package):
    code = (
        f"import sys, {package}.cli; "
        "heavy = {'torch', 'zarr', 'scipy', 'matplotlib', 'pandas', 'h5py', 'accelerate'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
