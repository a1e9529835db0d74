"""One row per completion and judge: what was said, as the ratings read it."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from builder import tables
from builder.errors import TableError
from builder.statuses import RatingStatus, Reason, WimStatus
from builder.streams import spans

COMPLETIONS = ("completion_id", "prompt_id", "text")
FEEDBACK = (
    "completion_id",
    "judge",
    "attempt",
    "rating",
    "rating_status",
    "wim",
    "wim_status",
    "reason",
    "scale_min",
    "scale_max",
)
PROMPTS = ("prompt_id", "messages", "reference")
READ = ("completion_id", "judge", "attempt", "rating_status", "wim_status")
"""What decides which attempt counts."""


def used(feedback: pl.DataFrame) -> pl.DataFrame:
    """The attempt that counts, per completion and judge, sorted by both.

    It is the first whose text is readable, with its number; else the first with a number, else the first.
    """
    key = ["completion_id", "judge", "attempt"]
    feedback = feedback.sort(key)
    twice = feedback.select(pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in key)).to_series()
    if twice.any():
        row = feedback.row(int(twice.fill_null(False).arg_max() or 0), named=True)
        raise TableError(
            f"feedback: two rows for completion {row['completion_id']}, judge {row['judge']!r}, one attempt"
        )
    if feedback["attempt"].max() in (0, None):
        return feedback
    unreadable = pl.col("wim_status") == str(WimStatus.UNREADABLE)
    numberless = pl.col("rating_status") != str(RatingStatus.OK)
    ordered = feedback.sort("completion_id", "judge", unreadable, numberless, "attempt", maintain_order=True)
    return ordered.unique(["completion_id", "judge"], keep="first", maintain_order=True)


def collect(completions: pl.DataFrame, feedback: pl.DataFrame) -> pl.DataFrame:
    """Completions joined with the judgements that count, by completion_id and judge.

    The text of a judgement is in ``feedback`` ("" where nothing is missing), the completion's in
    ``text``. A completion that nobody judged has one row, without a judge.
    """
    judged = used(feedback).rename({"wim": "feedback"}).drop("attempt")
    joined = completions.select(COMPLETIONS).join(judged, on="completion_id", how="left", maintain_order="left_right")
    unjudged = pl.col("judge").is_null()
    return joined.with_columns(
        pl.col("judge").fill_null(""),
        pl.col("wim_status").fill_null(str(WimStatus.ABSENT)),
        pl.col("rating_status").fill_null(str(RatingStatus.ABSENT)),
        pl.when(unjudged).then(pl.lit(str(Reason.NOT_JUDGED))).otherwise("reason").alias("reason"),
    ).sort("completion_id", "judge", maintain_order=True)


class Stored:
    """The judgements of tables that may be larger than memory; where ``prompts`` are given, as ``with_prompts``."""

    def __init__(self, completions: Path, feedback: Path, prompts: Path | None = None) -> None:
        files = (("completions", completions, COMPLETIONS), ("feedback", feedback, FEEDBACK))
        self.files = [(*each, spans.is_sorted(each[1], each[0], "completion_id")) for each in files]
        said, told = (tables.open_parquet(file).metadata.num_rows for _, file, *_ in self.files)
        few = all(ordered for *_, ordered in self.files)  # a table in any other order is read anew for each span
        rows = spans.ROWS // (16 if few else 1) // max(1, told // max(1, said))
        self.spans = spans.plan(completions, "completions", "completion_id", max(1, rows))
        self.prompts = spans.Lookup(prompts, "prompts", PROMPTS, "prompt_id") if prompts else None

    def frames(self) -> Iterator[pl.DataFrame]:
        """What ``collect`` makes of all, in parts: a completion is in one with all that is said of it. At least one."""
        reader = [spans.Reader(file, name, columns, columns[0], ordered) for name, file, columns, ordered in self.files]
        for span in self.spans:
            frame = collect(*(read(span) for read in reader))
            yield frame if self.prompts is None else with_prompts(frame, self.prompts(frame["prompt_id"]))


def with_prompts(judgements: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """With the columns of ``PROMPTS`` and ``prompt``, the text of all messages; null for a prompt without messages."""
    content = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n\n")
    asked = prompts.select(*PROMPTS, pl.when(pl.col("messages").list.len() > 0).then(content).alias("prompt"))
    return judgements.join(asked, on="prompt_id", how="left", maintain_order="left")


def said() -> pl.Expr:
    """The text of a prompt's turns, null where they are not known.

    System turns are left out: prompts that share a long one would all be near each other.
    """
    element = pl.element()
    content = element.filter(element.struct.field("role") != "system").struct.field("content")
    return pl.when(pl.col("messages").list.len() > 0).then(pl.col("messages").list.eval(content).list.join("\n\n"))


def is_empty(text: pl.Expr) -> pl.Expr:
    """An empty completion is white space only: it is accepted, and never ratable."""
    return text.str.strip_chars().str.len_bytes() == 0
