"""What the tables of a run that is there already say of the next one: lengths, repeated questions, sizes, speed."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from builder import tables
from builder.errors import TableError


@dataclass(frozen=True)
class Generated:
    """Rows of a table of texts: means of the tokens read and generated, and by whom."""

    rows: int
    read: float
    tokens: float
    by: str


@dataclass(frozen=True)
class Known:
    """``repeated``: answers asked for, per judgement; ``distinct``: share of the texts that no other text is equal to,
    as embedded; ``paired``: pairs per prompt; ``train_rate``: tokens per second of one training process.
    ``bytes_per_row`` by table. None, or absent: the run does not say.
    """

    complete: Generated | None = None
    judge: Generated | None = None
    repeated: float | None = None
    distinct: float | None = None
    embedded_tokens: float | None = None
    paired: float | None = None
    train_rate: float | None = None
    bytes_per_row: dict[str, float] | None = None


def read(folder: Path | None) -> Known:
    """Raises TableError where there is no such folder, or a table in it is damaged."""
    if folder is None:
        return Known()
    if not folder.is_dir():
        raise TableError(f"{folder}: there is no such run folder; leave it out to plan by the parameters alone")
    there = {
        name: file for name in tables.SCHEMAS | {"embeddings": None} if (file := tables.path(folder, name)).is_file()
    }
    rows = {name: tables.open_parquet(file).metadata.num_rows for name, file in there.items()}
    judged, answers = _judged(there)
    embedded = rows.get("embeddings", 0)
    return Known(
        _generated(there.get("completions"), rows.get("completions", 0)),
        _generated(there.get("feedback"), answers),
        answers / judged if judged else None,
        embedded / (rows["completions"] + judged) if embedded and judged else None,
        _embedded_tokens(there.get("embeddings")) if embedded else None,
        rows["pairs"] / prompts if "pairs" in rows and (prompts := _prompts(folder)) else None,
        _train_rate(there.get("throughput")),
        {name: there[name].stat().st_size / count for name, count in rows.items() if count},
    )


def _generated(file: Path | None, rows: int) -> Generated | None:
    """None for texts that no engine of ours has made, or not all: nobody has counted their tokens."""
    if file is None or not rows:
        return None
    about = tables.read_metadata(file)
    usage = about.get("usage") or {}
    makers = about.get("jury", [about])
    if not usage.get("tokens") or not all("policy" in each for each in makers):  # imported, and then refined
        return None
    by = [each["policy"]["model"] for each in makers]
    return Generated(rows, usage["prompt_tokens"] / rows, usage["tokens"] / rows, ", ".join(dict.fromkeys(by)))


def _judged(there: dict[str, Path]) -> tuple[int, int]:
    """Questions that a judge was asked, and the answers that it took: every attempt counts."""
    name, key = ("comparisons", ["a", "b", "judge", "order"]) if "comparisons" in there else ("feedback", [])
    if name not in there:
        return 0, 0
    key = key or ["completion_id", "judge"]
    answers = tables.read(there[name], name, [*key, "raw"]).filter(pl.col("raw").is_not_null())
    return answers.select(key).n_unique(), len(answers)


def _embedded_tokens(file: Path | None) -> float:
    assert file is not None
    mean = pl.read_parquet(file, columns=["tokens"])["tokens"].mean()
    assert isinstance(mean, float)
    return mean


def _prompts(folder: Path) -> int:
    try:
        return int(tables.open_parquet(tables.find(folder, "prompts")).metadata.num_rows)
    except TableError:
        return 0


def _train_rate(file: Path | None) -> float | None:
    """Of one process; the first step, which warms up, is left out where there are others."""
    if file is None:
        return None
    steps = tables.read(file, "throughput", ["tokens", "seconds"])
    steps = steps[1:] if len(steps) > 1 else steps
    launch = tables.read_metadata(file).get("params", {}).get("train", {}).get("launch", {})
    seconds = float(steps["seconds"].sum())
    return float(steps["tokens"].sum()) / seconds / launch.get("processes", 1) if seconds else None
