"""The completions of a run with their rewards, for those who learn from more than its pairs."""

import sys
from pathlib import Path

import polars as pl

from builder import judgements, tables
from builder.compare import check_judge, comparable
from builder.errors import TableError
from builder.params import Params

TABLES = ("prompts", "completions", "ratings")
COLUMNS = ["completion_id", "prompt_id", "messages", "text", "value"]


def read(folder: Path, params: Params) -> tuple[pl.DataFrame, int]:
    """COLUMNS of every ratable completion, by prompt and completion, and how many prompts have none that is known by
    its text.

    ``value``: the reward, that of pair.judge. Left out, and told, are prompts of which only the id is known, and of
    completions with the same text all but the first. Raises TableError if a table is missing or made from another, for
    a pair.judge that is none of the run's, and if nothing is left.
    """
    files = {name: tables.find(folder, name) for name in TABLES}
    tables.check_made_from(files["ratings"], tables.fingerprints(files), "rate")
    completions = tables.read(files["completions"], "completions", judgements.COMPLETIONS)
    ratings = tables.read(files["ratings"], "ratings", ["completion_id", "prompt_id", "judge", "reward"])
    check_judge(params.pair.judge, ratings["judge"])
    values = comparable(ratings, completions, "reward", params.pair.judge).drop("text")
    prompts = tables.read(files["prompts"], "prompts", ["prompt_id", "messages"])
    prompted = values.join(prompts.filter(pl.col("messages").list.len() > 0), on="prompt_id")
    unprompted = _tell_unprompted(values["prompt_id"], prompted["prompt_id"])
    every = prompted.join(completions.drop("prompt_id"), on="completion_id").sort("prompt_id", "completion_id")
    if every.is_empty():
        raise TableError(f"{folder}: no completion has a reward and a prompt whose text is known; see `wim stats`")
    distinct = every.unique(["prompt_id", "text"], keep="first", maintain_order=True)
    if len(distinct) < len(every):
        told = f"{len(every) - len(distinct):,} of {len(every):,} completions"
        print(f"left out: {told} have the text of another one of their prompt", file=sys.stderr)
    return distinct.select(COLUMNS), unprompted


def _tell_unprompted(asked: pl.Series, known: pl.Series) -> int:
    prompts = asked.n_unique()
    without = prompts - known.n_unique()
    if without:
        print(f"left out: {without:,} of {prompts:,} prompts, which hold no text (only an id)", file=sys.stderr)
    return without
