"""sft: refinements to imitate, and chains of better and worse answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builder import refined, rewrite, sft, tables

Wim = Callable[..., int]
ECHO = ("--set", "engine.name=echo")
TEXTS = ("It is grey.", "It is grey and small.", "It is red, small and loud.")
PROMPTS = range(6)


@pytest.fixture
def run(wim: Wim, write_jsonl: Any) -> Path:
    """Six prompts of three completions, of which the last misses nothing, and what the echo makes of the others."""
    said = ("Its colour is missing.", "Its size is missing.", "")
    records = [
        {"prompt": f"Describe thing {i}.", "completion": text, "feedback": feedback, "rating": 4 + j}
        for i in PROMPTS
        for j, (text, feedback) in enumerate(zip(TEXTS, said, strict=True))
    ]
    assert wim("ingest", write_jsonl(records), "--out", "run") == 0
    assert wim("refine", "run", *ECHO, "--set", "refine.n=2") == 0
    for stage in ("judge", "embed", "rate", "pair"):
        assert wim(stage, "run/refined", *ECHO) == 0
    return Path("run/refined")


def learned(run: Path) -> pl.DataFrame:
    return tables.read(run / "sft.parquet", "sft")


def test_of_each_prompt_the_refinement_of_the_highest_reward_is_imitated(wim: Wim, run: Path) -> None:
    assert wim("sft", run, *ECHO) == 0
    made, origins = learned(run), refined.origins(run)
    rated = tables.read(run / "ratings.parquet", "ratings").drop_nulls("reward")
    best = rated.filter(pl.col("completion_id").is_in(list(origins))).group_by("prompt_id").agg(pl.col("reward").max())
    assert dict(made.select("prompt_id", "score").iter_rows()) == dict(best.iter_rows())
    texts = dict(pl.read_parquet(run / "completions.parquet", columns=["completion_id", "text"]).iter_rows())
    assert len(made) == len(PROMPTS)
    for row in made.iter_rows(named=True):
        origin = origins[row["completion_id"]]
        assert (row["other_id"], row["feedback"]) == (origin["refined_from"], origin["refined_feedback"])
        assert row["completion"] == [{"role": "assistant", "content": texts[row["completion_id"]]}]
        assert [turn["role"] for turn in row["prompt"]] == ["user"]


def test_or_the_one_that_is_nearest_to_the_feedback_it_takes_up(wim: Wim, run: Path) -> None:
    file = run / "completions.parquet"
    frame = tables.read(file, "completions", [*tables.SCHEMAS["completions"].names, *refined.COLUMNS])
    chosen = frame.drop_nulls("refined_from").group_by("prompt_id").agg(pl.col("completion_id").last())["completion_id"]
    near = pl.col("completion_id").is_in(chosen.implode())
    tables.write(
        file, "completions", frame.with_columns(text=pl.when(near).then("refined_feedback").otherwise("text")), {}
    )
    for stage in ("judge", "embed", "rate"):
        assert wim(stage, run, *ECHO) == 0
    assert wim("sft", run, *ECHO, "--set", "sft.by=similarity") == 0
    made = learned(run)
    assert set(made["completion_id"]) == set(chosen)
    assert made["score"].to_list() == pytest.approx([1.0] * len(made))


def test_a_chain_shows_a_better_and_a_worse_answer_in_either_order(wim: Wim, run: Path) -> None:
    assert wim("sft", run, *ECHO, "--set", "sft.form=hindsight") == 0
    made = learned(run)
    pairs = {row["pair_id"]: row for row in pl.read_parquet(run / "pairs.parquet").iter_rows(named=True)}
    orders = set()
    for pair_id, pair in pairs.items():
        first, second = made.filter(pl.col("row_id").str.starts_with(pair_id)).iter_rows(named=True)
        assert {first["completion_id"], second["completion_id"]} == {pair["chosen_id"], pair["rejected_id"]}
        assert pair["rejected_feedback"] == f"wim: {first['feedback']}"
        assert first["score"] == pair["delta"]
        better, worse = pair["chosen"][0]["content"], pair["rejected"][0]["content"]
        if first["completion_id"] == pair["chosen_id"]:
            orders.add("better first")
            assert first["prompt"] == pair["prompt"]  # asked by nothing but the prompt
            assert second["prompt"] == rewrite.worse(pair["prompt"], first["feedback"], better)
        else:
            orders.add("worse first")
            assert first["prompt"] == rewrite.worse(pair["prompt"], first["feedback"])
            assert second["prompt"] == rewrite.messages(pair["prompt"], worse, first["feedback"])
    assert len(made) == 2 * len(pairs)
    assert orders == {"better first", "worse first"}


def test_ties_that_were_kept_are_no_chain(wim: Wim, run: Path) -> None:
    gap = round(float(pl.read_parquet(run / "pairs.parquet")["delta"].sort()[2]), 9)
    tied = ("--set", f"pair.min_gap={gap}", "--set", "pair.ties=keep")
    assert wim("pair", run, *ECHO, *tied) == 0
    assert wim("sft", run, *ECHO, *tied, "--set", "sft.form=hindsight") == 0
    deltas = pl.read_parquet(run / "pairs.parquet")["delta"]
    assert 0 < len(learned(run)) == 2 * int((deltas.round(9) > gap).sum()) < 2 * len(deltas)


def test_the_parts_that_are_read_leave_no_trace(wim: Wim, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("imitation", "hindsight"):
        assert wim("sft", run, *ECHO, "--set", f"sft.form={form}") == 0
        whole = (run / "sft.parquet").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(sft.parts, "_rows", lambda _: 2)
            assert wim("sft", run, *ECHO, "--set", f"sft.form={form}") == 0
        assert (run / "sft.parquet").read_bytes() == whole


@pytest.mark.parametrize("by", ["reward", "similarity"])
def test_a_run_without_refinements_says_what_to_do(
    wim: Wim, write_jsonl: Any, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    records = [{"prompt": "Describe it.", "completion": text, "feedback": "More."} for text in TEXTS]
    assert wim("build", write_jsonl(records), "--out", "plain") == 0
    assert wim("sft", "plain", "--set", f"sft.by={by}") == 1
    assert "`wim refine` makes them" in capsys.readouterr().err


def test_a_judge_that_the_run_has_not_is_told(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("sft", run, "--set", "pair.judge=bob") == 1
    assert "pair.judge is 'bob'; there are mean, median, majority, wim" in capsys.readouterr().err


def test_it_is_published_with_the_ids_of_what_it_is_made_from(wim: Wim, run: Path) -> None:
    assert wim("sft", run, *ECHO) == 0
    assert wim("publish", run, "--out", "dataset", "--schema", "sft", "--set", "publish.test=0") == 0
    [file] = Path("dataset/data").rglob("*.parquet")
    assert pl.read_parquet(file).equals(learned(run), null_equal=True)
    card = Path("dataset/README.md").read_text()
    assert "SFTTrainer" in card
    assert "form: imitation" in card


def test_an_older_table_is_not_published(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("sft", run, *ECHO) == 0
    for stage in ("rate", "pair"):
        assert wim(stage, run, *ECHO, "--set", "rate.method=numerical", "--set", "rate.zeta=0") == 0
    assert wim("publish", run, "--out", "dataset", "--schema", "sft") == 1
    assert "run `wim sft" in capsys.readouterr().err
