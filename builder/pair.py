"""pair: ratings -> pairs.parquet + stats.json."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from builder import ids, judgements, paired, stats, tables
from builder.compare import TOGETHER, JudgedPairs, Rows, check_judge, comparable, judged_pairs
from builder.errors import TableError
from builder.health import measure
from builder.health.draw import Draw
from builder.params import Pair, Params
from builder.statuses import Reason
from builder.streams import parts, spans
from builder.streams.by_hash import Sorter, sorter
from builder.streams.parts import Part
from builder.truncated import Truncated

READS = {"verifier": ("verifier",), "combined": ("weights", "verifier")}
"""Parameters of the block rate, beyond zeta, without which a run's rating is another one."""


def run(folder: Path, params: Params, arm: str = "", round_index: int = 0) -> dict[str, Any]:
    """Write pairs.parquet and stats.json, part by part; return the statistics."""
    files = {name: tables.find(folder, name) for name in ("prompts", "completions", "feedback", "ratings")}
    now = tables.fingerprints(files)
    tables.check_made_from(files["feedback"], now, "judge")
    tables.check_made_from(files["ratings"], now, "rate")
    params = as_rated(files["ratings"], params)
    judges = _judges(files["ratings"])
    check_judge(params.pair.judge, judges.names)
    at_once = parts.pairs_at_once(files)
    made, truncated = _Made(params, judges, at_once), Truncated(tables.path(folder, "embeddings"))
    with sorter(folder, "pair_id") as pairs:
        for part in parts.read(files, columns(params.pair)):
            made.add(part, pairs, arm, round_index)
            truncated.add(part.completions["text"])
        attempts = tables.open_parquet(files["feedback"]).metadata.num_rows
        summary = made.summary.summary(truncated.count(), attempts) | stats.usage(files)
        summary["health"] = made.health.summary(tables.read_metadata(files["ratings"]).get("generic"))
        tables.check_unchanged(tables.fingerprints(files), now)
        settings = {"pair": vars(params.pair), "method": params.rate.method, "seed": params.seed}
        about = tables.metadata("pair", settings, {}) | {"inputs": now}
        more = [pa.field("dissent", pa.float64())] if made.dissent else []
        # In one piece each: the file would tell the parts.
        groups = (group.rechunk() for group in spans.even(pairs.frames(), at_once))
        tables.write_blocks(tables.path(folder, "pairs"), "pairs", groups, about, more)
    tables.write_json(folder / "stats.json", summary)
    return summary


@dataclass(frozen=True)
class _Judges:
    """What all ratings say together: the judges, of which columns several have a value, and the health's prompts."""

    names: list[str]
    several: Mapping[str, bool]
    drawn: pl.Series


def _judges(ratings: Path) -> _Judges:
    judge, rated = pl.col("judge"), pl.col("reason").fill_null("") != str(Reason.EMPTY_COMPLETION)
    has = {"reward": pl.col("reward").is_not_null(), "ratable": pl.col("ratable")}
    has |= {name: rated & pl.col(name).is_not_null() for name in ("R", "wim")}
    found, draw = [pl.DataFrame(schema={"judge": pl.String} | dict.fromkeys(has, pl.Boolean))], Draw(measure.CORRELATED)
    for block in tables.batches(ratings, "ratings", ["prompt_id", "judge", "reason", *has]):
        here = block.group_by(judge).agg(held.any().alias(name) for name, held in has.items())
        found.append(tables.detached(here))
        draw.add(measure.counted(block)["prompt_id"])
    names = pl.concat(found).group_by("judge").agg(pl.col(list(has)).any()).sort("judge")
    several = {name: int(names[name].sum()) > 1 for name in has}
    return _Judges(names["judge"].to_list(), several, draw.prompts())


class _Made:
    """What is made of a run, part by part."""

    def __init__(self, params: Params, judges: _Judges, at_once: int) -> None:
        self.params, self.several, self.at_once = params, judges.several, at_once
        self.summary = stats.Summary(params, judges.several)
        self.health = measure.Figures(judges.drawn)
        self.dissent = judges.several["ratable"] and params.pair.judge in TOGETHER

    def add(self, part: Part, pairs: Sorter, arm: str, round_index: int) -> None:
        """Pairs go to ``pairs``, what is counted to the summaries."""
        _check_prompts(part)
        settings = self.params.pair
        values = comparable(part.ratings, part.completions, "reward", settings.judge, self.several["reward"])
        judged = judged_pairs(values)
        taken = select(judged, settings, self.params.seed)
        for start in range(0, max(len(taken), 1), self.at_once):
            rows = paired.rows(judged, taken[start : start + self.at_once], part, self.params, arm, round_index)
            pairs.add(paired.with_dissent(rows, part.ratings) if self.dissent else rows)
        self.summary.add(part, judged, len(taken), len(np.unique(judged.prompts()[taken])))
        self.health.add(part.completions, part.feedback, part.ratings)


def as_rated(ratings: Path, params: Params) -> Params:
    """The parameters with the method, what it reads, and the scale that the ratings table says it has, if it does."""
    made = tables.read_metadata(ratings)
    if made.get("stage") != "rate":
        return params
    scale = {"scale": tuple(made["params"]["rating"]["scale"]), "rescale": made["params"]["rating"]["rescale"]}
    method = made["params"]["rate"]["method"]
    rate = {name: made["params"]["rate"][name] for name in ("method", "zeta", *READS.get(method, ()))}
    return dataclasses.replace(
        params, rating=dataclasses.replace(params.rating, **scale), rate=dataclasses.replace(params.rate, **rate)
    )


def _check_prompts(part: Part) -> None:
    strangers = part.completions.join(part.prompts, on="prompt_id", how="anti")
    if len(strangers):
        first = strangers["completion_id"][0]
        raise TableError(f"{len(strangers)} or more completions have no row in the prompts table, {first} for one")


def columns(settings: Pair) -> tuple[str, ...]:
    """The columns of the completions table that pairs are taken by."""
    return (*judgements.COMPLETIONS, *(["policy"] if settings.strategy == "cross_policy" else []))


def select(judged: JudgedPairs, settings: Pair, seed: int) -> Rows:
    """Indices of the judged pairs that the strategy takes; ties only where they are kept.

    ``best_worst``: the largest delta of each prompt; ``best_random``: the best with any other that it
    is not tied with; ``adjacent``: neighbours in the ranking; ``all``; ``cross_policy``: the largest delta between
    completions of two policies, for which ``values`` must have their column. Equals go to the lower ids.
    """
    tied = judged.tied(settings.min_gap)
    allowed = np.flatnonzero(~tied if settings.ties == "drop" else np.ones_like(tied))
    if settings.strategy == "all":
        return allowed
    if settings.strategy == "adjacent":
        neighbours: Rows = allowed[judged.worse[allowed] == judged.better[allowed] + 1]
        return neighbours
    if settings.strategy == "cross_policy":
        policy = judged.values["policy"].rank("dense").to_numpy()
        allowed = allowed[policy[judged.better[allowed]] != policy[judged.worse[allowed]]]
    if settings.strategy in ("best_worst", "cross_policy"):
        return _first_of_prompt(judged, allowed, -judged.delta[allowed])
    prompts = judged.values["prompt_id"].rle_id().to_numpy()
    first = np.flatnonzero(np.diff(prompts, prepend=-1))
    allowed = allowed[np.isin(judged.better[allowed], first)]
    names = judged.values["completion_id"].gather(judged.worse[allowed])
    return _first_of_prompt(judged, allowed, np.array([ids.uniform_of(seed, name) for name in names]))


def _first_of_prompt(judged: JudgedPairs, allowed: Rows, order: NDArray[np.float64]) -> Rows:
    prompt = judged.prompts()[allowed]
    by_order = np.lexsort((judged.worse[allowed], judged.better[allowed], order, prompt))
    firsts = np.flatnonzero(np.diff(prompt[by_order], prepend=-1))
    taken: Rows = allowed[by_order[firsts]]
    return taken
