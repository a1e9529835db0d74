"""What the tests of learning in the loop share: a few prompts of the demo, small settings."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from trained import is_written

Wim = Callable[..., int]

TINY = (
    "online.max_tokens=40", "grpo.max_tokens=40", "judge.max_tokens=64", "grpo.generations=4", "train.batch=4",
    "train.device_batch=4", "train.learning_rate=1e-2", "train.max_steps=3", "engine.transformers.dtype=float32",
)  # fmt: skip


def sets(*settings: str) -> list[str]:
    """The tiny settings and others as words of a command line."""
    return [word for setting in (*TINY, *settings) for word in ("--set", setting)]


def make_prompts(wim: Wim, run: str, count: int = 8) -> None:
    assert wim("prompts", run, "--set", f"prompts.limit={count}") == 0


def table(run: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(run / f"{name}.parquet")


def killed_and_resumed(wim: Wim, method: str, whole: Path, *settings: str, policy: Path | None = None) -> Path:
    """Trains RUN beside ``whole`` as it was trained, is killed after its first checkpoint, and goes on."""
    run = whole.parent / "killed"
    run.mkdir()
    shutil.copy(whole / "prompts.parquet", run / "prompts.parquet")
    words = ["train", method, str(run), *sets(*settings), *(["--policy", str(policy)] if policy else [])]
    killed(words)
    assert not (run / "policy").exists()
    assert wim(*words) == 0
    return run


def killed(words: list[str]) -> None:
    """`wim WORDS` in a process of its own, until its first checkpoint is there."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-m", "builder.cli", *words], env=environment, stderr=subprocess.DEVNULL
    )
    states = Path(".wim/train").glob
    while process.poll() is None and not any(map(is_written, states("*/checkpoint-*/trainer_state.json"))):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
