"""What training needs of the machine and of packages that are not always installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from builder.errors import WimError
from builder.params import Train


def check(settings: Train) -> None:
    """Raises WimError, with what to do, where something is missing that ``settings`` ask for."""
    import torch

    cuda = torch.cuda.is_available()
    if settings.attention == "flash_attention_2":
        if not cuda:
            raise WimError("train.attention: flash_attention_2 needs a GPU and there is none here; take sdpa or eager")
        _require("flash_attn", "train.attention: flash_attention_2", "flash-attn --no-build-isolation")
    if settings.bf16 and cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise WimError("train.bf16: this GPU does not compute in bfloat16; leave it false (float32)")
    if settings.optimizer == "adamw_8bit":
        _require("bitsandbytes", "train.optimizer: adamw_8bit", "bitsandbytes")
    if settings.tensorboard:
        _require("tensorboard", "train.tensorboard", "tensorboard")


def _require(module: str, setting: str, package: str) -> None:
    if find_spec(module) is None:
        raise WimError(f"{setting} needs a package that is not installed: pip install {package}")


def tensorboard(folder: Path) -> Any:
    """A callback that writes what is logged to RUN/tensorboard as well; times stand there, so it is no result."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(log_dir=str(folder / "tensorboard")))
