"""A run folder as a side of a comparison."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from analysis.compare import made, rules
from analysis.compare.side import JUDGED, PAIRS, Side, words
from analysis.published import RUN, label_of
from builder import ids, judgements, rows, tables
from builder.compare import MEAN
from builder.errors import TableError
from builder.streams import spans

TABLES = ("prompts", "completions", "feedback", "embeddings", "ratings", "pairs")


def read(folder: Path) -> Side:
    """Raises TableError where a table is missing, damaged or made from others than those that are there."""
    files = {name: tables.find(folder, name) for name in ("prompts", "completions", "feedback", "ratings", "pairs")}
    tables.check_made_from(files["feedback"], tables.fingerprints({"completions": files["completions"]}), "judge")
    tables.check_made_from(files["pairs"], tables.fingerprints({"ratings": files["ratings"]}), "pair")
    pairs = tables.read(files["pairs"], "pairs", [*PAIRS, "judge", "method", *RUN])
    rate, pair = (tables.read_metadata(files[name]).get("params", {}) for name in ("ratings", "pairs"))
    told = made.rule(pair)
    judge = told.pair.judge if told else next(iter(pairs["judge"]), MEAN)
    hashed = pl.col("text", "policy").hash()
    completions = _hashed(files["completions"], "completions", [*judgements.COMPLETIONS, "policy"], hashed)
    judged = _judgements(files["ratings"], files["feedback"])
    rule = told or rules.inferred(judged, completions, pairs, judge)
    stats = folder / "stats.json"
    return Side(
        name=str(folder),
        run=label_of(folder, pairs),
        prompts=tables.read(files["prompts"], "prompts", ["prompt_id"])["prompt_id"],
        completions=completions,
        judgements=judged,
        pairs=pairs.select(PAIRS),
        judge=judge,
        method=rate.get("rate", {}).get("method") or next(iter(pairs["method"]), None),
        rating=made.rating(rate),
        rule=rule,
        settings=settings(folder),
        stats=tables.read_json(stats) if stats.is_file() else None,
        notes=() if told else (rules.note(str(folder), rule),),
        passages=partial(_passages, folder),
    )


def _judgements(ratings: Path, feedback: Path) -> pl.DataFrame:
    further = [name for name in tables.open_parquet(ratings).schema_arrow.names if _is_rating(name)]
    read = tables.read(ratings, "ratings", [*JUDGED, *further])
    said = words(pl.col("wim_status"), pl.col("wim")).alias("wim")
    used = judgements.used(_hashed(feedback, "feedback", [*judgements.READ, "wim"], said))
    used = used.select("completion_id", "judge", words="wim")
    return read.join(used, on=["completion_id", "judge"], how="left", maintain_order="left")


def _is_rating(column: str) -> bool:
    """Beyond the schema of ratings stand those of ``rate.also``, and one that is none."""
    return column not in tables.SCHEMAS["ratings"].names and column != "disagreement"


def _hashed(file: Path, name: str, columns: Sequence[str], hashed: pl.Expr) -> pl.DataFrame:
    """Columns of a table with a hash in place of the texts, block by block."""
    blocks = spans.blocks(file, name, columns, "completion_id", rows.BLOCK)
    found = [block.with_columns(hashed) for block in blocks]
    return pl.concat(found) if found else tables.read(file, name, columns).with_columns(hashed)


def settings(folder: Path) -> dict[str, Any]:
    """What the tables of a run say of their making, by dotted names: ``rate.method``, ``embed.model``, ..."""
    told: dict[str, Any] = {}
    for name in TABLES:
        try:
            file = tables.find(folder, name)
        except TableError:
            continue
        told |= _said(tables.read_metadata(file), name)
    return told


def _said(about: Mapping[str, Any], table: str) -> dict[str, Any]:
    """Of one table: the parameters of its stage, the models and, where it was read from files, these."""
    stage = str(about.get("stage", table))
    others = {name: about[name] for name in ("policy", "jury", "engine") if name in about}
    if "model" in about:
        others["weights"] = ids.fingerprint(about["model"])
    if stage in ("ingest", "prompts"):
        others |= {f"input {name}": value for name, value in about.get("inputs", {}).items()}
    return made.settings(stage, about.get("params", {}), others)


def _passages(folder: Path, names: Sequence[str]) -> pl.DataFrame:
    """Columns completion_id, prompt (text), completion, judge, feedback; a row for each judgement."""
    wanted = pl.col("completion_id").is_in(list(names))
    completions, feedback, prompts = (
        pl.scan_parquet(tables.find(folder, name), glob=False) for name in ("completions", "feedback", "prompts")
    )
    found = completions.filter(wanted).select("completion_id", "prompt_id", completion="text").collect()
    said = feedback.filter(wanted).select(judgements.FEEDBACK).collect()
    asked = prompts.filter(pl.col("prompt_id").is_in(found["prompt_id"].to_list())).collect()
    content = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n\n")
    used = judgements.used(said).select("completion_id", "judge", feedback="wim")
    found = found.join(asked.select("prompt_id", prompt=content), on="prompt_id", how="left")
    return found.join(used, on="completion_id", how="left").drop("prompt_id")
