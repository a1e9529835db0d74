"""Where a training works, so that it can be killed and goes on."""

import shutil
import sys
from pathlib import Path
from typing import Any

from builder import tables
from builder.errors import TableError
from builder.params import Train
from builder.params.blocks import as_dict

WORK = Path(".wim/train")
UNTOLD = ("save_steps", "tensorboard", "throughput")
"""Settings of ``train`` that change nothing that is learned, so that a training goes on from what it has."""
STATE = "trainer_state.json"


def told(settings: Train) -> dict[str, Any]:
    """The block ``train`` without UNTOLD."""
    return {name: value for name, value in as_dict(settings).items() if name not in UNTOLD}


def last(work: Path, processes: int = 1) -> Path | None:
    """The last whole checkpoint; what was killed while it was being saved is removed.

    Each process saves the state of its random numbers, in no order with STATE, the main one's last file.
    """
    found = sorted(work.glob("checkpoint-*"), key=step, reverse=True)
    for checkpoint in found:
        if _is_written(checkpoint / STATE) and len(list(checkpoint.glob("rng_state*"))) >= processes:
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _is_written(state: Path) -> bool:
    """To its end: transformers does not write it at once."""
    try:
        tables.read_json(state)
    except TableError:
        return False
    return True


def step(checkpoint: Path) -> int:
    """How many optimiser steps were done when it was saved."""
    return int(checkpoint.name.rpartition("-")[2])


def remember_tokens(trainer: Any, checkpoint: Path) -> None:
    """What TRL forgets: its count of tokens is no part of a checkpoint."""
    history = tables.read_json(checkpoint / STATE)["log_history"]
    trainer._total_train_tokens = history[-1]["num_tokens"]


def train(trainer: Any, checkpoint: Path | None) -> None:
    """To the end, from the checkpoint if there is one, which is then told on stderr.

    A checkpoint of the last step is not handed to transformers: within an epoch that would do a step more.
    """
    if checkpoint is None:
        trainer.train()
        return
    print(f"resumed from step {step(checkpoint)}", file=sys.stderr)
    state = tables.read_json(checkpoint / STATE)
    if state["global_step"] < state["max_steps"]:
        trainer.train(resume_from_checkpoint=str(checkpoint))
        return
    from peft import load_peft_weights, set_peft_model_state_dict
    from transformers import TrainerState

    set_peft_model_state_dict(trainer.model, load_peft_weights(str(checkpoint), device="cpu"))
    trainer.state = TrainerState.load_from_json(str(checkpoint / STATE))
