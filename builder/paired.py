"""The rows of pairs.parquet: what a pair tells of its prompt and of its two completions."""

import polars as pl

from builder import ids, tables
from builder.compare import DECIMALS, MEAN, TOGETHER, JudgedPairs, Rows, scaled
from builder.params import Params
from builder.statuses import WimStatus
from builder.streams.parts import Part


def rows(judged: JudgedPairs, taken: Rows, read: Part, params: Params, arm: str, round_index: int) -> pl.DataFrame:
    """The pairs table of the judged pairs ``taken``, in their order."""
    values = judged.values
    chosen, rejected = values[judged.better[taken]], values[judged.worse[taken]]
    sides = _sides(pl.concat([chosen, rejected])["completion_id"], read, params.pair.judge)
    pairs = pl.DataFrame(
        {
            "prompt_id": chosen["prompt_id"],
            "score_chosen": chosen["value"],
            "score_rejected": rejected["value"],
            "delta": judged.delta[taken],
            "chosen_id": chosen["completion_id"],
            "rejected_id": rejected["completion_id"],
        }
    )
    for side in ("chosen", "rejected"):
        named = sides.rename({name: f"{side}_{name}" for name in ("rating", "wim", "feedback", "status")})
        named = named.rename({"completion_id": f"{side}_id", "message": side})
        pairs = pairs.join(named, on=f"{side}_id", how="left", maintain_order="left")
    pairs = pairs.join(read.prompts.rename({"messages": "prompt"}), on="prompt_id", how="left", maintain_order="left")
    made = {"judge": params.pair.judge, "method": params.rate.method, "arm": arm}
    names = [
        ids.pair_id(arm, round_index, better, worse, params.pair.judge, params.rate.method)
        for better, worse in zip(pairs["chosen_id"].to_list(), pairs["rejected_id"].to_list(), strict=True)
    ]
    pairs = pairs.with_columns(
        pl.Series("pair_id", names, pl.String),
        pl.lit(round_index, pl.Int32).alias("round"),
        *(pl.lit(value).alias(name) for name, value in made.items()),
    )
    return pairs.select(tables.SCHEMAS["pairs"].names)


def with_dissent(pairs: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """``dissent``, a column beyond the schema: the share of judges that prefer the rejected one, ties half."""
    own = ratings.filter("ratable").select("completion_id", "judge", "reward")
    both = pairs.select("pair_id", "chosen_id", "rejected_id").join(own, left_on="chosen_id", right_on="completion_id")
    both = both.join(own, left_on=["rejected_id", "judge"], right_on=["completion_id", "judge"], suffix="_rejected")
    sign = (pl.col("reward") - pl.col("reward_rejected")).round(DECIMALS).sign()
    dissent = both.group_by("pair_id").agg(dissent=(0.5 - 0.5 * sign).mean())
    return pairs.join(dissent, on="pair_id", how="left", maintain_order="left")


def _sides(completion_ids: pl.Series, read: Part, judge: str) -> pl.DataFrame:
    """What a pair tells of each of its completions: message, rating, wim, feedback, status."""
    wanted = completion_ids.unique().to_frame()
    said = read.feedback.select("completion_id", "judge", pl.col("wim").alias("feedback"), "wim_status")
    rated = read.ratings.select("completion_id", "judge", "rating", "wim")
    both = wanted.join(rated, on="completion_id").join(said, on=["completion_id", "judge"], how="left")
    both = both.sort("completion_id", "judge")
    status = pl.col("wim_status")
    if judge in TOGETHER:
        middle = pl.Expr.mean if scaled(judge) == MEAN else pl.Expr.median
        # Each text under its judge's name; what a completion lacks in one judge's eyes, it lacks.
        named = pl.col("judge") + ": " + pl.col("feedback")
        order = [str(s) for s in (WimStatus.MISSING, WimStatus.NOTHING, WimStatus.UNREADABLE)]
        worst = pl.coalesce([pl.when((status == s).any()).then(pl.lit(s)) for s in order])
        both = both.group_by("completion_id", maintain_order=True).agg(
            middle(pl.col("rating")),
            middle(pl.col("wim")),
            pl.when(pl.col("feedback").is_not_null().any()).then(named.drop_nulls().str.join("\n\n")).alias("feedback"),
            worst.fill_null(str(WimStatus.ABSENT)).alias("status"),
        )
    else:
        both = both.filter(pl.col("judge") == judge).drop("judge").rename({"wim_status": "status"})
        both = both.with_columns(pl.col("status").fill_null(str(WimStatus.ABSENT)))
    texts = read.completions.select("completion_id", _message(pl.col("text")).alias("message"))
    return both.join(texts, on="completion_id", how="left", maintain_order="left")


def _message(text: pl.Expr) -> pl.Expr:
    return pl.concat_list(pl.struct(pl.lit("assistant").alias("role"), text.alias("content")))
