"""Training in several processes: torchrun starts them on CPUs, `accelerate launch` on GPUs, one for each GPU.

The command starts itself again with the same words, ``train.launch.processes`` times; each of these workers trains on
its share of every step's pairs, and gradients are averaged. How many work together is checked in each of them, never
assumed: `accelerate launch --cpu` starts one, without a word, whatever it is asked for. Files are written, messages
told and the result given by the main process alone, the worker of rank 0.
"""

import contextlib
import importlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from builder import tables
from builder.blocks import as_dict
from builder.errors import WimError
from builder.params import Params, Train

Made = TypeVar("Made")
Given = tuple[Path, Params, Path | None]
"""What a method of training is called with: run folder, parameters, policy folder."""

ALONE = ("train.merge", "train.online", "train.grpo")
"""What one process does."""
PLACE, PARENT = "WIM_WORKER", "WIM_PARENT"
"""In a worker's environment: the folder where it leaves its result or its error, and the process that started it."""
STARTED = "LOCAL_RANK"
"""In the environment of what torchrun has started, be it us or somebody else; by it accelerate knows as well."""
PATIENCE = 24 * 60 * 60
"""Seconds that workers wait for the main process, which works out the reference. One that dies ends all at once."""
LOOK = 0.5
"""Seconds between two looks whether the process that started a worker is still there."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run(method: str, given: Given, words: Sequence[str]) -> Any:
    """Call ``method`` (train.dpo, say) here, or in as many processes as the parameters say; what it gives.

    ``words`` are those of the command line. Raises WimError, with the line of the worker that failed first.
    """

    def train() -> Any:
        return importlib.import_module(method).run(*given)

    if PLACE in os.environ:
        _work(train, Path(os.environ[PLACE]))
    settings = given[1].train
    if method in ALONE or settings.launch.processes == 1 or STARTED in os.environ:
        return train()
    share(settings)
    return _started(settings.launch.processes, words)


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


# What workers do ------------------------------------------------------------------------------------------------------


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


def _work(train: Callable[[], Any], place: Path) -> None:
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


# What the process that was called does --------------------------------------------------------------------------------


class _WorkerTrace(Exception):
    """A worker's traceback, for --debug."""


def _started(processes: int, words: Sequence[str]) -> dict[str, Any]:
    """Start the workers, wait for them, give what the main one made."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    stopped = 0
    with tempfile.TemporaryDirectory(prefix="wim-train-") as place:
        try:
            with _signals_kept(), _environment(processes, place), _quiet():
                _launch(processes, words, place)
        except ChildFailedError as error:
            cause = _cause(Path(place), {rank: failed.exitcode for rank, failed in error.failures.items()})
            raise cause from cause.__cause__
        except SignalException as stop:
            stopped = stop.sigval
        if stopped:
            signal.raise_signal(stopped)  # now it is handled as it is in one process
        made: dict[str, Any] = tables.read_json(Path(place) / "result.json")
        return made


def _launch(processes: int, words: Sequence[str], place: str) -> None:
    """Both launchers end in torchrun's agent, which runs in this process; only the main worker's output is seen."""
    import torch

    unseen = ",".join(f"{rank}:3" for rank in range(1, processes))
    if not torch.cuda.is_available():
        torchrun: Any = importlib.import_module("torch.distributed.run")
        options = ["--standalone", "--nproc-per-node", str(processes), "--redirects", unseen, "--log-dir", place]
        torchrun.run(torchrun.parse_args([*options, "-m", "builder.cli", *words]))
        return
    if torch.cuda.device_count() < processes:
        raise WimError(
            f"train.launch.processes is {processes}, but the GPUs of this machine are {torch.cuda.device_count()}"
        )
    from accelerate.commands import launch as accelerate

    options = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    options += ["--gpu_ids", "all", "--mixed_precision", "no", "--dynamo_backend", "no", "--log_dir", place]
    arguments = accelerate.launch_command_parser().parse_args([*options, "-m", "builder.cli", *words])
    arguments.redirects = unseen  # torchrun's, which accelerate has no option for, but hands on
    accelerate.launch_command(arguments)


@contextlib.contextmanager
def _environment(processes: int, place: str) -> Iterator[None]:
    """The workers' environment: they import what this process imports, and share the cores."""
    from accelerate.utils import patch_environment

    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    cores = max(1, len(os.sched_getaffinity(0)) // processes)
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    ours = {PLACE: place, PARENT: str(os.getpid()), "OMP_NUM_THREADS": threads}
    with patch_environment(PYTHONPATH=os.pathsep.join(paths), **ours):
        yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """torchrun's agent puts its own handlers in the place of ours, and leaves them there."""
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What went wrong is told once, and by us."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _cause(place: Path, failed: dict[int, int]) -> WimError:
    """Why it ended: the first error known to us, or else a process that was killed, or else the first error.

    ``failed`` holds exit codes by rank. A worker that is gone makes the others fail, so theirs are not the cause.
    """
    reports = sorted((tables.read_json(file) for file in place.glob("error-*.json")), key=lambda r: float(r["time"]))
    known = [report for report in reports if report["known"]]
    killed = {rank: signal.Signals(-code).name for rank, code in failed.items() if code < 0}
    if killed and not known:
        rank, name = next(iter(killed.items()))
        return WimError(f"process {rank + 1} of the training was ended by {name}")
    if reports:
        return _told((known or reports)[0])
    rank, code = next(iter(failed.items()))
    return WimError(f"process {rank + 1} of the training ended with exit code {code}{_last_words(place, rank)}")


def _told(report: dict[str, Any]) -> WimError:
    error = WimError(report["line"])
    error.__cause__ = _WorkerTrace(report["trace"])
    return error


def _last_words(place: Path, rank: int) -> str:
    """The last line that a worker wrote where nobody sees it."""
    for file in place.glob(f"*/attempt_0/{rank}/stderr.log"):
        lines = file.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
    return ""
