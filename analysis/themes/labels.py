"""What the themes have to do with the labels: which side of each pair is said to miss what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from analysis.audit import pairs as of_truth
from analysis.audit import truth
from analysis.intervals import Numbers
from analysis.themes import said
from analysis.themes.find import Themes
from builder import judgements, tables
from builder.compare import DECIMALS, TOGETHER
from builder.statuses import WimStatus

NOTHING = "nothing is missing"
"""The feature beside the themes."""
ENDS = ["prompt_id", "chosen_id", "rejected_id", "judge"]


@dataclass(frozen=True, eq=False)
class Labels:
    """Pairs [pairs] and what their sides are said to miss.

    ``missing`` [pairs, themes + 1]: the share of the judges that find the theme in the rejected completion, less that
    in the chosen one, in [-1, 1]; the last column is NOTHING. ``prompt``: in [0, prompts).
    """

    missing: Numbers
    prompt: np.ndarray

    @property
    def prompts(self) -> int:
        return int(self.prompt.max(initial=-1)) + 1


def of(runs: Sequence[Path], themes: Themes, file: Path | None = None, min_gap: float = 0.0) -> Labels:
    """The pairs of all runs or, with ``file``, those that this truth orders. Pairs that nobody judged are left out.

    So are ties that pairing has kept: a delta within ``min_gap``.
    """
    ends = [_pairs(run, min_gap) if file is None else _ordered(run, file) for run in runs]
    found = [_of_run(*each, len(themes.themes)) for each in zip(runs, ends, themes.judged, strict=True)]
    prompts = pl.concat([frame for frame, _ in found])["prompt_id"].rank("dense").to_numpy().astype(np.int64) - 1
    return Labels(np.concatenate([missing for _, missing in found]), prompts)


def _of_run(run: Path, ends: pl.DataFrame, judged: pl.DataFrame, count: int) -> tuple[pl.DataFrame, Numbers]:
    judge = next((name for name in ends["judge"].unique() if name not in TOGETHER), None)
    rows, held = _held(run, judged, count, judge)
    places = {side: ends.join(rows, left_on=f"{side}_id", right_on="completion_id", how="left", maintain_order="left")
              for side in ("chosen", "rejected")}  # fmt: skip
    chosen, rejected = (places[side]["row"] for side in ("chosen", "rejected"))
    known = (chosen.is_not_null() & rejected.is_not_null()).to_numpy()
    missing = held[rejected.to_numpy()[known].astype(np.int64)] - held[chosen.to_numpy()[known].astype(np.int64)]
    return ends.filter(pl.Series(known)).select("prompt_id"), missing


def _pairs(run: Path, min_gap: float) -> pl.DataFrame:
    file = tables.path(run, "pairs")
    if not file.is_file():
        return pl.DataFrame(schema=dict.fromkeys(ENDS, pl.String))
    pairs = tables.read(file, "pairs", [*ENDS, "delta"])
    return pairs.filter(pl.col("delta").round(DECIMALS) > min_gap).select(ENDS)


def _ordered(run: Path, file: Path) -> pl.DataFrame:
    """The pairs of a truth that are no ties, as ENDS."""
    completions = tables.read(tables.find(run, "completions"), "completions", judgements.COMPLETIONS)
    prompts = tables.read(tables.find(run, "prompts"), "prompts", [*judgements.PROMPTS, "source"])
    found = of_truth.of_truth(
        truth.read(file, completions, prompts), completions, prompts.select("prompt_id", "source")
    )
    better, worse = found.better[found.compared], found.worse[found.compared]
    names, prompt = completions["completion_id"], completions["prompt_id"]
    columns = (prompt.gather(better), names.gather(better), names.gather(worse))
    return pl.DataFrame(dict(zip(ENDS, columns, strict=False))).with_columns(judge=pl.lit(TOGETHER[0]))


def _held(run: Path, judged: pl.DataFrame, count: int, judge: str | None) -> tuple[pl.DataFrame, Numbers]:
    """completion_id and ``row``, and for each row [rows, count + 1] the share of its judges that say so."""
    used = judgements.used(tables.read(tables.find(run, "feedback"), "feedback", judgements.READ))
    readable = used.filter(pl.col("wim_status").is_in([str(WimStatus.MISSING), str(WimStatus.NOTHING)]))
    if judge is not None:
        readable = readable.filter(pl.col("judge") == judge)
    joined = readable.with_columns(judgement=said.judgement()).join(judged, on="judgement", how="left")
    nothing = pl.col("wim_status") == str(WimStatus.NOTHING)
    joined = joined.with_columns(feature=pl.when(nothing).then(pl.lit(count)).otherwise("theme")).drop_nulls("feature")
    rows = joined.select("completion_id").unique(maintain_order=True).with_row_index("row")
    places = joined.join(rows, on="completion_id", how="left", maintain_order="left")
    held = np.zeros((len(rows), count + 1))
    np.add.at(held, (places["row"].to_numpy(), places["feature"].to_numpy().astype(np.int64)), 1)
    return rows, held / np.maximum(held.sum(axis=1, keepdims=True), 1)
