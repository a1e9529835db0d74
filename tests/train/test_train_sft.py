"""train sft: TRL's own trainer reads sft.parquet as it is; ours is resumed, and says what it leaves out."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from loop import killed
from trained import SMALL, metric, weights

from builder import tables

Wim = Callable[..., int]
STEPS = ("--set", "train.max_steps=4", "--set", "train.save_steps=1")


def make_rows(folder: Path, count: int = 16, text: str = "It is grey. It has {} legs.") -> None:
    rows = [
        {
            "row_id": f"{i:02d}",
            "prompt": [{"role": "user", "content": f"Describe the thing number {i}."}],
            "completion": [{"role": "assistant", "content": text.format(i)}],
            "prompt_id": f"p{i}", "completion_id": f"p{i}-01", "other_id": f"p{i}-00", "feedback": "Its legs.",
            "score": 0.5,
        }
        for i in range(count)
    ]  # fmt: skip
    tables.write(folder / "sft.parquet", "sft", pl.DataFrame(rows, schema=pl.Schema(tables.SCHEMAS["sft"])), {})


def test_trl_trains_on_the_table_as_it_is(wim: Wim, tmp_path: Path) -> None:
    del wim  # for its folder
    import datasets
    import transformers
    import trl

    from builder.language.models import resolve

    make_rows(Path("run"))
    name = resolve("data/demo/model")
    data = datasets.load_dataset("parquet", data_files="run/sft.parquet", split="train", cache_dir=str(tmp_path / "c"))
    args = trl.SFTConfig("out", max_steps=2, use_cpu=True, bf16=False, report_to="none", save_strategy="no")
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    model = transformers.AutoModelForCausalLM.from_pretrained(name)
    trainer = trl.SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)
    assert trainer.train().global_step == 2
    row = trainer.train_dataset[0]
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert tokenizer.decode(learned) == data[0]["completion"][0]["content"] + "<|end|>"


def test_it_learns_the_completions_and_writes_a_policy(wim: Wim) -> None:
    make_rows(Path("run"))
    assert wim("train", "sft", "run", *SMALL, "--set", "train.max_steps=12") == 0
    losses = metric(Path("run"), "loss")
    assert len(losses) == 12
    assert losses[-1] < 0.7 * losses[0]
    assert (Path("run") / "policy/policy.json").is_file()
    assert tables.read_metadata(Path("run/training.parquet"))["stage"] == "train sft"


def test_killed_and_started_again_it_ends_in_the_same_bits(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run", "other"):
        make_rows(Path(name))
    assert wim("train", "sft", "run", *SMALL, *STEPS) == 0
    killed(["train", "sft", "other", *SMALL, *STEPS])
    assert not Path("other/policy").exists()
    assert wim("train", "sft", "other", *SMALL, *STEPS) == 0
    assert "resumed from step" in capsys.readouterr().err
    ours, theirs = weights(Path("run")), weights(Path("other"))
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)
    assert Path("run/training.parquet").read_bytes() == Path("other/training.parquet").read_bytes()


def test_what_is_cut_or_escaped_is_told(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    make_rows(Path("run"), text="It is <|end|> grey. " * 20 + "{}")
    assert wim("train", "sft", "run", *SMALL, "--set", "train.max_steps=1", "--set", "train.max_completion=8") == 0
    said = capsys.readouterr().err
    assert "16 of 16 rows hold control strings of chat templates: escaped" in said
    assert "16 of 16 completions are longer than train.max_completion" in said


@pytest.mark.parametrize("setting", ["beta=0.5", "weight=delta", "reference=base", "launch.processes=2"])
def test_a_setting_without_a_meaning_is_refused(setting: str, wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    make_rows(Path("run"))
    assert wim("train", "sft", "run", "--set", f"train.{setting}") == 1
    assert f"train.{setting.split('.')[0].split('=')[0]}" in capsys.readouterr().err


def test_without_the_table_it_says_what_makes_it(wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("train", "sft", "run") == 1
    assert "run `wim sft run` first" in capsys.readouterr().err
