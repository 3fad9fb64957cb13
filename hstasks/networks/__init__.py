"""Networks of the image tasks, by name.

Libraries of networks are imported when one is built from them.
"""

from hstasks.networks.output import Output
from hstasks.networks.registry import build, names, parameters

__all__ = ["Output", "build", "names", "parameters"]
