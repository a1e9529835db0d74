"""The columns that are published: what TRL reads of pairs, what others read, what KTO reads, what SFT reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from builder import tables
from builder.streams import spans
from builder.tables import MESSAGES

IDS = ("pair_id", "prompt_id", "chosen_id", "rejected_id")
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Schema:
    """``rows`` makes the published rows of a block of pairs; for each pair ``counts`` says how many there will be.

    Both read the columns that ``plan`` adds to a pair. ``table``: what is published, by its ``key``.
    """

    columns: pa.Schema
    meaning: Mapping[str, str]
    rows: Callable[[pl.DataFrame], pl.DataFrame]
    counts: pl.Expr
    table: str = "pairs"
    key: str = "pair_id"

    def plan(self, file: Path) -> pl.DataFrame:
        """For every row, sorted by ``key``, hashes of that and of its prompt_id; for pairs more (``planned``)."""
        if self.table == "pairs":
            return planned(file)
        blocks = spans.blocks(file, self.table, [self.key, "prompt_id"], self.key, tables.ROW_GROUP)
        hashed = pl.col(self.key, "prompt_id").hash()
        nothing = pl.DataFrame(schema=dict.fromkeys((self.key, "prompt_id"), pl.UInt64))
        return pl.concat([nothing, *(block.select(hashed) for block in blocks)])


def planned(pairs: Path) -> pl.DataFrame:
    """For every pair, sorted by pair_id: whether a side of it is a row where completions stand alone.

    ``pair_id``, ``prompt_id``: 64 bits that stand for these (``hash``), since there may be millions.
    ``chosen_alone``, ``rejected_alone``: a completion that is in several pairs is one row, and none if it is chosen in
    one and rejected in another; a tie says of neither which it is.
    """
    hashed = [pl.col(name).hash() for name in IDS]
    blocks = spans.blocks(pairs, "pairs", [*IDS, "delta"], "pair_id", tables.ROW_GROUP)
    found = (block.select(*hashed, told=pl.col("delta") > 0) for block in blocks)
    plan = pl.concat([pl.DataFrame(schema=dict.fromkeys(IDS, pl.UInt64) | {"told": pl.Boolean}), *found])
    told = plan.filter("told")
    both = told["chosen_id"].filter(told["chosen_id"].is_in(told["rejected_id"].implode()))
    alone = [
        (pl.col("told") & ~pl.col(f"{side}_id").is_in(both.implode()) & _first(f"{side}_id")).alias(f"{side}_alone")
        for side in SIDES
    ]
    return plan.select("pair_id", "prompt_id", *alone)


def _first(column: str) -> pl.Expr:
    """The first pair that is no tie and holds the completion."""
    return pl.struct(column, "told").is_first_distinct()


def _ultrafeedback(pairs: pl.DataFrame) -> pl.DataFrame:
    content = pl.col("prompt").list.eval(pl.element().struct.field("content"))
    whole = {side: pl.concat_list("prompt", side) for side in SIDES}
    return pairs.select(
        content.list.join("\n\n").alias("prompt"),
        "prompt_id",
        **whole,
        messages=whole["chosen"],
        score_chosen="score_chosen",
        score_rejected="score_rejected",
    )


def _unpaired(pairs: pl.DataFrame) -> pl.DataFrame:
    sides = [
        pairs.filter(f"{side}_alone").select(
            "prompt",
            pl.col(side).alias("completion"),
            pl.lit(side == "chosen").alias("label"),
            "prompt_id",
            pl.col(f"{side}_id").alias("completion_id"),
            pl.col(f"score_{side}").alias("score"),
            *(pl.col(f"{side}_{name}").alias(name) for name in ("rating", "wim", "feedback", "status")),
            *("judge", "method", "round", "arm"),
        )
        for side in SIDES
    ]
    return pl.concat(sides).sort("completion_id")


_PAIRS, _ROWS = tables.SCHEMAS["pairs"], tables.SCHEMAS["sft"]
_OWN = {
    "prompt, chosen, rejected": "lists of messages (role, content), as TRL's trainers read them",
    "score_chosen, score_rejected, delta": "the run's reward of both, and their difference",
    "chosen_rating, rejected_rating": "the judge's number",
    "chosen_wim, rejected_wim": "the cosine of the completion and of what is missing in it, in [-1, 1]",
    "chosen_feedback, rejected_feedback": "what the judge says is missing",
    "chosen_status, rejected_status": "`missing`, `nothing`, `unreadable` or `absent`: what came of the judge's text",
    "pair_id, prompt_id, chosen_id, rejected_id": "ids: hashes of what they stand for",
    "judge, method, round, arm": "who judged, which rating ordered the pair, and the run that it is from",
}

SCHEMAS = {
    "preference": Schema(_PAIRS, _OWN, lambda pairs: pairs.select(_PAIRS.names), pl.lit(1)),
    "ultrafeedback_binarized": Schema(
        pa.schema(
            [
                pa.field("prompt", pa.string()),
                pa.field("prompt_id", pa.string()),
                *(pa.field(name, MESSAGES) for name in ("chosen", "rejected", "messages")),
                *(pa.field(f"score_{side}", pa.float64()) for side in SIDES),
            ]
        ),
        {
            "prompt, prompt_id": "the prompt as one text, and its id",
            "chosen, rejected": "whole conversations (role, content): the prompt's turns and the answer",
            "messages": "the chosen one again",
            "score_chosen, score_rejected": "the run's reward of both",
        },
        _ultrafeedback,
        pl.lit(1),
    ),
    "unpaired": Schema(
        pa.schema(
            [
                *(pa.field(name, MESSAGES) for name in ("prompt", "completion")),
                pa.field("label", pa.bool_()),
                *(pa.field(name, pa.string()) for name in ("prompt_id", "completion_id")),
                *(pa.field(name, pa.float64()) for name in ("score", "rating", "wim")),
                *(pa.field(name, pa.string()) for name in ("feedback", "status", "judge", "method")),
                pa.field("round", pa.int32()),
                pa.field("arm", pa.string()),
            ]
        ),
        {
            "prompt, completion, label": "what TRL's KTOTrainer reads: messages, and whether the completion is wanted",
            "score, rating, wim": "the run's reward, the judge's number, and the cosine",
            "feedback, status": "what the judge says is missing, and what came of its text",
            "prompt_id, completion_id": "ids",
            "judge, method, round, arm": "who judged, which rating ordered the pair, and the run that it is from",
        },
        _unpaired,
        pl.col("chosen_alone").cast(pl.Int64) + pl.col("rejected_alone").cast(pl.Int64),
    ),
    "sft": Schema(
        _ROWS,
        {
            "prompt, completion": "what TRL's SFTTrainer reads: messages; the loss is over the completion",
            "completion_id, other_id": "whose text is learned, and what it was made from or stands beside",
            "feedback": "what a judge says is missing in the worse of the two",
            "score": "of an imitated refinement, what it was chosen by; of a chain, the pair's delta",
            "row_id, prompt_id": "ids; a chain's rows have that of its pair",
        },
        lambda rows: rows.select(_ROWS.names),
        pl.lit(1),
        "sft",
        "row_id",
    ),
}
