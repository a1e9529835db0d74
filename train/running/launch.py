"""Training in several processes: torchrun starts them on CPUs, `accelerate launch` on GPUs, one for each GPU.

The command starts itself again with the same words, ``train.launch.processes`` times; each of these workers trains on
its share of every step's pairs, and gradients are averaged (workers.py).
"""

import contextlib
import importlib
import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import WimError
from builder.params import Params
from train.running import workers

Given = tuple[Path, Params, Path | None]
"""What a method of training is called with: run folder, parameters, policy folder."""

ALONE = ("train.merge", "train.sft", "train.online", "train.grpo", "train.reward", "train.kto")
"""What one process does."""


def run(method: str, given: Given, words: Sequence[str]) -> Any:
    """Call ``method`` (train.dpo, say) here, or in as many processes as the parameters say; what it gives.

    ``words`` are those of the command line. Raises WimError, with the line of the worker that failed first.
    """

    def train() -> Any:
        return importlib.import_module(method).run(*given)

    if workers.PLACE in os.environ:
        workers.run(train, Path(os.environ[workers.PLACE]))
    settings = given[1].train
    if method in ALONE or settings.launch.processes == 1 or workers.STARTED in os.environ:
        return train()
    workers.share(settings)
    return _started(settings.launch.processes, words)


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

    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    cores = max(1, len(os.sched_getaffinity(0)) // processes)
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    ours = {workers.PLACE: place, workers.PARENT: str(os.getpid()), "OMP_NUM_THREADS": threads}
    with patch_environment(PYTHONPATH=os.pathsep.join(paths), **ours):
        yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """torchrun's agent puts its own handlers in the place of ours, and leaves them there."""
    before = {number: signal.getsignal(number) for number in workers.STOPS}
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
