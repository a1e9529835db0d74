"""train merge: base + adapter -> RUN/merged, one model that needs no PEFT to load."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from builder import tables
from builder.errors import WimError
from builder.language import models, policy
from builder.params import Params


@dataclass(frozen=True)
class Merged:
    """The folder, the weights in it (counted once where they are tied) and their type."""

    folder: str
    weights: int
    dtype: str


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Merged:
    """Write RUN/merged from the policy in ``policy_folder`` (default: RUN/policy). Raises WimError without an adapter.

    Merged and stored in float32, whatever the base model is stored in: in 16 bits the adapter's part is lost to
    rounding (differences of 1e-2 in the logits instead of 1e-6).
    """
    source = policy_folder or folder / "policy"
    start = policy.read(source, params.model)
    if start.adapter is None:
        raise WimError(f"{source}: is the base model {start.model} itself; there is no adapter to merge")
    target, making = folder / "merged", folder / ".merged.tmp"
    shutil.rmtree(making, ignore_errors=True)
    weights = _write(making, start)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(making, target)
    return Merged(str(target), weights, "float32")


def _write(folder: Path, start: policy.Policy) -> int:
    with models.lean():
        from peft import PeftModel

    tokenizer, base = models.load(start.model, start.revision, "float32")
    try:
        merged = PeftModel.from_pretrained(base, str(start.adapter)).merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError) as error:  # weights that are not finite, an adapter of another model
        raise WimError(f"{start.adapter}: cannot be merged into {start.model}: {tables.first_line(error)}") from error
    merged.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
    return sum(weight.numel() for weight in merged.parameters())
