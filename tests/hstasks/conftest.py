"""The tests of every challenge find what their pages share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
