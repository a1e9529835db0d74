"""TRL's DPOTrainer as the parameters ask for it: model and adapter, configuration, progress."""

import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

from builder import models
from builder.params import Params
from builder.policy import Policy
from train import collator, launch, machine, offset, throughput, weight


def assemble(pairs: pl.DataFrame, start: Policy, params: Params, work: Path, folder: Path) -> Any:
    """A trainer that has tokenized ``pairs``. Raises WimError for what this machine or TRL cannot do."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    machine.check(params.train)
    with models.lean():
        from datasets import Dataset, disable_progress_bars
        from transformers import PrinterCallback, set_seed
        from trl import DPOTrainer

    if not sys.stderr.isatty():
        disable_progress_bars()
    set_seed(params.seed)
    tokenizer, model, adapter = _models(start, params)
    trainer = weight.extended(offset.extended(DPOTrainer, params.train), params.train)(
        model=model,
        args=_config(params, work),
        train_dataset=Dataset(pairs.select("prompt", "chosen", "rejected").to_arrow()),
        processing_class=tokenizer,
        peft_config=adapter,
        data_collator=collator.made(tokenizer),
        callbacks=[_progress(), throughput.callback(), *_boards(folder, params)],
    )
    launch.check(trainer, params.train)
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, where results go
    return trainer


def _config(params: Params, work: Path) -> Any:
    """TRL's configuration. Nothing is cut or dropped by TRL (max_length): checks.py does it, and counts."""
    import torch
    from trl import DPOConfig

    settings = params.train
    device_batch, parts = launch.share(settings)
    cuda = torch.cuda.is_available()
    return DPOConfig(
        output_dir=str(work),
        loss_type=[settings.loss],
        label_smoothing=settings.label_smoothing,
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=parts,
        ddp_timeout=launch.PATIENCE,
        ddp_find_unused_parameters=False,  # each weight of the adapter is used in every pass
        train_sampling_strategy="random" if settings.order == "random" else "sequential",
        remove_unused_columns=False,  # TRL would remove the columns of offsets and weights
        disable_dropout=settings.lora.dropout == 0,  # TRL would set the dropout asked for to 0, without a word
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
        **({"optim": "adamw_bnb_8bit"} if settings.optimizer == "adamw_8bit" else {}),
    )


def _boards(folder: Path, params: Params) -> list[Any]:
    return [machine.tensorboard(folder)] if params.train.tensorboard and launch.is_main() else []


def _models(start: Policy, params: Params) -> tuple[Any, Any, Any]:
    """Tokenizer, model, and the new adapter's shape (None: the adapter of ``start`` is trained on)."""
    from peft import LoraConfig, PeftModel

    # A model stored in 16 bits is trained in float32 unless bf16 is asked for.
    tokenizer, model = models.load(start.model, start.revision, "bfloat16" if params.train.bf16 else "float32")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.set_attn_implementation(params.train.attention)
    if start.adapter:
        return tokenizer, PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True), None
    lora = params.train.lora
    shape = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias="none",
        target_modules=list(lora.targets), task_type="CAUSAL_LM",
    )  # fmt: skip
    return tokenizer, model, shape


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
