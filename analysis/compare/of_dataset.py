"""A published dataset as sides of a comparison, one for each run that it holds."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from analysis import published
from analysis.compare import made, rules
from analysis.compare.side import JUDGED, PAIRS, Rule, Side, words
from analysis.published import RUN, Published, label
from builder.compare import MEAN


def read(name: str) -> dict[str, Side]:
    """The runs by their labels, ``ARM-roundK``. Raises InputError for what is no dataset, or not to be told apart."""
    found = published.find(name)
    pairs = pl.concat(found.pairs([*PAIRS, "judge", "method", *RUN]))
    ratings = _ratings(found)
    return {
        label(arm, index): _side(found, arm, index, *(frame.filter(arm=arm, round=index) for frame in (pairs, ratings)))
        for arm, index in published.runs_of(found, ratings)
    }


def _ratings(found: Published) -> pl.DataFrame:
    columns = [*JUDGED, "completion", "policy", "feedback", "wim_status", *RUN]
    hashed = [pl.col("completion", "policy").hash(), words(pl.col("wim_status"), pl.col("feedback"))]
    blocks = found.ratings(columns)
    return pl.concat(block.with_columns(hashed).drop("feedback", "wim_status") for block in blocks)


def _side(found: Published, arm: str, index: int, pairs: pl.DataFrame, ratings: pl.DataFrame) -> Side:
    completions = ratings.select("completion_id", "prompt_id", pl.col("completion").alias("text"), "policy")
    completions = completions.unique("completion_id", maintain_order=True)
    judgements = ratings.drop("completion", "policy", *RUN)
    stages = found.of(found.parameters, arm, index) or {}
    told, rating = made.rule(stages.get("pair", {})), made.rating(stages.get("rate", {}))
    judge, method = _heard(pairs, told, rating)
    rule = told or rules.inferred(judgements, completions, pairs.select(PAIRS), judge)
    run = label(arm, index)
    return Side(
        name=found.name,
        run=run,
        prompts=completions["prompt_id"].unique(maintain_order=True),
        completions=completions,
        judgements=judgements,
        pairs=pairs.select(PAIRS),
        judge=judge,
        method=method,
        rating=rating,
        rule=rule,
        settings=_settings(method, judge, rule) | _told(stages),
        stats=found.of(found.stats, arm, index),
        notes=() if told else (rules.note(f"{found.name}, {run}", rule),),
        passages=partial(_passages, found, arm, index),
    )


def _heard(pairs: pl.DataFrame, rule: Rule | None, rating: Mapping[str, Any] | None) -> tuple[str, str | None]:
    """Whose judgements count and by which rating, as is told or else as the pairs themselves have it."""
    judge, method = pairs.select("judge", "method").row(0) if len(pairs) else (MEAN, None)
    return rule.pair.judge if rule else judge, rating["method"] if rating else method


def _settings(method: str | None, judge: str, rule: Rule | None) -> dict[str, Any]:
    told: dict[str, Any] = {"rate.method": method} if method else {}
    if rule:
        told |= {f"pair.{name}": value for name, value in vars(rule.pair).items()}
    return told | {"pair.judge": judge}


def _told(stages: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for stage, params in stages.items() for name, value in made.settings(stage, params).items()}


def _passages(found: Published, arm: str, index: int, ids: Sequence[str]) -> pl.DataFrame:
    """Columns completion_id, prompt (text, "" where it is not known), completion, judge, feedback."""
    run = (pl.col("arm") == arm, pl.col("round") == index)
    columns = ["completion_id", "prompt_id", "completion", "judge", "feedback", *RUN]
    wanted = pl.col("completion_id").is_in(list(ids))
    said = pl.concat(block.filter(wanted, *run) for block in found.ratings(columns))
    content = pl.col("prompt").list.eval(pl.element().struct.field("content")).list.join("\n\n")
    asked = pl.col("prompt_id").is_in(said["prompt_id"].unique().to_list())
    pairs = found.pairs(["prompt_id", "prompt", *RUN])
    prompts = pl.concat(block.filter(asked, *run).select("prompt_id", prompt=content) for block in pairs)
    said = said.drop("arm", "round").join(prompts.unique("prompt_id"), on="prompt_id", how="left")
    return said.drop("prompt_id")
