"""sft: refinements or pairs -> sft.parquet: prompt and completion as TRL's SFTTrainer reads them.

``imitation`` (ILF, Scheurer et al., 2023, arXiv 2303.16755): of each prompt the refinement that best takes up the
feedback. ``hindsight`` (chain of hindsight, Liu et al., 2023, arXiv 2302.02676): a better and a worse answer one after
the other, in either order, each told by feedback. A chain is two rows, since the loss is over answers and not over what
is said of them: the first answer given the prompt, and the second given all before it. What the policy is told is
what `wim refine` tells it; only a better answer that comes first is asked for by the plain prompt, so that the trained
policy gives better ones where nobody says anything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from builder import embed, ids, judgements, refined, rewrite, tables
from builder.compare import DECIMALS, check_judge, comparable
from builder.errors import TableError
from builder.language.chat import Message
from builder.params import Params
from builder.params.blocks import as_dict
from builder.ratings.wim import cosines
from builder.statuses import WimStatus
from builder.streams import parts, spans
from builder.streams.by_hash import sorter
from builder.streams.parts import Part

COLUMNS = tables.SCHEMAS["sft"].names
HELD = 16_384
"""Rows that are written at once."""


@dataclass(frozen=True)
class Made:
    """``rows`` to learn from, of ``prompts``; ``untold``: pairs left out, of which no text says what is missing."""

    rows: int
    prompts: int
    untold: int


def run(folder: Path, params: Params) -> Made:
    """Write sft.parquet, part by part. Raises TableError if a table is not there, or nothing is there to learn from."""
    hindsight = params.sft.form == "hindsight"
    names = ("prompts", "completions", "feedback", "ratings", *(["pairs"] if hindsight else []))
    files = {name: tables.find(folder, name) for name in names}
    before = tables.fingerprints(files)
    for name, stage in {"feedback": "judge", "ratings": "rate", "pairs": "pair"}.items():
        if name in files:
            tables.check_made_from(files[name], before, stage)
    form = _Chains(folder, params) if hindsight else _Imitated(folder, params)
    how = {"judge": params.pair.judge, "min_gap": params.pair.min_gap}
    settings = {"sft": as_dict(params.sft), "pair": how, "seed": params.seed}
    about = tables.metadata("sft", settings, files)
    count, asked = 0, 0
    with sorter(folder, "row_id") as rows:
        for part in parts.read(files):
            tables.check_prompted(part.prompts, "learned from")
            made = _frame(form, part)
            count, asked = count + len(made), asked + made["prompt_id"].n_unique()
            rows.add(made)
        if not count:
            raise TableError(f"{folder}: {form.nothing}")
        tables.check_unchanged(about["inputs"], before)
        groups = (group.rechunk() for group in spans.even(rows.frames(), HELD))
        tables.write_blocks(tables.path(folder, "sft"), "sft", groups, about)
    return Made(count, asked, form.untold)


class _Imitated:
    """Of each prompt the best refinement."""

    nothing = "holds no refinement that could be imitated: `wim refine` makes them, in a run folder of its own"
    untold = 0

    def __init__(self, folder: Path, params: Params) -> None:
        self.params, self.refined = params, refined.read(folder)
        judges = tables.read(tables.find(folder, "ratings"), "ratings", ["judge", "reward"])
        if params.sft.by == "reward":
            check_judge(params.pair.judge, judges["judge"])
        self.several = judges.drop_nulls("reward")["judge"].n_unique() > 1

    def __call__(self, part: Part) -> Iterator[dict[str, Any]]:
        made = part.completions.filter(~judgements.is_empty(pl.col("text"))).join(self.refined, on="completion_id")
        if made.is_empty():
            return
        made = made.join(self._values(made, part), on="completion_id")
        best = made.drop_nulls("value").sort("value", "completion_id", descending=[True, False])
        prompts = dict(part.prompts.iter_rows())
        for row in best.unique("prompt_id", keep="first", maintain_order=True).iter_rows(named=True):
            yield _row(
                row["completion_id"], prompts[row["prompt_id"]], row["text"], row["prompt_id"], row["completion_id"],
                row["refined_from"], row["refined_feedback"], row["value"],
            )  # fmt: skip

    def _values(self, made: pl.DataFrame, part: Part) -> pl.DataFrame:
        """completion_id, value: the reward, or the cosine of a refinement in ``made`` and the feedback it takes up."""
        if self.params.sft.by == "reward":
            rated = comparable(part.ratings, part.completions, "reward", self.params.pair.judge, self.several)
            return rated.select("completion_id", "value")
        found = embed.embed(list(dict.fromkeys([*made["text"], *made["refined_feedback"]])), self.params.embed)
        vectors = dict(zip(found["text_id"].to_pylist(), found["embedding"].to_pylist(), strict=True))
        sides = [
            np.array([vectors[ids.text_id(text)] for text in made[c]], np.float32) for c in ("text", "refined_feedback")
        ]
        return made.select("completion_id", value=pl.Series(cosines(*sides)).fill_nan(None))


class _Chains:
    """Of each pair a better and a worse answer, in an order that its id decides."""

    nothing = "holds no pair of which a text says what the rejected completion lacks"

    def __init__(self, folder: Path, params: Params) -> None:
        self.seed, self.untold = params.seed, 0
        columns = ["pair_id", "prompt_id", "chosen_id", "rejected_id", "delta"]
        pairs = tables.read(tables.find(folder, "pairs"), "pairs", columns)
        self.pairs = pairs.filter(pl.col("delta").round(DECIMALS) > params.pair.min_gap)  # ties may have been kept

    def __call__(self, part: Part) -> Iterator[dict[str, Any]]:
        texts = dict(part.completions.select("completion_id", "text").iter_rows())
        prompts, lacks = dict(part.prompts.iter_rows()), _lacks(part.feedback)
        here = self.pairs.join(part.prompts, on="prompt_id", how="semi")
        for name, prompt_id, chosen, rejected, delta in here.iter_rows():
            if rejected not in lacks:
                self.untold += 1
                continue
            prompt, missing = prompts[prompt_id], lacks[rejected]
            again = rewrite.messages(prompt, texts[rejected], missing)
            turns = [(rewrite.worse(prompt, missing), rejected, chosen), (again, chosen, rejected)]
            if ids.uniform_of(self.seed, name) < 0.5:
                turns = [(prompt, chosen, rejected), (rewrite.worse(prompt, missing, texts[chosen]), rejected, chosen)]
            for place, (asked, own, other) in enumerate(turns):
                yield _row(f"{name}-{place}", asked, texts[own], prompt_id, own, other, missing, delta)


def _lacks(feedback: pl.DataFrame) -> dict[str, str]:
    """What all judges say is missing, by completion."""
    said = feedback.filter(pl.col("wim_status") == str(WimStatus.MISSING)).sort("completion_id", "judge")
    return dict(said.group_by("completion_id", maintain_order=True).agg(pl.col("wim").str.join("\n\n")).iter_rows())


def _row(
    row_id: str, asked: Sequence[Message], text: str, prompt_id: str, own: str, other: str, feedback: str, score: float
) -> dict[str, Any]:
    said = [{"role": "assistant", "content": text}]
    values = (row_id, asked, said, prompt_id, own, other, feedback, score)
    return dict(zip(COLUMNS, values, strict=True))


def _frame(form: _Imitated | _Chains, part: Part) -> pl.DataFrame:
    return pl.DataFrame(list(form(part)), schema=pl.Schema(tables.SCHEMAS["sft"]))
