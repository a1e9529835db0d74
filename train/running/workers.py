"""One training in several processes: what each of these workers does, and what the main one does for all.

How many work together is checked in each of them, never assumed: `accelerate launch --cpu` starts one, without a word,
whatever it is asked for. Files are written, messages told and the result given by the main process alone, the worker
of rank 0. Who starts them: launch.py.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from builder import tables
from builder.errors import WimError
from builder.params import Train
from builder.params.blocks import as_dict

Made = TypeVar("Made")

PLACE, PARENT = "WIM_WORKER", "WIM_PARENT"
"""In a worker's environment: the folder where it leaves its result or its error, and the process that started it."""
STARTED = "LOCAL_RANK"
"""In the environment of what torchrun has started, be it us or somebody else; by it accelerate knows as well."""
PATIENCE = 24 * 60 * 60
"""Seconds that workers wait for the main process, which works out the reference. One that dies ends all at once."""
LOOK = 0.5
"""Seconds between two looks whether the process that started a worker is still there."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def share(settings: Train) -> tuple[int, int]:
    """How many pairs a process takes at once, and how often before a step. Raises WimError if that is not even."""
    processes = settings.launch.processes
    at_once = min(settings.device_batch, max(1, settings.batch // processes))
    if settings.batch % (at_once * processes):
        raise WimError(
            f"train.batch ({settings.batch}) must be a multiple of train.device_batch ({at_once}) "
            f"x train.launch.processes ({processes})"
        )
    return at_once, settings.batch // (at_once * processes)


def is_main() -> bool:
    """Whether this is the process that writes and tells; so it is where there is only one."""
    return STARTED not in os.environ or os.environ["RANK"] == "0"


def by_main(make: Callable[[], Made]) -> Made:
    """What the main process makes, given to all: nothing is worked out twice, no file is read while it is written."""
    from accelerate.utils import broadcast_object_list

    made: list[Any] = [make() if is_main() else None]
    found: Made = broadcast_object_list(made)[0]
    return found


def check(trainer: Any, settings: Train) -> None:
    """Raises WimError unless a step of the ``trainer`` takes train.batch pairs in as many processes as were asked."""
    asked, processes = settings.launch.processes, trainer.accelerator.num_processes
    if processes != asked:
        raise WimError(f"train.launch.processes is {asked}, but {processes} train together: start it by `wim train`")
    arguments = trainer.args
    taken = arguments.train_batch_size * arguments.gradient_accumulation_steps * processes
    if taken != settings.batch:
        raise WimError(
            f"train.batch is {settings.batch}, but a step would take {taken} pairs: one process sees {arguments.n_gpu} "
            f"GPUs; set train.launch.processes={arguments.n_gpu}, or CUDA_VISIBLE_DEVICES to one of them"
        )


def tell_filled(pairs: int, settings: Train) -> None:
    """Say how many pairs are taken twice, so that each process has as many at the end of an epoch (accelerate)."""
    processes = settings.launch.processes
    filled = -pairs % (share(settings)[0] * processes)
    if filled and processes > 1:
        many = f"{filled:,} of {pairs:,} pairs are taken once more"
        print(f"at the end of an epoch {many}: the processes' last batches are full", file=sys.stderr)


def run(train: Callable[[], Any], place: Path) -> None:
    """Train, leave the result or the error in ``place``, and exit."""
    _end_with(int(os.environ[PARENT]))
    for number in STOPS:  # whoever started this process says that it was stopped
        signal.signal(number, signal.SIG_DFL)
    rank = os.environ["RANK"]
    try:
        made = train()
    except Exception as error:
        known = isinstance(error, WimError)
        line = str(error) if known else f"{type(error).__name__}: {tables.first_line(error)}"
        report = {"known": known, "time": time.time(), "line": line, "trace": traceback.format_exc()}
        tables.write_json(place / f"error-{rank}.json", report)
        sys.exit(1)
    if is_main():
        tables.write_json(place / "result.json", as_dict(made))
    _leave()
    sys.exit(0)


def _end_with(parent: int) -> None:
    """End soon after the process that started this one: if it was killed, nobody else would end it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _leave() -> None:
    from accelerate import PartialState

    PartialState().destroy_process_group()
