"""publish: pairs -> a dataset folder with its card, and the Hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import polars as pl

from builder import judgements, tables
from builder.errors import TableError, WimError
from builder.params import Params

PUBLISHED = ["README.md", "stats.json", "data/*.parquet", "unprompted/*.parquet", "ratings/*.parquet"]
CARD = Path(__file__).with_name("dataset_card.md")
CONTENTS = {
    "default": "pairs, ready for training",
    "unprompted": "pairs whose prompt is known by its id only: to be audited, not trained on",
    "ratings": "every judgement: completion, feedback, number, cosine, and why it is not ratable if it is not",
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Made:
    """Rows of the configurations of the dataset, and where it was pushed to."""

    pairs: int
    unprompted: int
    ratings: int
    pushed: str | None


def run(runs: Sequence[Path], out: Path, params: Params, repo: str | None = None, push: bool = False) -> Made:
    """Write the dataset of all ``runs`` to ``out``; push it if asked to.

    The default configuration holds the pairs that trainers take as they are. Pairs without the text
    of their prompt are the configuration ``unprompted``; every judgement is in ``ratings``.
    """
    repo = repo or params.publish.repo
    if push and not repo:
        raise WimError("publish: --push needs the name of a dataset: --repo OWNER/NAME or publish.repo")
    for run in runs:
        tables.check_made_from(
            tables.find(run, "pairs"), tables.fingerprints({"ratings": tables.find(run, "ratings")}), "pair"
        )
    pairs = pl.concat([tables.read(tables.find(run, "pairs"), "pairs") for run in runs])
    ratings = pl.concat([_ratings(run) for run in runs], how="diagonal")
    prompted = pl.col("prompt").list.len() > 0
    parts = {"default": pairs.filter(prompted), "unprompted": pairs.filter(~prompted), "ratings": ratings}
    if pairs.is_empty():
        raise TableError("publish: the runs hold no pair; `wim stats` tells what became of their prompts")
    if pairs["pair_id"].is_duplicated().any():
        raise TableError("publish: the same pair is in several of the runs; give each its own --arm or --round")
    inputs = {f"{name}{i}": tables.find(run, name) for i, run in enumerate(runs) for name in ("pairs", "ratings")}
    about = tables.metadata("publish", {}, inputs)
    for name, frame in parts.items():
        file = out / _file(name)
        if len(frame):
            tables.write(file, "pairs" if name != "ratings" else "ratings", frame, about)
        else:
            file.unlink(missing_ok=True)
    stats = {label: tables.read_json(run / "stats.json") for label, run in _labelled(runs).items()}
    tables.write_json(out / "stats.json", stats)
    tables.write_text(out / "README.md", card(parts, stats, repo))
    pushed = _push(out, repo) if push and repo else None
    return Made(len(parts["default"]), len(parts["unprompted"]), len(ratings), pushed)


def _file(name: str) -> str:
    return f"{'data' if name == 'default' else name}/train-00000-of-00001.parquet"


def _ratings(run: Path) -> pl.DataFrame:
    """Every judgement with its words: the ratings table, and the completion and feedback behind each row."""
    ratings = tables.read(tables.find(run, "ratings"), "ratings")
    completions = tables.read(tables.find(run, "completions"), "completions", ["completion_id", "text", "policy"])
    feedback = judgements.used(tables.read(tables.find(run, "feedback"), "feedback", judgements.FEEDBACK))
    feedback = feedback.select("completion_id", "judge", "wim_status", feedback=pl.col("wim"))
    completions = completions.rename({"text": "completion"})
    joined = ratings.join(completions, on="completion_id", how="left", maintain_order="left")
    joined = joined.join(feedback, on=["completion_id", "judge"], how="left", maintain_order="left")
    arm, index = _named(run)
    return joined.with_columns(pl.lit(arm).alias("arm"), pl.lit(index, pl.Int32).alias("round"))


def _named(run: Path) -> tuple[str, int]:
    """Arm and round of a run, as its pairs say; an import without a pair has none."""
    names = tables.read(tables.find(run, "pairs"), "pairs", ["arm", "round"]).unique()
    return names.row(0) if len(names) == 1 else ("", 0)


def _labelled(runs: Sequence[Path]) -> dict[str, Path]:
    """Runs by arm and round or by folder; by their path where that is not enough."""
    labels = {run: f"{arm} round {index}" if arm else run.name for run in runs for arm, index in [_named(run)]}
    several = len(set(labels.values())) < len(labels)
    return {str(run) if several else label: run for run, label in labels.items()}


def card(parts: Mapping[str, pl.DataFrame], stats: Mapping[str, Any], repo: str | None) -> str:
    """The dataset card: YAML that the Hub and `datasets` read, and what the columns are."""
    held = {name: len(frame) for name, frame in parts.items() if len(frame)}
    pairs = sum(count for name, count in held.items() if name != "ratings")
    config = "- config_name: {0}\n  data_files:\n  - split: train\n    path: {1}\n"
    return Template(CARD.read_text(encoding="utf-8")).substitute(
        title=(repo or "What-Is-Missing preference pairs").split("/")[-1],
        repo=repo or "FOLDER",
        first=next(iter(held)),
        count=f"{pairs:,}",
        size=next((name for limit, name in SIZES if pairs < limit), "n>1M"),
        configs="".join(config.format(name, _file(name)) for name in held),
        contents="\n".join(f"| {name} | {count:,} | {CONTENTS[name]} |" for name, count in held.items()),
        statistics=_statistics(stats),
    )


def _statistics(stats: Mapping[str, Any]) -> str:
    head = (
        "| run | method | judged pairs | ties | average delta | normalised | effect |\n|---|---|---|---|---|---|---|\n"
    )
    rows = []
    for run, entry in stats.items():
        for method, s in entry["methods"].items():
            rates = [f"{s['tie_rate']:.2%}"] if s["tie_rate"] is not None else ["-"]
            rates += [
                "-" if s[k] is None else f"{s[k]:.3f}" for k in ("average_delta", "normalised_delta", "effect_delta")
            ]
            rows.append(f"| {run} | {method} | {s['judged_pairs']:,} | {' | '.join(rates)} |")
    return head + "\n".join(rows)


def _push(folder: Path, repo: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # of its HTTP client, which differs from version to version

    try:
        api = HfApi()
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, repo_type="dataset", allow_patterns=PUBLISHED)
    except (HTTPError, OSError, ValueError) as error:  # the Hub's own errors are of these
        raise WimError(f"publish: pushing to {repo} failed: {tables.first_line(error)}") from error
    return repo
