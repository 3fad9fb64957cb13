import os
import subprocess
import sys
from pathlib import Path

ALONE = """
import sys
from pathlib import Path


class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hsdata", "hsmodels", "hstasks"):
            raise ImportError(f"{name} is not installed")


sys.meta_path.insert(0, Refusing())
from toy_task import EVERYTHING, Learned, trained

print(trained(Path(sys.argv[1]), Learned(), **EVERYTHING | {"ema": 0.0}).reason)
"""


def test_the_engine_trains_without_any_package_that_is_built_on_it(tmp_path):
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(Path(__file__).parent), str(root)])
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "epochs", done.stderr
