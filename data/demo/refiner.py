"""Makes the demo's refiner: a LoRA adapter with which the demo model rewrites an answer as it is told.

The model itself answers and judges, and never saw the words of ``builder.rewrite``: asked by them, it repeats itself.
This adapter is taught to, on answers about all animals, which the model knows. What is named as missing is added, often
less than all that is, and nothing else, so that a rewriting shows what the judge said.

    python data/demo/refiner.py [--steps N] [--out DIR] [--check FILE]
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # a script, run from anywhere

import build  # noqa: E402
import world  # noqa: E402

from builder import rewrite, tables  # noqa: E402
from builder.language import policy  # noqa: E402
from builder.params import Lora  # noqa: E402

SEED = 13
STEPS = 700
BATCH = 32
LEARNING_RATE = 4e-3
RANK, ALPHA = 16, 32


def conversation(random: Random, animals: list[world.Animal]) -> build.Conversation:
    """A request, an answer, what is missing in it or a part of that, and the answer with that part."""
    animal, article = random.choice(animals), random.choice(["The", "A"])
    told = random.sample(list(world.ATTRIBUTES), random.randint(1, len(world.ATTRIBUTES) - 1))
    missing = [key for key in world.ATTRIBUTES if key not in told]
    if random.random() < 0.5:
        missing = sorted(random.sample(missing, random.randint(1, len(missing))), key=list(world.ATTRIBUTES).index)
    named = world.feedback([key for key in world.ATTRIBUTES if key not in missing])
    asked = rewrite.messages(
        [{"role": "user", "content": world.prompt(animal)}], world.completion(animal, told, article), named
    )
    return asked, world.completion(animal, told + missing, article)


def train(steps: int) -> Any:
    """The model with its adapter after ``steps`` steps of the full schedule of STEPS, in float32."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(HERE / "model")
    base = AutoModelForCausalLM.from_pretrained(HERE / "model", dtype=torch.float32)
    shape = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(Lora().targets), task_type="CAUSAL_LM")
    model: Any = get_peft_model(base, shape)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 20, 1 - step / STEPS))
    random, animals = Random(SEED), world.animals()
    for step in range(steps):
        ids, labels = build.batch(tokenizer, [conversation(random, animals) for _ in range(BATCH)])
        value = build.loss(base, ids, labels)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step + 1}/{steps}  loss {value.item():.4f}", file=sys.stderr)
    return model.eval()


def save(model: Any, out: Path) -> None:
    """A policy folder, its adapter stored in 16 bits."""
    making = out.with_name(f".{out.name}.tmp")
    model.half().save_pretrained(str(making), safe_serialization=True)
    (making / "README.md").unlink(missing_ok=True)
    config = tables.read_json(making / "adapter_config.json")
    config |= {name: sorted(value) for name, value in config.items() if isinstance(value, list)}
    config["base_model_name_or_path"] = "data/demo/model"
    tables.write_json(making / "adapter_config.json", dict(sorted(config.items())))
    policy.write(making, policy.Policy("data/demo/model", None, making))
    shutil.rmtree(out, ignore_errors=True)
    making.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=HERE / "refiner")
    parser.add_argument("--check", type=Path, help="also write the first values of every tensor, in float32, as JSON")
    options = parser.parse_args()
    model = train(options.steps)
    if options.check:
        trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        values = {name: tensor.flatten()[:4].tolist() for name, tensor in trained.items()}
        options.check.write_text(json.dumps(values, indent=1) + "\n")
    save(model, options.out)


if __name__ == "__main__":
    main()
