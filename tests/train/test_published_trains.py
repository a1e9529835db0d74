"""A published folder goes into TRL's trainers as `datasets` loads it: one step of each on the demo model."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wim = Callable[..., int]
TEXTS = ("It is grey.", "It is grey and lives in the water.", "It has four legs.")
THINGS = "violin glacier submarine bakery orchard volcano".split()


@pytest.fixture
def loaded(wim: Wim, write_jsonl: Any, tmp_path: Path) -> Callable[[str], Any]:
    """The dataset of six pairs under a schema."""
    import datasets

    def load(schema: str) -> Any:
        records = [
            {
                "prompt": f"Describe the {thing}.",
                "completion": text,
                "feedback": f"leaves out its size {j}",
                "rating": 5,
            }
            for thing in THINGS
            for j, text in enumerate(TEXTS)
        ]
        assert wim("build", write_jsonl(records), "--out", "run") == 0
        assert wim("publish", "run", "--out", "dataset", "--schema", schema, "--set", "publish.test=0") == 0
        return datasets.load_dataset("dataset", split="train", cache_dir=str(tmp_path / "cache"))

    return load


def one_step(kind: str, data: Any, head: str = "CausalLM") -> Any:
    """The trainer after its first step."""
    import transformers
    import trl

    from builder.language.models import resolve

    name = resolve("data/demo/model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    labels = {"num_labels": 1} if head == "SequenceClassification" else {}
    model = getattr(transformers, f"AutoModelFor{head}").from_pretrained(name, **labels)
    model.config.pad_token_id = tokenizer.pad_token_id
    config = getattr(trl, f"{kind}Config")(
        output_dir="out", max_steps=1, use_cpu=True, bf16=False, report_to="none", per_device_train_batch_size=4,
        save_strategy="no",
    )  # fmt: skip
    trainer = getattr(trl, f"{kind}Trainer")(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    trainer.loss = trainer.train().training_loss
    return trainer


def test_preference_goes_into_dpo(loaded: Callable[[str], Any]) -> None:
    trainer = one_step("DPO", loaded("preference"))
    assert len(trainer.train_dataset) == 6
    assert trainer.loss == pytest.approx(math.log(2), abs=1e-2)


def test_preference_goes_into_a_reward_model(loaded: Callable[[str], Any]) -> None:
    trainer = one_step("Reward", loaded("preference"), "SequenceClassification")
    assert len(trainer.train_dataset) == 6
    assert 0 < trainer.loss < 5


def test_unpaired_goes_into_kto(loaded: Callable[[str], Any]) -> None:
    data = loaded("unpaired")
    trainer = one_step("KTO", data)
    assert (len(trainer.train_dataset), sum(data["label"])) == (12, 6)
    assert trainer.loss == pytest.approx(0.5, abs=1e-2)


def test_ultrafeedback_binarized_goes_into_dpo_as_its_card_says(loaded: Callable[[str], Any]) -> None:
    data = loaded("ultrafeedback_binarized")
    assert 'load_dataset("FOLDER").remove_columns("prompt")' in Path("dataset/README.md").read_text()
    trainer = one_step("DPO", data.remove_columns("prompt"))
    prompt, answer = (
        trainer.processing_class.decode(trainer.train_dataset[0][f"{name}_ids"]) for name in ("prompt", "chosen")
    )
    assert "Describe the " in prompt
    assert answer.startswith("It ")
    assert trainer.loss == pytest.approx(math.log(2), abs=1e-2)
