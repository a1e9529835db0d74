"""train dpo: pairs -> RUN/policy and RUN/training.parquet, by TRL's DPOTrainer and a LoRA adapter.

Round k trains on from round k - 1's adapter. The reference model is the policy that training starts
from (``previous``) or the base model (``base``). Traps of TRL 1.16 that are seen to here: prompts
are never dropped in silence, the 256-token cut is made in the collator, a checkpoint's copy of the
reference adapter is removed since resuming would load it in place of the policy's.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import control, models, policy, rows, tables
from builder.blocks import as_dict
from builder.errors import TableError, WimError
from builder.ids import file_sha256, fingerprint
from builder.params import Params, Train
from builder.policy import Policy

WORK = Path(".wim/train")
COLUMNS = ["pair_id", "prompt_id", "prompt", "chosen", "rejected"]


@dataclass(frozen=True)
class Made:
    """Pairs trained on and how many of them hold control strings, pairs without a prompt's text, the loss's course."""

    pairs: int
    escaped: int
    unprompted: int
    steps: int
    first_loss: float
    last_loss: float


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Train on RUN/pairs.parquet from the policy in ``policy_folder`` (default: the base model).

    Raises TableError if no pair can be trained on. A run that was killed goes on from its last checkpoint.
    """
    start = policy.read(policy_folder, params.model)
    pairs, unprompted = trainable(tables.read(tables.find(folder, "pairs"), "pairs", COLUMNS), folder)
    pairs, escaped = without_control_strings(pairs)
    work = WORK / _fingerprint(folder, start, params)
    settings = {"train": as_dict(params.train), "seed": params.seed}
    about = tables.metadata("train dpo", settings, {"pairs": tables.find(folder, "pairs")}, start=start.about())
    with rows.lock(work):
        metrics = _train(pairs, start, params, work, folder)
        tables.write(tables.path(folder, "training"), "training", metrics, about)
        shutil.rmtree(work)  # last: until all is written, a kill must find its checkpoints
    losses = metrics.filter(pl.col("name") == "loss").sort("step")["value"]
    return Made(len(pairs), escaped, unprompted, len(losses), float(losses[0]), float(losses[-1]))


def _train(pairs: pl.DataFrame, start: Policy, params: Params, work: Path, folder: Path) -> pl.DataFrame:
    """Train, save RUN/policy, and give the training table."""
    try:
        trainer = _trainer(pairs, start, params, work)
    except ValueError as error:
        raise WimError(f"train: {tables.first_line(error)}") from error
    checkpoint = last_checkpoint(work)
    if checkpoint:
        print(f"resumed from step {checkpoint.name.rpartition('-')[2]}", file=sys.stderr)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _save(trainer, folder, start)
    return _metrics(trainer.state.log_history)


def trainable(pairs: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, int]:
    """Pairs with the text of their prompt, and how many have none. Raises TableError if none is left."""
    prompted = pairs.filter(pl.col("prompt").list.len() > 0)
    missing = len(pairs) - len(prompted)
    told = f"{missing:,} of {len(pairs):,} pairs hold no prompt text (only its id), so no model can be trained on them"
    if prompted.is_empty():
        raise TableError(f"{folder}: {told if missing else 'there is no pair to train on; see `wim stats`'}")
    if missing:
        print(f"left out: {told}", file=sys.stderr)
    return prompted, missing


def without_control_strings(pairs: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Pairs whose text cannot end a turn of the chat template, and how many had to be escaped for that.

    TRL tokenizes a conversation as one text, so a control string in it would become a control token. Those
    that a model writes itself around its thoughts (``<think>``) are counted, and stay what is learned.
    """
    count = control.count(pairs)
    if not count:
        return pairs, 0
    print(f"{count:,} of {len(pairs):,} pairs hold control strings of chat templates: escaped", file=sys.stderr)
    turns = {
        name: [
            [turn | {"content": control.escape(turn["content"], thoughts)[0]} for turn in turns]
            for turns in pairs[name]
        ]
        for name, thoughts in (("prompt", True), ("chosen", False), ("rejected", False))
    }
    return pairs.with_columns(pl.Series(name, column, pairs.schema[name]) for name, column in turns.items()), count


def last_checkpoint(work: Path) -> Path | None:
    """The last whole checkpoint, without the reference adapter's folder that would be loaded in the policy's place."""
    found = sorted(work.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        if (checkpoint / "trainer_state.json").is_file():
            shutil.rmtree(checkpoint / "ref", ignore_errors=True)
            return checkpoint
        shutil.rmtree(checkpoint)  # killed while it was being saved
    return None


def _fingerprint(folder: Path, start: Policy, params: Params) -> str:
    pairs = file_sha256(tables.find(folder, "pairs"))
    train = {k: v for k, v in as_dict(params.train).items() if k != "save_steps"}
    return fingerprint({"pairs": pairs, "start": start.hash(), "train": train, "seed": params.seed})


def _trainer(pairs: pl.DataFrame, start: Policy, params: Params, work: Path) -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with models.lean():
        from datasets import Dataset
        from transformers import PrinterCallback, set_seed
        from trl import DPOTrainer

    set_seed(params.seed)
    tokenizer, model, reference, adapter = _models(start, params)
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=_config(params, work),
        train_dataset=Dataset(pairs.select("prompt", "chosen", "rejected").to_arrow()),
        processing_class=tokenizer,
        peft_config=adapter,
        data_collator=_collator(tokenizer, params.train),
        callbacks=[_progress()],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, where results go
    return trainer


def _config(params: Params, work: Path) -> Any:
    """TRL's configuration. Raises WimError for a loss that TRL does not know."""
    import torch
    from trl import DPOConfig

    settings = params.train
    device_batch = min(settings.device_batch, settings.batch)
    if settings.batch % device_batch:
        raise WimError(f"train.batch ({settings.batch}) must be a multiple of train.device_batch ({device_batch})")
    cuda = torch.cuda.is_available()
    return DPOConfig(
        output_dir=str(work),
        loss_type=[settings.loss],
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=settings.batch // device_batch,
        save_steps=settings.save_steps,
        save_total_limit=1,
        logging_steps=1,
        max_length=None,
        bf16=settings.bf16,
        gradient_checkpointing=cuda,
        use_cpu=not cuda,
        seed=params.seed,
        report_to="none",
        disable_tqdm=True,
    )


def _models(start: Policy, params: Params) -> tuple[Any, Any, Any, Any]:
    """Tokenizer, model, reference (None: the adapter's own start) and the new adapter's shape (None: train on)."""
    from peft import LoraConfig, PeftModel

    # A model stored in 16 bits is trained in float32 unless bf16 is asked for.
    dtype = "bfloat16" if params.train.bf16 else "float32"
    tokenizer, model = models.load(start.model, start.revision, dtype)
    if start.adapter is None:
        lora = params.train.lora
        shape = LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias="none",
            target_modules=list(lora.targets), task_type="CAUSAL_LM",
        )  # fmt: skip
        return tokenizer, model, None, shape
    reference = models.load(start.model, start.revision, dtype)[1] if params.train.reference == "base" else None
    return tokenizer, PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True), reference, None


def _collator(tokenizer: Any, settings: Train) -> Any:
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    class Cut(DataCollatorForPreference):  # type: ignore[misc]
        """The first ``max_completion`` tokens of each completion enter the loss, as in the paper."""

        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            sides = ("chosen_ids", "rejected_ids")
            cut = [e | {side: e[side][: settings.max_completion] for side in sides} for e in examples]
            return super().torch_call(cut)  # type: ignore[no-any-return]

    return Cut(pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def _progress() -> Any:
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc]
        """Steps, loss and margin on stderr."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            quiet = not sys.stderr.isatty()
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", disable=quiet)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            del args, control, kwargs
            if logs and "loss" in logs:
                self.bar.set_postfix(loss=logs["loss"], margin=logs.get("rewards/margins"), refresh=False)
                self.bar.update(state.global_step - self.bar.n)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            self.bar.close()

    return Progress()


def _metrics(history: list[dict[str, Any]]) -> pl.DataFrame:
    """The training table: what TRL logged at each step, without its closing summary, which holds times."""
    rows = [
        (entry["step"], name, float(value))
        for entry in history
        if "loss" in entry
        for name, value in sorted(entry.items())
        if name != "step"
    ]
    return pl.DataFrame(rows, schema={"step": pl.Int32, "name": pl.String, "value": pl.Float64}, orient="row")


def _save(trainer: Any, folder: Path, start: Policy) -> None:
    """RUN/policy: the adapter, its config with sorted lists (PEFT writes sets in any order), policy.json."""
    model = trainer.model
    if "ref" in model.peft_config:
        model.delete_adapter("ref")
    target, making = folder / "policy", folder / ".policy.tmp"
    for old in (target, making):
        shutil.rmtree(old, ignore_errors=True)
    model.save_pretrained(str(making), safe_serialization=True)
    (making / "README.md").unlink(missing_ok=True)
    config = tables.read_json(making / "adapter_config.json")
    config |= {name: sorted(value) for name, value in config.items() if isinstance(value, list)}
    config["base_model_name_or_path"] = start.model
    tables.write_json(making / "adapter_config.json", dict(sorted(config.items())))
    policy.write(making, Policy(start.model, start.revision, making))
    os.replace(making, target)
