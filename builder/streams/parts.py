"""What pairing reads, part by part: some prompts with all their completions, judgements and ratings."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import judgements, tables
from builder.streams import spans
from builder.streams.spans import Span

BYTES = 128 << 20
"""Of texts in a part, about: where texts are long, parts have fewer rows than a quarter of ``spans.ROWS``."""
PAIRED = 64 << 20
"""Bytes of texts in pairs that are put together or written at once, about."""
PROMPTS = ("prompt_id", "messages")
FEEDBACK = ("completion_id", "judge", "attempt", "rating_status", "wim", "wim_status", "reason")
RATINGS = ("completion_id", "prompt_id", "judge", "rating", "R", "wim", "reward", "ratable", "reason")
_TEXTS = {"prompts": "messages", "completions": "text", "feedback": "wim"}


@dataclass(frozen=True)
class Part:
    """Whole prompts; ``feedback`` holds the attempts that count, of ``attempts`` that were read."""

    prompts: pl.DataFrame
    completions: pl.DataFrame
    feedback: pl.DataFrame
    ratings: pl.DataFrame
    attempts: int


def read(files: Mapping[str, Path], columns: Sequence[str] = judgements.COMPLETIONS) -> Iterator[Part]:
    """The parts of the tables in ``files`` (prompts, completions, feedback, ratings), which hold each row once.

    ``columns``: those of the completions.

    Judgements of completions that are not there may be left out. Raises TableError naming file and column.
    """
    plan = spans.plan(files["completions"], "completions", "prompt_id", _rows(files))
    prompts = spans.Reader(files["prompts"], "prompts", PROMPTS, "prompt_id")
    completions = spans.Reader(files["completions"], "completions", columns, "prompt_id")
    ratings = spans.Reader(files["ratings"], "ratings", RATINGS, "prompt_id")
    feedback = _feedback(files, plan)
    for number, span in enumerate(plan):
        answers = completions(span)
        said = feedback(number, answers["completion_id"])
        yield Part(prompts(span), answers, judgements.used(said), ratings(span), len(said))


def pairs_at_once(files: Mapping[str, Path]) -> int:
    """How many pairs, whose texts are many times those of a part where each completion is in many of them.

    A row group of pairs.parquet has as many rows. It hangs on the tables read, not on the parts.
    """
    asked, answered, said = _sizes(files)
    of_one = 2 * (answered + said) // _count(files["completions"]) + asked // _count(files["prompts"])
    return max(1, min(tables.ROW_GROUP, PAIRED // max(1, of_one)))


def _rows(files: Mapping[str, Path]) -> int:
    """Completions of a part."""
    _, answered, said = _sizes(files)
    return max(1, min(spans.ROWS // 4, BYTES * _count(files["completions"]) // max(1, answered + said)))


def _sizes(files: Mapping[str, Path]) -> list[int]:
    """Bytes of the texts of prompts, completions and judgements."""
    return [tables.uncompressed(files[name], [column]) for name, column in _TEXTS.items()]


def _count(file: Path) -> int:
    """Rows of a table, at least 1."""
    return max(1, int(tables.open_parquet(file).metadata.num_rows))


def _feedback(files: Mapping[str, Path], plan: Sequence[Span]) -> Callable[[int, pl.Series], pl.DataFrame]:
    """Reads the judgements of a part, by its number and its completions. They do not tell their prompts."""
    file, following = files["feedback"], _by_completion(files["completions"], plan)
    if following:
        read = spans.Reader(file, "feedback", FEEDBACK, "completion_id")
        return lambda number, _: read(following[number])
    nothing = tables.read_nothing(file, "feedback", FEEDBACK)

    def among(_: int, completions: pl.Series) -> pl.DataFrame:
        own = pl.col("completion_id").is_in(completions.implode())
        blocks = tables.batches(file, "feedback", FEEDBACK, spans.BATCH)
        return pl.concat([nothing, *(tables.detached(block.filter(own)) for block in blocks)])

    return among


def _by_completion(completions: Path, plan: Sequence[Span]) -> list[Span]:
    """The spans of prompts as spans of completion ids; none if prompts and completions are not in the same order."""
    ends = pl.Series([span.end for span in plan[:-1]], dtype=pl.String)
    ids = pl.col("completion_id")
    looked = []
    for block in tables.batches(completions, "completions", ["completion_id", "prompt_id"]):
        part = ends.search_sorted(block["prompt_id"], "right").alias("part")
        looked.append(block.group_by(part).agg(first=ids.min(), last=ids.max()))
    if len(plan) == 1 or not looked:
        return [Span()]
    ranges = pl.concat(looked).group_by("part").agg(pl.col("first").min(), pl.col("last").max()).sort("part")
    if (ranges["first"] <= ranges["last"].shift()).any():
        return []
    begins = ranges.filter(pl.col("part") > 0)["first"]
    return [Span(first, end) for first, end in itertools.pairwise([None, *begins, None])]
