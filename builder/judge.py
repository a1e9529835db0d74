"""judge: completions -> feedback.parquet. Every attempt is kept; the judge's words stay beside the reading."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import generate, ids, judgements, models, plugins, policy, tables
from builder.engines import Request, Sampling
from builder.errors import EngineError, TableError
from builder.judges import Judge, Reading
from builder.params import Model, Params, as_dict
from builder.policy import Policy
from builder.statuses import RatingStatus, Reason, WimStatus


@dataclass(frozen=True)
class Made:
    """Judgements by what their text is; ``attempts`` counts every answer asked for."""

    judgements: int
    attempts: int
    missing: int
    nothing: int
    unreadable: int


def run(folder: Path, params: Params, policy_folder: Path | None = None) -> Made:
    """Write feedback.parquet. ``judged_by``: ``base``, ``current`` (the policy of ``policy_folder``) or a model."""
    files = {name: tables.find(folder, name) for name in ("prompts", "completions")}
    prompts = tables.read(files["prompts"], "prompts", ["prompt_id", "messages"])
    completions = tables.read(files["completions"], "completions", judgements.COMPLETIONS)
    asked_about = prompts.join(completions, on="prompt_id", how="semi")
    tables.check_prompted(asked_about, "judged")
    if completions["prompt_id"].n_unique() > len(asked_about):
        raise TableError(f"{files['completions']}: a completion's prompt is not in {files['prompts']}")
    params, by = _who(params, policy_folder)
    frame = judge(prompts, completions, by, params)
    asked = as_dict(params.judge) | {"model": models.label(by.model)}
    settings = {"judge": asked, "engine": params.engine.name, "seed": params.seed}
    about = tables.metadata("judge", settings, files, policy=by.about())
    tables.write(tables.path(folder, "feedback"), "feedback", frame, about)
    counts = dict(judgements.used(frame).group_by("wim_status").len().iter_rows())
    return Made(frame["completion_id"].n_unique(), len(frame), *(counts.get(str(s), 0) for s in list(WimStatus)[:3]))


def _who(params: Params, policy_folder: Path | None) -> tuple[Params, Policy]:
    """The parameters with the judge's own engine, and the policy that judges."""
    if params.judge.structured:
        raise EngineError(f"judge.structured is not something the engine {params.engine.name} can do; set it to false")
    if params.judge.engine:
        params = dataclasses.replace(params, engine=dataclasses.replace(params.engine, name=params.judge.engine))
    model = Model(params.judge.model) if params.judge.model else params.model
    if params.judged_by == "base":
        return params, policy.base(model)
    if params.judged_by == "current":
        return params, policy.read(policy_folder, params.model)
    return params, policy.base(Model(params.judged_by))


def judge(prompts: pl.DataFrame, completions: pl.DataFrame, by: Policy, params: Params) -> pl.DataFrame:
    """The feedback table: every completion is asked about, unreadable answers up to ``judge.attempts`` times."""
    judge: Judge = plugins.load("judges", params.judge.name).Judge(params.rating.scale)
    messages = dict(prompts.iter_rows())
    asked = completions.sort("completion_id")
    engine = generate.Lazy(params)
    frames = []
    for attempt in range(params.judge.attempts):
        rows = _attempt(judge, asked, messages, attempt, by, params, engine)
        frames.append(_frame(rows, attempt, params.judge.name))
        unreadable = frames[-1].filter(_to_ask_again())["completion_id"]
        asked = asked.filter(pl.col("completion_id").is_in(unreadable.implode()))
        if asked.is_empty():
            break
    return pl.concat(frames).sort("completion_id", "judge", "attempt")


def _to_ask_again() -> pl.Expr:
    """Neither an empty completion nor one beyond the context is mended by asking again."""
    final = [str(Reason.EMPTY_COMPLETION), str(Reason.TOO_LONG)]
    return (pl.col("wim_status") == str(WimStatus.UNREADABLE)) & ~pl.col("reason").is_in(final)


def _attempt(
    judge: Judge,
    asked: pl.DataFrame,
    prompts: Mapping[str, Any],
    attempt: int,
    by: Policy,
    params: Params,
    engine: generate.Lazy,
) -> list[tuple[str, str | None, Reading]]:
    rows = list(asked.iter_rows())
    judged = [row for row in rows if row[2].strip()]
    requests = [
        Request(
            tuple(judge.messages(prompts[prompt], text)),
            by,
            ids.seed_of(params.seed, name, attempt),
            _sampling(params, attempt),
        )
        for name, prompt, text in judged
    ]
    answers = generate.generate(
        "judge", [f"{row[0]} {attempt}" for row in judged], requests, params, f"judge, attempt {attempt}", engine
    ).to_pylist()
    readings = {row[0]: _read(judge, answer) for row, answer in zip(judged, answers, strict=True)}
    empty = (None, Reading(None, WimStatus.UNREADABLE, None, RatingStatus.ABSENT, Reason.EMPTY_COMPLETION))
    return [(row[0], *readings.get(row[0], empty)) for row in rows]


def _sampling(params: Params, attempt: int) -> Sampling:
    """The first attempt as set; a retry is drawn at the retry temperature, or it would say the same again."""
    settings = params.judge
    if attempt:
        return Sampling(settings.retry_temperature, settings.max_tokens)
    return Sampling(settings.temperature, settings.max_tokens, contrastive=settings.contrastive)


def _read(judge: Judge, answer: Mapping[str, Any]) -> tuple[str, Reading]:
    if answer["reason"]:
        reason = Reason(answer["reason"])
        return answer["text"], Reading(None, WimStatus.UNREADABLE, None, RatingStatus.UNREADABLE, reason)
    return answer["text"], judge.read(answer["text"], answer["finish_reason"])


def _frame(rows: Sequence[tuple[str, str | None, Reading]], attempt: int, judge: str) -> pl.DataFrame:
    readings = [reading for _, _, reading in rows]
    return pl.DataFrame(
        {
            "completion_id": pl.Series([name for name, _, _ in rows], dtype=pl.String),
            "judge": pl.Series([judge] * len(rows), dtype=pl.String),
            "attempt": pl.Series([attempt] * len(rows), dtype=pl.Int16),
            "raw": pl.Series([raw for _, raw, _ in rows], dtype=pl.String),
            "rating": pl.Series([r.rating for r in readings], dtype=pl.Float64),
            "rating_status": pl.Series([str(r.rating_status) for r in readings], dtype=pl.String),
            "wim": pl.Series([r.wim for r in readings], dtype=pl.String),
            "wim_status": pl.Series([str(r.wim_status) for r in readings], dtype=pl.String),
            "reason": pl.Series([str(r.reason) if r.reason else None for r in readings], dtype=pl.String),
            "scale_min": pl.Series([None] * len(rows), dtype=pl.Float64),
            "scale_max": pl.Series([None] * len(rows), dtype=pl.Float64),
        }
    )
