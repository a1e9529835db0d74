"""What all of TRL's trainers are told alike: steps, batches, optimiser, checkpoints, precision, machine."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from builder.errors import ParamsError
from builder.language import models
from builder.params import Params, Train
from train.running import machine, workers
from train.running.progress import progress


def prepare(params: Params) -> None:
    """Before anything is loaded. Raises WimError for what this machine cannot do."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM")  # none of it is used in training
    machine.check(params.train)
    with models.lean():
        from datasets import disable_progress_bars
        from transformers import set_seed

    if not sys.stderr.isatty():
        disable_progress_bars()
    set_seed(params.seed)


def check_read(settings: Train, block: str, unread: dict[str, str]) -> None:
    """Raises ParamsError for a setting of ``train`` that is not as it is by default although ``block`` reads it not.

    ``unread``: names, each with what to do instead.
    """
    default = Train()
    for name, instead in unread.items():
        if getattr(settings, name) != getattr(default, name):
            raise ParamsError(f"train.{name}: {getattr(settings, name)!r} has no meaning for train {block}; {instead}")


def common(params: Params, work: Path) -> dict[str, Any]:
    """Arguments of TRL's configurations. Raises WimError for a batch that cannot be cut into equal parts."""
    import torch

    settings = params.train
    device_batch, parts = workers.share(settings)
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(work),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": parts,
        "ddp_timeout": workers.PATIENCE,
        "ddp_find_unused_parameters": False,  # each weight of the adapter is used in every pass
        "remove_unused_columns": False,  # TRL would remove what its loss does not read: offsets, weights, references
        "disable_dropout": settings.lora.dropout == 0,  # TRL would set the dropout asked for to 0, without a word
        "save_steps": settings.save_steps,
        "save_total_limit": 1,
        "logging_steps": 1,
        "bf16": settings.bf16,
        "gradient_checkpointing": cuda,
        "use_cpu": not cuda,
        "seed": params.seed,
        "report_to": "none",
        "disable_tqdm": True,
        **({"optim": "adamw_bnb_8bit"} if settings.optimizer == "adamw_8bit" else {}),
    }


def callbacks(params: Params, folder: Path) -> list[Any]:
    """Progress on stderr and, where it is asked for, tensorboard."""
    return [progress(), *([machine.tensorboard(folder)] if params.train.tensorboard and workers.is_main() else [])]


def quiet(trainer: Any) -> Any:
    """The trainer without the callback that prints to stdout, where results go."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer
