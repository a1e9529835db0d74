"""The demo's world, where the truth is known: how many of the asked facts a completion holds.

A completion's features are what the demo's model, as it is, makes of its last token.
"""

from pathlib import Path

import numpy as np
import polars as pl

from bench.harness import ROOT
from bench.reward.graded import Graded, Numbers, of_ratings
from builder.params import Params

EACH = 6
TRUTH = "coverage"


def settings(*sets: str) -> Params:
    from builder import params

    return params.load(ROOT / "params.yaml", [f"complete.n={EACH}", "pair.strategy=all", *sets])


def by_number(limit: int | None = None) -> Graded:
    """The judge's numbers, 1 to 10, are learned from."""
    return _graded("rate.method=numerical", limit)


def by_wim(limit: int | None = None) -> Graded:
    """The cosine with what the judge says is missing is learned from."""
    return _graded("rate.method=wim", limit)


def _graded(method: str, limit: int | None) -> Graded:
    folder, given = judged(method, limit)
    return graded(completions(folder), given)


def judged(method: str, limit: int | None) -> tuple[Path, Params]:
    """A run with ratings and pairs; completions and judgements are kept from one call to the next."""
    from builder import complete, embed, judge, pair, prompts, rate

    given = settings(method, f"prompts.limit={limit or 'null'}")
    folder = Path(method)
    folder.mkdir(exist_ok=True)
    for stage in (prompts, complete, judge, embed, rate, pair):
        stage.run(folder, given)
    return folder, given


def completions(folder: Path) -> pl.DataFrame:
    """completion_id, prompt_id, messages, text, reward (by the run's method), coverage; each text of a prompt once."""
    from builder import evaluate

    prompts = pl.read_parquet(folder / "prompts.parquet", columns=["prompt_id", "messages", "reference"])
    ratings = pl.read_parquet(folder / "ratings.parquet", columns=["completion_id", "reward"])
    rows = pl.read_parquet(folder / "completions.parquet", columns=["completion_id", "prompt_id", "text"])
    rows = rows.unique(["prompt_id", "text"], keep="first", maintain_order=True)
    rows = rows.join(prompts, on="prompt_id", maintain_order="left").join(
        ratings, on="completion_id", maintain_order="left"
    )
    covered = [evaluate.coverage(text, reference) for text, reference in rows.select("text", "reference").iter_rows()]
    return rows.with_columns(coverage=pl.Series(covered, dtype=pl.Float64))


def graded(rows: pl.DataFrame, given: Params) -> Graded:
    """Of ``completions``; all pairs of a prompt."""
    length = np.log1p(rows["text"].str.len_chars().to_numpy())
    reward = rows["reward"].fill_null(float("nan")).to_numpy()
    states, truth = _states(rows, given), rows["coverage"].to_numpy()
    return of_ratings(states, np.ones(states.shape[1]), length, rows["prompt_id"], reward, {TRUTH: truth})


def _states(rows: pl.DataFrame, given: Params) -> Numbers:
    """[completions, size]: the last token's hidden states."""
    import torch

    from builder.reward_model import model as scoring
    from builder.reward_model.tokens import encode

    tokenizer, model = scoring.build(str(ROOT / given.model.name), None, "float32")
    base = getattr(model, model.base_model_prefix)
    found = []
    for messages, text in rows.select("messages", "text").iter_rows():
        tokens, mask, _ = scoring.padded([encode(tokenizer, messages, text, given.train.max_completion)])
        with torch.inference_mode():
            found.append(base(input_ids=tokens, attention_mask=mask)[0][0, -1])
    return torch.stack(found).double().numpy()
