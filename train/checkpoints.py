"""Where a training works, so that it can be killed and goes on."""

import shutil
import sys
from pathlib import Path

WORK = Path(".wim/train")
STATE = "trainer_state.json"


def last(work: Path, processes: int = 1) -> Path | None:
    """The last whole checkpoint; what was killed while it was being saved is removed.

    Each process saves the state of its random numbers, in no order with STATE, the main one's last file.
    """
    found = sorted(work.glob("checkpoint-*"), key=step, reverse=True)
    for checkpoint in found:
        if (checkpoint / STATE).is_file() and len(list(checkpoint.glob("rng_state*"))) >= processes:
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def step(checkpoint: Path) -> int:
    """How many optimiser steps were done when it was saved."""
    return int(checkpoint.name.rpartition("-")[2])


def tell(checkpoint: Path) -> None:
    """The line on stderr that says where a killed run goes on."""
    print(f"resumed from step {step(checkpoint)}", file=sys.stderr)
