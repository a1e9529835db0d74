"""How the report's runs were made, as their tables say."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import page
from analysis.runs import Run
from builder import tables

TABLES = ("completions", "feedback", "embeddings", "ratings", "pairs", "training")
WANTED = {
    "Completed by": ("completions", ("policy", "model")),
    "Completions of a prompt": ("completions", ("params", "complete", "n")),
    "Temperature": ("completions", ("params", "complete", "temperature")),
    "Refined by": ("completions", ("refined_by", "policy", "model")),
    "Judge": ("feedback", ("params", "judge", "name")),
    "Judged by": ("feedback", ("policy", "model")),
    "Embedder": ("embeddings", ("params", "model")),
    "Long texts for the embedder": ("embeddings", ("params", "truncation")),
    "Rated by": ("ratings", ("params", "rate", "method")),
    "Zeta": ("ratings", ("params", "rate", "zeta")),
    "Scale of the number": ("ratings", ("params", "rating", "scale")),
    "Pairs chosen by": ("pairs", ("params", "pair", "strategy")),
    "Ties are": ("pairs", ("params", "pair", "ties")),
    "Smallest gap": ("pairs", ("params", "pair", "min_gap")),
    "Judges together": ("pairs", ("params", "pair", "judge")),
    "Loss": ("training", ("params", "train", "loss")),
    "Beta": ("training", ("params", "train", "beta")),
    "Reference of the training": ("training", ("params", "train", "reference")),
    "Made by": ("ratings", ("created_by",)),
}


def section(runs: Sequence[Run], drawn_with: int) -> str:
    """A row for each setting that some table names, a column for each run."""
    said = [_said(run) for run in runs]
    rows = [[title, *(_cell(one, *where) for one in said)] for title, where in WANTED.items()]
    rows.append(["Seed", *("–" if run.seed() is None else str(run.seed()) for run in runs)])
    known = [row for row in rows if set(row[1:]) != {"–"}]
    note = (
        f"As the runs' tables say; what they do not say is left out. Samples and themes are drawn by seed {drawn_with}."
    )
    table = page.table(["Setting", *(run.label for run in runs)], known)
    return page.section("How this was made", note, page.folded("Settings of each run", table) if known else " ")


def _said(run: Run) -> dict[str, Mapping[str, Any]]:
    files = {name: tables.path(run.path, name) for name in TABLES}
    return {name: tables.read_metadata(file) for name, file in files.items() if file.is_file()}


def _cell(said: Mapping[str, Mapping[str, Any]], table: str, keys: Sequence[str]) -> str:
    value: Any = said.get(table, {})
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return " to ".join(f"{one:g}" for one in value)
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
