"""prompts: sources -> prompts.parquet, and heldout.parquet for `wim evaluate`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import ids, records, tables
from builder.errors import InputError
from builder.params import Params
from builder.policy import ROOT
from builder.records import Bad, FieldError, Record


@dataclass(frozen=True)
class Made:
    """What became of the records: prompts in, duplicates and bad ones counted."""

    prompts: int
    heldout: int
    duplicates: int
    rejected: int


def run(folder: Path, params: Params) -> Made:
    """Write prompts.parquet and, where there is a source for it, heldout.parquet."""
    settings = params.prompts
    frame, duplicates, bad = collect(read(settings.source), settings.limit)
    heldout, more, more_bad = collect(read(settings.heldout) if settings.heldout else [], None)
    records.write_rejected(folder / "rejected.jsonl", bad + more_bad)
    if frame.is_empty():
        raise InputError(f"{settings.source}: no usable prompt" + (f"; the first fault: {bad[0]}" if bad else ""))
    shared = set(frame["prompt_id"]) & set(heldout["prompt_id"])
    if shared:
        raise InputError(
            f"{settings.heldout}: {len(shared)} prompts are also in {settings.source}, such as {min(shared)}"
        )
    about = tables.metadata("prompts", {"limit": settings.limit}, {})
    tables.write(tables.path(folder, "prompts"), "prompts", frame, about)
    if settings.heldout:
        tables.write(tables.path(folder, "heldout"), "heldout", heldout, about)
    return Made(len(frame), len(heldout), duplicates + more, len(bad) + len(more_bad))


def read(source: str) -> Iterator[Record | Bad]:
    """Records of a file, or of a dataset on the Hub (its split ``train``, or ``name:split``)."""
    file = next((path for path in (Path(source), ROOT / source) if path.is_file()), None)
    if file:
        return records.read(file)
    if Path(source).suffix or source.count("/") != 1:
        raise InputError(f"{source}: no such file, and no name of a dataset on the Hub (owner/name)")
    return _hub(source)


def _hub(source: str) -> Iterator[Record | Bad]:
    import datasets

    name, _, split = source.partition(":")
    try:
        rows = datasets.load_dataset(name, split=split or "train")
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be loaded from the Hub: {str(error).splitlines()[0]}") from error
    return (Record(Path(name), number, row) for number, row in enumerate(rows, 1))


def collect(found: Iterable[Record | Bad], limit: int | None) -> tuple[pl.DataFrame, int, list[Bad]]:
    """The prompts table (sorted by id), how many records were duplicates, and the bad records."""
    rows: dict[str, dict[str, Any]] = {}
    duplicates, bad = 0, []
    for record in found:
        if limit is not None and len(rows) >= limit:
            break
        if isinstance(record, Bad):
            bad.append(record)
            continue
        try:
            row = _row(record.fields)
        except FieldError as error:
            bad.append(records.bad(record, error))
            continue
        duplicates += row["prompt_id"] in rows
        rows.setdefault(row["prompt_id"], row)
    schema = pl.from_arrow(tables.SCHEMAS["prompts"].empty_table())
    assert isinstance(schema, pl.DataFrame)
    return pl.DataFrame([rows[key] for key in sorted(rows)], schema=schema.schema), duplicates, bad


def _row(fields: Any) -> dict[str, Any]:
    field = "messages" if fields.get("prompt") is None and "messages" in fields else "prompt"
    messages = records.messages(fields, field)
    if messages is None:
        raise FieldError("prompt", "is required")
    return {
        "prompt_id": records.text(fields, "prompt_id") or ids.prompt_id(messages),
        "messages": messages,
        "source": records.text(fields, "source") or "",
        "reference": records.text(fields, "reference"),
    }
