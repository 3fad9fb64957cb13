"""The training engine: it knows tasks, not what they are about."""

from hsmodels.engine.run import train
from hsmodels.engine.session import Result
from hsmodels.engine.state import Identity
from hsmodels.engine.task import Task

__all__ = ["Identity", "Result", "Task", "train"]
