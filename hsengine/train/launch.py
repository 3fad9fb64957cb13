"""From one process to several: on this machine, and on more."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch

from hsengine.base.errors import UserError
from hsengine.base.settings import Launch
from hsengine.train.interruption import PREEMPTED

# How long processes that are told to stop may take to save their state.
_GRACE_SECONDS = 60
_MACHINE_VARIABLES = ("HYPEROBJECT_MACHINE", "SLURM_NODEID", "NODE_RANK")
_PR_SET_PDEATHSIG = 1


def launched() -> bool:
    """Whether this process is one of a group that torchrun, `accelerate launch` or `spawn` started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def wanted(settings: Launch) -> bool:
    """Whether several processes are asked for, and this is not one of them yet."""
    return settings.processes * settings.machines > 1 and not launched()


def check_world(world: int) -> None:
    """See that the processes that were started found each other.

    Raises:
        UserError: they did not.
    """
    started = int(os.environ["WORLD_SIZE"]) if launched() else 1
    if started != world:
        raise UserError(
            f"{started} processes were started, but they make groups of {world}: start them by "
            "machine.launch, or with torchrun."
        )


def spawn(module: str, arguments: Sequence[str], settings: Launch) -> int:
    """Run `python -m module arguments` in each of this machine's processes, to the end.

    On several machines the same command runs on each; machine 0 is the meeting point.

    Args:
        module: a module that ends in `worker`.
        arguments: its arguments.
        settings: how many processes on how many machines.

    Returns:
        The number of this machine; the first process, which writes the results, is on machine 0.

    Raises:
        UserError: the processes cannot be started like this.
        SystemExit: one of them failed; it has said why. The code is that of the first one that did.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus = torch.cuda.device_count()
    if 0 < gpus < settings.processes:
        raise UserError(
            f"machine.launch.processes is {settings.processes}, but this machine has {gpus} GPUs: start one a GPU."
        )
    machine = _machine(settings)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=settings.machines,
        max_nodes=settings.machines,
        nproc_per_node=settings.processes,
        run_id=uuid.uuid4().hex if settings.machines == 1 else "training",
        max_restarts=0,
        shutdown_timeout=_GRACE_SECONDS,
        **_meeting_point(settings, machine),  # type: ignore[arg-type]
    )
    with _environment(settings.processes, cpu=gpus == 0), _handlers_kept():
        try:
            elastic_launch(config, sys.executable)("-m", module, *arguments)
        except SignalException as stop:
            raise SystemExit(PREEMPTED if stop.sigval == signal.SIGTERM else 128 + stop.sigval) from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode < 0:
                name = signal.Signals(-failure.exitcode).name
                print(f"error: process {rank} of the training was ended by {name}.", file=sys.stderr)
                raise SystemExit(128 - failure.exitcode) from None
            raise SystemExit(failure.exitcode) from None
    return machine


def worker(run: Callable[[], object]) -> NoReturn:
    """The whole life of a process that `spawn` started.

    Args:
        run: the work; its user's mistakes become one message of the whole group.

    Raises:
        SystemExit: always.
    """
    _die_with_parent()
    # Weights in channels-last order meet it in every training; the copy it speaks of is small.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    try:
        run()
        code: int | str | None = 0
    except UserError as error:
        _let_others_speak_first()
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = 1
    except SystemExit as end:
        code = end.code
    except RuntimeError as error:
        # Another process is gone, and says why.
        if "Connection closed by peer" not in str(error) and "Connection reset by peer" not in str(error):
            raise
        time.sleep(_GRACE_SECONDS)
        code = 1
    if code == 0 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    # A group that lost a member would wait for it at the ordinary way out.
    os._exit(code if isinstance(code, int) else 1)


def _machine(settings: Launch) -> int:
    """Which machine this is.

    Raises:
        UserError: there are several, and nothing says so.
    """
    if settings.machines == 1:
        return 0
    given = [os.environ[name] for name in _MACHINE_VARIABLES if name in os.environ]
    machine = settings.machine
    if machine is None and given and given[0].isdigit():
        machine = int(given[0])
    if machine is None or machine >= settings.machines:
        raise UserError(
            f"machine.launch: which of the {settings.machines} machines is this? Set {_MACHINE_VARIABLES[0]} "
            f"to 0 to {settings.machines - 1} on each, or machine.launch.machine."
        )
    return machine


def _meeting_point(settings: Launch, machine: int) -> dict[str, object]:
    """Where the machines meet.

    Raises:
        UserError: there are several, and it is not said where machine 0 is.
    """
    if settings.machines == 1:
        return {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    if not settings.address:
        raise UserError("machine.launch.address: with several machines, give the name or address of machine 0.")
    endpoint = f"{settings.address}:{settings.port}"
    return {"rdzv_backend": "static", "rdzv_endpoint": endpoint, "rdzv_configs": {"rank": machine}}


@contextmanager
def _environment(processes: int, *, cpu: bool) -> Iterator[None]:
    """What the processes inherit: their share of the cores, and whether there is a GPU."""
    given = dict(os.environ)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(given)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """The launcher leaves its own signal handlers behind."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_with_parent() -> None:
    """A launcher that is killed takes its processes along (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _let_others_speak_first() -> None:
    """All processes make the same mistake; the first one tells, and the launcher then ends the rest."""
    if os.environ.get("RANK") != "0":
        time.sleep(3)
