"""The training engine: it knows tasks, not what they are about."""

from hsengine.train.results import Result
from hsengine.train.run import train
from hsengine.train.state import Identity
from hsengine.train.task import Group, Task

__all__ = ["Group", "Identity", "Result", "Task", "train"]
