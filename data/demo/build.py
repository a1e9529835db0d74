"""Makes the demo model: a Llama of about a million parameters, trained from scratch on the CPU.

It answers prompts about the animals of ``world.py``, correctly but incompletely, and it judges such
answers through the very template of ``builder.judges.wim``. Every conversation is drawn from a seeded
generator, so the same machine and number of threads make the same weights.

    python data/demo/build.py [--steps N] [--out DIR] [--check FILE]
"""

import argparse
import json
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # a script, run from anywhere

import world  # noqa: E402

from builder.judges.wim import Judge  # noqa: E402
from builder.language.chat import Message  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 11
STEPS = 600
ANSWERS, JUDGEMENTS = 64, 12  # conversations in one step
LEARNING_RATE = 4e-3
WARM_UP = 50

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
Conversation = tuple[list[Message], str]
JUDGE = Judge((1, 10))


def answer(random: Random, animals: list[world.Animal]) -> Conversation:
    """A request and an incomplete answer."""
    animal = random.choice(animals)
    text = world.completion(animal, world.choose_attributes(random), random.choice(["The", "A"]))
    return [{"role": "user", "content": world.prompt(animal)}], text


def judgement(random: Random, animals: list[world.Animal]) -> Conversation:
    """A judge's conversation over an answer of any number of facts, sometimes a flawed one.

    Sampled answers repeat themselves or mix animals up, and a policy in training does so more; the
    judge must stay readable and must not count a repetition as a new fact.
    """
    animal, other = random.choice(animals), random.choice(animals)
    told = random.sample(list(world.ATTRIBUTES), random.randint(0, len(world.ATTRIBUTES)))
    repeated = random.choices(told, k=random.choice([0, 0, 0, 0, 1, 2])) if told else []
    facts = {key: (other if random.random() < 0.1 else animal).facts[key] for key in world.ATTRIBUTES}
    said = world.completion(world.Animal(animal.name, facts), told + repeated, random.choice(["The", "A"]))
    request: Message = {"role": "user", "content": world.prompt(animal)}
    return JUDGE.messages([request], said), world.judgement(told, random.gauss(0, 0.3))


def train_tokenizer(animals: list[world.Animal]) -> "PreTrainedTokenizerFast":
    """A byte-level BPE fitted to the world and to the judge's template, so that both stay short."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    random = Random(SEED)
    texts = []
    for animal in animals:
        for messages, text in (answer(random, [animal]), judgement(random, [animal])):
            texts += [message["content"] for message in messages] + [text, world.completion(animal, list(animal.facts))]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[2:],
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(tokenizer: "PreTrainedTokenizerFast") -> "LlamaForCausalLM":
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def batch(tokenizer: "PreTrainedTokenizerFast", conversations: list[Conversation]) -> tuple["Tensor", "Tensor"]:
    """Token ids, padded on the right, and labels that hold only what the assistant says."""
    import torch

    prompts = [tokenizer.apply_chat_template(m, add_generation_prompt=True, tokenize=False) for m, _ in conversations]
    starts = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    ends = tokenizer([text + "<|end|>" for _, text in conversations], add_special_tokens=False)["input_ids"]
    width = max(len(start) + len(end) for start, end in zip(starts, ends, strict=True))
    ids = torch.full((len(starts), width), tokenizer.pad_token_id)
    labels = torch.full((len(starts), width), -100)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        ids[row, : len(start) + len(end)] = torch.tensor(start + end)
        labels[row, len(start) : len(start) + len(end)] = torch.tensor(end)
    return ids, labels


def loss(model: "LlamaForCausalLM", ids: "Tensor", labels: "Tensor") -> "Tensor":
    """Cross-entropy of the labelled tokens, each token one vote; the others' logits are not computed."""
    from torch.nn.functional import cross_entropy

    # Padding stands on the right, where a causal model does not look: no attention mask is needed.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != -100
    return cross_entropy(model.lm_head(hidden[wanted]), labels[:, 1:][wanted])


def train(steps: int) -> tuple["LlamaForCausalLM", "PreTrainedTokenizerFast"]:
    """The model after ``steps`` steps of the full schedule of STEPS, in float32."""
    import torch

    torch.use_deterministic_algorithms(True)
    animals, random = world.animals(), Random(SEED)
    tokenizer = train_tokenizer(animals)
    model = make_model(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, max(0.0, 1 - step / STEPS))
    )
    for step in range(steps):
        total = 0.0
        for draw, size in ((answer, ANSWERS), (judgement, JUDGEMENTS)):
            value = loss(model, *batch(tokenizer, [draw(random, animals) for _ in range(size)]))
            value.backward()  # type: ignore[no-untyped-call]
            total += value.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step + 1}/{steps}  loss {total:.4f}", file=sys.stderr)
    return model.eval(), tokenizer


def save(model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", out: Path) -> None:
    """Weights are stored in 16 bits; config.json asks for float32, the type that a CPU computes well in."""
    model.generation_config.do_sample = False
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    config["dtype"] = "float32"
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--check", type=Path, help="also write the first values of every tensor, in float32, as JSON")
    options = parser.parse_args()
    model, tokenizer = train(options.steps)
    if options.check:
        values = {name: tensor.flatten()[:4].tolist() for name, tensor in model.state_dict().items()}
        options.check.write_text(json.dumps(values, indent=1) + "\n")
    save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
