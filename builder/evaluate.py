"""evaluate: completions of heldout.parquet by a policy and by the base model, scored by ``reference``.

They are greedy or, with ``evaluate.best_by``, the best of ``evaluate.n`` that are drawn: the one to which a reward
model gives most, of the policy as of the base model.

The value of a completion is its coverage: the share of the reference's lines that it contains, case
and white space aside. A reference of one line gives 0 or 1; without a reference there is no value, and
the completions are there for `wim winrate`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from builder import best_of, generate, ids, sources, tables
from builder.engines import Request, Sampling
from builder.language import policy
from builder.language.policy import Policy
from builder.params import Evaluate, Params
from builder.reward_model import scores

RESAMPLES = 10_000
AT_ONCE = 100


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> dict[str, Any]:
    """Write evaluation.parquet and evaluation.json for RUN/policy, or the policy that is given."""
    heldout = tables.read(tables.find(folder, "heldout"), "heldout").sort("prompt_id")
    own = folder / "policy"
    by = policy.read(policy_folder or (own if own.is_dir() else None), params.model)
    if policy_folder is None and not own.is_dir():
        print(f"{own} does not exist: the base model is compared with itself", file=sys.stderr)
    base = policy.base(params.model)
    frame = _both(heldout, by, base, params)
    scored = frame.drop_nulls("value")
    if len(scored) < len(frame):
        told = f"{len(frame) - len(scored):,} of {len(frame):,} prompts have no reference to be scored by"
        print(f"{told}: `wim winrate` has a judge compare them", file=sys.stderr)
    result = summarise(scored["value"].to_numpy(), scored["base_value"].to_numpy(), params.seed)
    if params.evaluate.best_by:
        result |= _choice(scored, params.seed)
    settings = {"evaluate": _told(params.evaluate), "engine": params.engine.name, "seed": params.seed}
    asked = {"best_by": scores.identity(Path(params.evaluate.best_by), params)} if params.evaluate.best_by else {}
    inputs = {"heldout": tables.find(folder, "heldout")}
    about = tables.metadata("evaluate", settings, inputs, policy=by.about(), **asked)
    tables.write(tables.path(folder, "evaluation"), "evaluation", frame, about)
    tables.write_json(folder / "evaluation.json", result)
    return result


def _told(settings: Evaluate) -> dict[str, Any]:
    """The block as metadata tells it: without the reward model's folder, of greedy completions only what they read."""
    told = vars(settings)
    return {name: told[name] for name in (("max_tokens", "n", "temperature") if settings.best_by else ("max_tokens",))}


def _choice(scored: pl.DataFrame, seed: int) -> dict[str, Any]:
    """``choice``: how much better the chosen completion is than the mean of all that it was chosen from, by prompt."""
    if scored.is_empty():
        return {}
    gain = (scored["value"] - scored["drawn"]).to_numpy()
    (low,), (high,) = bootstrap(gain[None], seed)
    return {"choice": {"mean": float(scored["drawn"].mean()), "difference": float(gain.mean()),  # type: ignore[arg-type]
                       "difference_low": float(low), "difference_high": float(high)}}  # fmt: skip


def _both(heldout: pl.DataFrame, by: Policy, base: Policy, params: Params) -> pl.DataFrame:
    """The evaluation table: the policy's completions and, beside them, the base model's of the same prompts."""
    engine = sources.source(params, [by, base])
    made = best if params.evaluate.best_by else evaluate
    policys, bases = (made(heldout, each, params, engine) for each in (by, base))
    names = [ids.completion_id(name, 0) for name in heldout["prompt_id"]]
    return pl.DataFrame({"prompt_id": heldout["prompt_id"], "completion_id": names}, schema_overrides=_IDS).hstack(
        [*policys, *(column.alias(f"base_{column.name}") for column in bases)]
    )


_IDS = {"prompt_id": pl.String, "completion_id": pl.String}


def evaluate(heldout: pl.DataFrame, by: Policy, params: Params, engine: generate.Lazy) -> list[pl.Series]:
    """The columns ``value`` (null without a reference) and ``text`` of the policy's greedy completions."""
    sampling = Sampling(0.0, params.evaluate.max_tokens)
    requests = (Request(tuple(messages), by, 0, sampling) for messages in heldout["messages"])
    done = generate.generate("evaluate", requests, len(heldout), by, engine, "evaluate")
    texts = [text for block in done.blocks(columns=["text"]) for text in block["text"].to_pylist()]
    references = heldout["reference"].to_list()
    values = [None if r is None else coverage(text, r) for text, r in zip(texts, references, strict=True)]
    return [pl.Series("value", values, pl.Float64), pl.Series("text", texts, pl.String)]


def best(heldout: pl.DataFrame, by: Policy, params: Params, engine: generate.Lazy) -> list[pl.Series]:
    """As ``evaluate``, of the best of those drawn (builder.best_of), with their ``reward``.

    ``drawn``: the mean value of all, which is what choosing by chance gives.
    """
    made = best_of.best_of(heldout, by, params, engine)
    values, means = list[float | None](), list[float | None]()
    for text, drawn, wanted in zip(made["text"], made["drawn"], heldout["reference"], strict=True):
        values.append(None if wanted is None else coverage(text, wanted))
        means.append(None if wanted is None else float(np.mean([coverage(each, wanted) for each in drawn])))
    return [pl.Series("value", values, pl.Float64), made["text"], made["reward"], pl.Series("drawn", means, pl.Float64)]


def coverage(text: str, reference: str) -> float:
    """Share in [0, 1] of the reference's lines that ``text`` contains."""
    plain = " ".join(text.casefold().split())
    lines = [" ".join(line.casefold().split()) for line in reference.splitlines() if line.strip()]
    return sum(line in plain for line in lines) / len(lines) if lines else 0.0


def summarise(values: NDArray[np.float64], base: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Means with 95% intervals by the percentile bootstrap over prompts; the difference is paired by prompt.

    Without a held-out prompt there is only ``n``, which is 0.
    """
    result: dict[str, Any] = {"n": len(values)}
    if not len(values):
        return result
    numbers = np.stack([values, base, values - base])
    low, high = bootstrap(numbers, seed)
    for i, prefix in enumerate(("", "base_")):
        result |= {
            f"{prefix}mean": float(numbers[i].mean()),
            f"{prefix}low": float(low[i]),
            f"{prefix}high": float(high[i]),
        }
    result |= {
        "difference": float(numbers[2].mean()),
        "difference_low": float(low[2]),
        "difference_high": float(high[2]),
    }
    return result


def bootstrap(numbers: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """95% intervals [2, rows] of each row's mean, by the percentiles of resampled columns: one draw serves all rows."""
    count = numbers.shape[1]
    generator = np.random.default_rng(seed)
    draws = (generator.integers(0, count, (AT_ONCE, count)) for _ in range(RESAMPLES // AT_ONCE))
    means = np.concatenate([numbers[:, draw].mean(axis=2) for draw in draws], axis=1)
    interval: NDArray[np.float64] = np.quantile(means, [0.025, 0.975], axis=1)
    return interval
