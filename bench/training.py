"""A training step of ours against one of a stock TRL script, and what working out the reference beforehand costs.

    python -m bench.training [--steps 40] [--pairs 160] [--reference previous] [--json]

Both train a later round on the demo's model with the same settings; the stock script asks the reference at every step.
"""

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Semaphore
from typing import TYPE_CHECKING, Any

from bench.figures import Figure, Measured
from bench.harness import ROOT, Setup, empty_folder, python, run

if TYPE_CHECKING:
    import polars as pl

STEPS, SMALL = 40, 8
WARM = 2
"""Steps at the beginning that are not counted."""
SAME = 1e-5


def measure(setup: Setup) -> Measured:
    steps = SMALL if setup.small else STEPS
    with empty_folder(setup) as folder:
        cost = run(python("bench.training", "--json", "--steps", steps, "--pairs", 4 * steps), folder)
    said = cost.said()
    figures = [
        Figure("steps/s over stock TRL", said["ratio"], guarded=True),
        Figure("largest difference of two losses", said["apart"], "", at_most=SAME),
        Figure("steps until the reference worked out beforehand is made good", said["made_good"], "steps"),
    ]
    told = {"ms/step": round(said["ours_ms"], 1), "ms/step, stock TRL": round(said["stock_ms"], 1)}
    return Measured(figures, {"steps": steps, "pairs": 4 * steps, "of a batch": 8} | told, {"both": [cost]})


def sample(count: int) -> "pl.DataFrame":
    """Pairs of completions that differ in length."""
    import polars as pl

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


def ours(pairs: "pl.DataFrame", start: Any, params: Any) -> tuple[Any, float]:
    """A trainer as `wim train dpo` makes it, and the seconds that the reference took."""
    from train import dpo
    from train.preferences.trainer import assemble

    trainer = assemble(pairs, start, params, Path("work"), Path("run"))
    began = time.perf_counter()
    dpo.prepare(trainer, pairs, start, params)
    return trainer, time.perf_counter() - began


def stock(pairs: "pl.DataFrame", start: Any, params: Any) -> Any:
    """A trainer as TRL's documentation makes it: the reference runs at every step."""
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from builder.language import models

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


def side_by_side(trainers: list[Any]) -> list[list[float]]:
    """Train all, their steps by turns, so that a load on the machine meets each alike; the seconds of each step."""
    from transformers import TrainerCallback

    class Turn(TrainerCallback):  # type: ignore[misc]
        """A turn lasts from the beginning of a step to that of the next."""

        def __init__(self, mine: Semaphore, following: Semaphore) -> None:
            self.mine, self.following = mine, following
            self.began = 0.0
            self.steps: list[float] = []

        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            del arguments, options
            self._hand_on()
            self.mine.acquire()
            self.began = time.perf_counter()

        def on_train_end(self, *arguments: Any, **options: Any) -> None:
            del arguments, options
            self._hand_on()

        def _hand_on(self) -> None:
            if self.began:
                self.steps.append(time.perf_counter() - self.began)
                self.following.release()

    free = [Semaphore(int(i == 0)) for i in range(len(trainers))]
    turns = [Turn(mine, free[(i + 1) % len(free)]) for i, mine in enumerate(free)]
    with ThreadPoolExecutor() as threads:
        for trainer, turn in zip(trainers, turns, strict=True):
            trainer.add_callback(turn)
        list(threads.map(lambda trainer: trainer.train(), trainers))
    return [turn.steps[WARM:] for turn in turns]


def compare(pairs: "pl.DataFrame", start: Any, params: Any) -> dict[str, float]:
    """The ratio of step times, the largest difference of losses, and the cost beforehand in seconds and in steps."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:  # nothing is kept there from another time
        os.chdir(folder)
        trainer, cost = ours(pairs, start, params)
        theirs = stock(pairs, start, params)
        steps = side_by_side([trainer, theirs])
        os.chdir(here)
    mine, stocks = (median(of) for of in steps)
    ratio = median(b / a for a, b in zip(*steps, strict=True))
    apart = max(abs(a - b) for a, b in zip(losses(trainer), losses(theirs), strict=True))
    found = {"ratio": ratio, "apart": apart, "ours_ms": 1000 * mine, "stock_ms": 1000 * stocks}
    return found | {"reference_s": cost, "made_good": cost / (stocks - mine)}


def text(found: dict[str, float], steps: int, pairs: int) -> str:
    lines = [
        f"step: {found['ours_ms']:.1f} ms, stock {found['stock_ms']:.1f} ms: {found['ratio']:.2f} times as fast",
        f"losses of {steps} steps: at most {found['apart']:.1e} apart (wanted: below {SAME:.0e})",
        f"reference of {pairs:,} pairs beforehand: {found['reference_s']:.2f} s, "
        f"made good by {found['made_good']:.0f} steps",
    ]
    return "\n".join(lines)


def first_round(pairs: "pl.DataFrame", params: Any, folder: Path) -> Any:
    """A policy that a round has trained, to start from."""
    from builder.language import policy
    from builder.language.policy import Policy
    from train import adapter

    base, here = policy.base(params.model), Path.cwd()
    os.chdir(folder)
    trainer, _ = ours(pairs, base, params)
    trainer.train()
    adapter.save(trainer, folder, base)
    os.chdir(here)
    return Policy(base.model, base.revision, folder / "policy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=160)
    parser.add_argument("--reference", choices=["previous", "base"], default="previous")
    arguments = parser.parse_args()
    from builder import params

    sets = ["batch=8", "device_batch=8", "learning_rate=1e-3", f"max_steps={arguments.steps}", "save_steps=1000000"]
    sets += [f"reference={arguments.reference}"]
    model = f"model.name={ROOT / 'data/demo/model'}"
    given = params.load(None, [model, *(f"train.{setting}" for setting in sets)])
    pairs = sample(arguments.pairs)
    with tempfile.TemporaryDirectory() as folder:
        start = first_round(pairs, given, Path(folder))
        found = compare(pairs, start, given)
    print(json.dumps(found) if arguments.json else text(found, arguments.steps, arguments.pairs))


if __name__ == "__main__":
    main()
