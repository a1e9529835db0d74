"""Processes side by side: each way of doing a thing is a process of its own, and the ways take turns.

This process imports nothing large: what it holds would count as the least that a child has held.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]


class BenchError(Exception):
    """A program that is measured failed, or two that should agree do not."""


@dataclass(frozen=True)
class Setup:
    """``rows`` of the tables; ``repeat``: how often each way is measured; ``work``: where data and venvs are made."""

    work: Path
    small: bool = False
    rows: int = 1_000_000
    repeat: int = 3


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and of computing (all cores, children included), MiB of the largest process (VmHWM)."""

    wall: float
    cpu: float
    peak: float
    output: str = ""

    def said(self) -> dict[str, Any]:
        """The JSON object in the last line that the program has printed."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


def run(command: Sequence[object], folder: Path, **environment: str) -> Cost:
    """What the command costs, run in ``folder``. It ends when this process is stopped.

    Raises BenchError with the last lines it printed if it fails.
    """
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=errors,
            process_group=0,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        output = told.read()
        if process.returncode:
            errors.seek(0)
            last = "\n".join((output + errors.read()).splitlines()[-12:])
            raise BenchError(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{last}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def _environment() -> dict[str, str]:
    """As a user has it: compiled modules are kept, and nothing is fetched."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = f"{Path(sys.executable).parent}:{ours['PATH']}"
    fixed = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT), "PATH": path}
    return ours | fixed


def python(module: str, *arguments: object) -> list[object]:
    """The command that runs a module of this project."""
    return [sys.executable, "-m", module, *arguments]


def wim(*arguments: object) -> list[object]:
    """The command `wim ARGUMENTS`."""
    return python("builder.cli", *arguments)


@contextmanager
def empty_folder(setup: Setup) -> Iterator[Path]:
    """A folder on the disk on which the data is; it goes when the block ends."""
    setup.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=setup.work, prefix="try-") as name:
        yield Path(name)


def made(setup: Setup, kind: str, count: int) -> Path:
    """The folder with data of this kind (bench/data.py); made if it is not there."""
    folder = setup.work / f"{kind}-{count}"
    if not folder.is_dir():
        making = setup.work / f"{folder.name}.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        run(python("bench.data", kind, making, count), making)
        making.rename(folder)
    return folder


def turns(ways: Mapping[str, Callable[[], Cost]], repeat: int) -> dict[str, list[Cost]]:
    """The costs of each way, ``repeat`` times, one after the other, so that a load on the machine meets all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            costs[name].append(way())
    return costs


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios turn by turn."""
    return median(a / b for a, b in zip(over, under, strict=True))


def walls(costs: Sequence[Cost]) -> list[float]:
    return [cost.wall for cost in costs]


def cpus(costs: Sequence[Cost]) -> list[float]:
    return [cost.cpu for cost in costs]
