"""The rated completions that lists, single completions and listwise reward models are made from."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rewarded import frame

from builder import ids, params, tables
from builder.errors import TableError
from train.preferences import rated

SYSTEM = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Describe it."}]
SAID = (
    ("a", 0, "It is grey.", {"ana": 0.2, "ben": 0.4}),
    ("a", 1, "It is red.", {"ana": 0.8, "ben": None}),
    ("a", 2, "It is grey.", {"ana": 0.6, "ben": 0.6}),
    ("b", 0, "It is loud.", {"ana": 0.1, "ben": 0.3}),
    ("c", 0, "It is low.", {"ana": 0.5, "ben": 0.5}),
)
"""Prompt, index, text, each judge's reward. Of b only the id is known; c is no prompt of the table."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    prompts = [("a", SYSTEM), ("b", [])]
    made: dict[str, list[dict[str, Any]]] = {"completions": [], "ratings": []}
    made["prompts"] = [{"prompt_id": name, "messages": turns, "source": "here"} for name, turns in prompts]
    for prompt, index, text, rewards in SAID:
        own = {"completion_id": ids.completion_id(prompt, index), "prompt_id": prompt}
        made["completions"].append(own | {"index": index, "text": text, "finish_reason": "stop", "policy": "here"})
        for judge, reward in rewards.items():
            told = {"judge": judge, "length": len(text), "ratable": reward is not None, "reward": reward}
            made["ratings"].append(own | told)
    for name, rows in made.items():
        tables.write(tables.path(tmp_path, name), name, frame(name, rows), {})
    return tmp_path


def values(run: Path, judge: str) -> dict[str, float]:
    found, _ = rated.read(run, params.load(None, [f"pair.judge={judge}"]))
    return dict(found.select("completion_id", "value").iter_rows())


def test_the_value_is_that_of_one_judge_or_of_all_who_have_said_something(run: Path) -> None:
    assert values(run, "ana") == {"a-00": 0.2, "a-01": 0.8}
    assert values(run, "ben") == {"a-00": 0.4}
    assert values(run, "mean") == {"a-00": pytest.approx(0.3)}


def test_what_is_left_out_is_told_and_counted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, unprompted = rated.read(run, params.load(None, ["pair.judge=ana"]))
    assert found.columns == rated.COLUMNS
    assert found["messages"].to_list() == [SYSTEM, SYSTEM]
    assert unprompted == 2
    told = capsys.readouterr().err
    assert "left out: 2 of 3 prompts, which hold no text (only an id)" in told
    assert "left out: 1 of 3 completions have the text of another one of their prompt" in told


def test_a_judge_or_a_prompt_that_is_not_there_is_told(run: Path) -> None:
    with pytest.raises(TableError, match=r"pair\.judge is 'bob'; there are mean, median, majority, ana, ben"):
        values(run, "bob")
    prompts = tables.read(run / "prompts.parquet", "prompts").filter(pl.col("prompt_id") != "a")
    tables.write(run / "prompts.parquet", "prompts", prompts, {})
    with pytest.raises(TableError, match="no completion has a reward and a prompt whose text is known"):
        values(run, "ana")


def test_ratings_of_other_completions_are_refused(run: Path) -> None:
    ratings = tables.read(run / "ratings.parquet", "ratings")
    about = tables.metadata("rate", {}, {"completions": run / "completions.parquet"})
    tables.write(run / "ratings.parquet", "ratings", ratings, about)
    assert values(run, "ana")
    completions = tables.read(run / "completions.parquet", "completions").with_columns(text=pl.lit("It is new."))
    tables.write(run / "completions.parquet", "completions", completions, {})
    with pytest.raises(TableError, match=r"was made from another completions\.parquet; run `wim rate"):
        values(run, "ana")
