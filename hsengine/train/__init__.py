"""The training engine: it knows tasks, not what they are about."""

from hsengine.train.run import train
from hsengine.train.session import Result
from hsengine.train.state import Identity
from hsengine.train.task import Task

__all__ = ["Identity", "Result", "Task", "train"]
