"""Graded preferences that people and judges have published (shared/data, whose SOURCES.md says where each is from).

A completion's features are its MiniLM vector, the product of that with the prompt's where the prompt is known, and the
logarithm of its length. Texts beyond what MiniLM reads are read in chunks.
"""

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from bench.reward.graded import Graded, Numbers, numbered, of_ratings, standing
from builder import embed, ids, params
from builder.params import Embed
from builder.ratings import numerical

DATA = Path(__file__).parents[3] / "shared/data"
DTYPE: Literal["bfloat16"] = "bfloat16"
"""What a reward can tell does not hang on a vector's third digit, and the texts are long."""
TURBO, OMNI = "gpt-4-turbo-2024-04-09", "gpt-4o-2024-05-13"


def wildbench(limit: int | None = None) -> Graded:
    """gpt-4-turbo's ratings, 1 to 10, of six models' completions; the prompts' texts are not known."""
    rows = _feedback("WildBench", limit).pivot(
        "judge", index=["prompt_id", "completion_id", "completion"], values="rating"
    ).drop_nulls([TURBO, OMNI])  # fmt: skip
    features = _features(rows["completion"])
    learned, other = (_centred(rows[name], 10) for name in (TURBO, OMNI))
    return of_ratings(*features, _log_length(rows["completion"]), rows["prompt_id"], learned, {"gpt-4o": other})


def prometheus(limit: int | None = None) -> Graded:
    """One sample of GPT-4's ratings, 1 to 5, of four models' completions; the reference is the mean of two others."""
    rows = _feedback("prometheus-eval", limit).pivot(
        "sample", index=["prompt_id", "completion_id", "prompt", "completion"], values="rating"
    ).drop_nulls(["0", "1", "2"])  # fmt: skip
    learned, others = _centred(rows["0"], 5), _centred((rows["1"] + rows["2"]) / 2, 5)
    features = _features(rows["completion"], rows["prompt"])
    return of_ratings(*features, _log_length(rows["completion"]), rows["prompt_id"], learned, {"two others": others})


def mt_bench(limit: int | None = None) -> Graded:
    """People's votes on two models' answers: even is alike, one vote ahead slightly better, more is much better."""
    pairs = _human("mt-bench", limit).with_columns(delta=pl.col("votes").struct["a"] - pl.col("votes").struct["b"])
    return _of_pairs(pairs, (0.0, 1.0))


def qa_feedback(limit: int | None = None) -> Graded:
    """One annotator's preferences among four answers; worse, alike and better are the grades."""
    delta = pl.col("preference").replace_strict({"a": 1, "b": -1, "tie": 0})
    return _of_pairs(_human("FineGrainedRLHF", limit).with_columns(delta=delta), (0.0,))


def _centred(ratings: pl.Series, most: int) -> Numbers:
    """What `wim rate` makes of numbers from 1 to ``most``."""
    return numerical.Rating(params.load(None, [f"rating.scale=[1, {most}]"])).centred(ratings).to_numpy()


def _feedback(source: str, limit: int | None) -> pl.DataFrame:
    return _of_source("feedback", source, limit)


def _human(source: str, limit: int | None) -> pl.DataFrame:
    return _of_source("human_pairs", source, limit)


def _of_source(name: str, source: str, limit: int | None) -> pl.DataFrame:
    """Rows of the first ``limit`` prompts."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rb") as file:
        rows = pl.read_ndjson(file.read(), infer_schema_length=None)
    rows = rows.filter(pl.col("source").str.starts_with(source))
    return rows.filter(pl.col("prompt_id").rank("dense") <= (limit or len(rows)))


def _of_pairs(pairs: pl.DataFrame, cuts: tuple[float, ...]) -> Graded:
    """``pairs``: prompt_id, turn, prompt, completion_a, completion_b, delta in favour of a."""
    asked = ["prompt_id", "turn", "prompt"]
    sides = [pairs.select(*asked, pl.col(f"completion_{side}").alias("completion")) for side in "ab"]
    every = pl.concat(sides).unique(maintain_order=True).with_row_index("place")
    first, second = (
        side.join(every, on=[*asked, "completion"], how="left", maintain_order="left")["place"]
        .cast(pl.Int64)
        .to_numpy()
        for side in sides
    )
    delta = pairs["delta"].cast(pl.Float64).to_numpy()
    lists = numbered(
        every.select(pl.concat_str("prompt_id", pl.col("turn").cast(pl.String), separator=" "))["prompt_id"]
    )
    features, weights = _features(every["completion"], every["prompt"])
    length, prompt = _log_length(every["completion"]), numbered(every["prompt_id"])
    value = standing(first, second, delta, len(every))
    return Graded(features, weights, length, prompt, lists, value, first, second, delta, {}, cuts)


def _features(completions: pl.Series, prompts: pl.Series | None = None) -> tuple[Numbers, Numbers]:
    """[completions, size], and the weights of the columns: a whole vector weighs as much as the length."""
    texts = list(dict.fromkeys([*completions, *([] if prompts is None else prompts)]))
    made = embed.embed(texts, Embed(truncation="chunk", dtype=DTYPE))
    vectors = dict(zip(made["text_id"].to_pylist(), np.stack(made["embedding"].to_numpy()), strict=True))
    own = np.stack([vectors[ids.text_id(text)] for text in completions]).astype(np.float64)
    parts = [_log_length(completions)[:, None], own]
    if prompts is not None:
        parts.append(own * np.stack([vectors[ids.text_id(text)] for text in prompts]))
    weights = [np.full(part.shape[1], part.shape[1] ** -0.5) for part in parts]
    return np.concatenate(parts, axis=1), np.concatenate(weights)


def _log_length(texts: pl.Series) -> Numbers:
    found: Numbers = np.log1p(texts.str.len_chars().to_numpy())
    return found
