"""A training step of ours against one of a stock TRL script, and what working out the reference beforehand costs.

    python bench/training.py [--steps 20] [--repeat 3] [--pairs 160] [--reference previous]

Both train a later round on the demo's model with the same settings; the stock script asks the reference at every step.
They take turns in one process, so that a load on the machine meets both; times are medians over the steps.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

ROOT = Path(__file__).parents[1]
WARM = 2
"""Steps at the beginning that are not counted."""


def sample(count: int) -> pl.DataFrame:
    """Pairs of completions that differ in length."""
    facts = ["It is grey.", "It lives in the water.", "It has four legs.", "It eats plants.", "It is hunted."]

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = [
        {"pair_id": f"{i:016d}", "prompt_id": f"{i:016d}", "prompt": turn("user", f"Describe thing number {i}.")}
        | {"chosen": turn("assistant", " ".join(facts[i % 3 :] * 3)), "rejected": turn("assistant", facts[i % 5])}
        | {"delta": (i % 7) / 7}
        for i in range(count)
    ]
    return pl.DataFrame(rows)


def ours(pairs: pl.DataFrame, start: Any, params: Any) -> tuple[Any, float]:
    """A trainer as `wim train dpo` makes it, and the seconds that the reference took."""
    from train import dpo

    trainer = dpo.assemble(pairs, start, params, Path("work"), Path("run"))
    began = time.perf_counter()
    dpo.prepare(trainer, pairs, start, params)
    return trainer, time.perf_counter() - began


def stock(pairs: pl.DataFrame, start: Any, params: Any) -> Any:
    """A trainer as TRL's documentation makes it: the reference runs at every step."""
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from builder import models

    settings = params.train

    class Cut(DataCollatorForPreference):  # type: ignore[misc]
        def torch_call(self, examples: list[dict[str, Any]]) -> Any:
            sides = ("chosen_ids", "rejected_ids")
            return super().torch_call([e | {s: e[s][: settings.max_completion] for s in sides} for e in examples])

    tokenizer, model = models.load(start.model, start.revision, "float32")
    targets = list(settings.lora.targets)
    shape = LoraConfig(r=16, lora_alpha=16, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
    base = models.load(start.model, start.revision, "float32")[1] if start.adapter else None
    trainer = DPOTrainer(
        model=PeftModel.from_pretrained(model, str(start.adapter), is_trainable=True) if start.adapter else model,
        ref_model=base if settings.reference == "base" else None,
        args=DPOConfig(
            output_dir="stock",
            loss_type=[settings.loss],
            label_smoothing=settings.label_smoothing,
            beta=settings.beta,
            learning_rate=settings.learning_rate,
            max_steps=settings.max_steps,
            per_device_train_batch_size=settings.device_batch,
            gradient_accumulation_steps=settings.batch // settings.device_batch,
            logging_steps=1,
            save_strategy="no",
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            seed=params.seed,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset(pairs.select("prompt", "chosen", "rejected").to_arrow()),
        processing_class=tokenizer,
        peft_config=None if start.adapter else shape,
        data_collator=Cut(pad_token_id=tokenizer.pad_token_id),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def losses(trainer: Any) -> list[float]:
    """The loss of every step."""
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def timed(trainer: Any) -> float:
    """Train; the median seconds of a step."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.steps: list[float] = []

        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            del arguments, options
            self.began = time.perf_counter()

        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            del arguments, options
            self.steps.append(time.perf_counter() - self.began)

    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return median(clock.steps[WARM:])


def compare(pairs: pl.DataFrame, start: Any, params: Any, repeat: int) -> None:
    """Prints the ratio of step times, the largest difference of losses, and the cost beforehand in steps."""
    ratios = []
    for _ in range(repeat):
        theirs = stock(pairs, start, params)
        with tempfile.TemporaryDirectory() as folder:  # nothing is kept from the turn before
            os.chdir(folder)
            trainer, cost = ours(pairs, start, params)
            step = timed(trainer)
        os.chdir(ROOT)
        stock_step = timed(theirs)
        ratios.append(stock_step / step)
        apart = max(abs(a - b) for a, b in zip(losses(trainer), losses(theirs), strict=True))
        print(
            f"step {1000 * step:.1f} ms, stock {1000 * stock_step:.1f} ms: {ratios[-1]:.2f} times as fast; "
            f"losses at most {apart:.1e} apart; reference of {len(pairs):,} pairs {cost:.2f} s, "
            f"as much as {cost / max(stock_step - step, 1e-9):.0f} steps save"
        )
    print(f"{median(ratios):.2f} times as fast (median of {repeat})")


def first_round(pairs: pl.DataFrame, params: Any, folder: Path) -> Any:
    """A policy that a round has trained, to start from."""
    from builder import policy
    from builder.policy import Policy
    from train import dpo

    base = policy.base(params.model)
    os.chdir(folder)
    trainer, _ = ours(pairs, base, params)
    trainer.train()
    dpo.save(trainer, folder, base)
    os.chdir(ROOT)
    return Policy(base.model, base.revision, folder / "policy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=160)
    parser.add_argument("--reference", choices=["previous", "base"], default="previous")
    arguments = parser.parse_args()
    from builder import params

    sets = ["batch=8", "device_batch=8", "learning_rate=1e-3", f"max_steps={arguments.steps}", "save_steps=1000000"]
    sets += [f"reference={arguments.reference}"]
    given = params.load(None, [f"train.{setting}" for setting in sets])
    pairs = sample(arguments.pairs)
    with tempfile.TemporaryDirectory() as folder:
        start = first_round(pairs, given, Path(folder))
        compare(pairs, start, given, arguments.repeat)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
