"""prompts: sources -> prompts.parquet, and heldout.parquet for `wim evaluate`."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from builder import decontaminate, ids, records, tables
from builder.errors import InputError
from builder.language.models import ROOT
from builder.params import Params
from builder.records import Bad, FieldError, Record, Rejected


@dataclass(frozen=True)
class Made:
    """What became of the records: prompts in, duplicates and bad ones counted.

    ``prompt_conflicts``: prompt ids that came with more than one prompt. ``contaminated``: prompts left out since
    they nearly repeat one of a benchmark; contaminated.parquet has them with what they repeat.
    """

    prompts: int
    heldout: int
    duplicates: int
    rejected: int
    prompt_conflicts: int
    contaminated: int = 0


def run(folder: Path, params: Params) -> Made:
    """Write prompts.parquet, and heldout.parquet, which is empty without a source for it.

    Raises InputError if a source cannot be read or holds no usable prompt, or if the two share prompts.
    """
    settings = params.prompts
    rejected = Rejected()
    frame, duplicates, conflicts = collect(read(settings.source), settings.limit, rejected)
    heldout, more, more_conflicts = collect(read(settings.heldout) if settings.heldout else [], None, rejected)
    rejected.write(folder / "rejected.jsonl")
    for source, found in ((settings.source, frame), (settings.heldout, heldout)):
        if source and found.is_empty():
            fault = f"; the first fault: {rejected.records[0]}" if rejected.records else ""
            raise InputError(f"{source}: no usable prompt{fault}")
    _check_apart(frame, heldout, settings.source, settings.heldout or "")
    contaminated = _contaminated(folder, frame, params)
    frame = contaminated.without(frame)
    if frame.is_empty():
        raise InputError(f"{settings.source}: every prompt nearly repeats one of prompts.decontaminate")
    for name, table, source in (("prompts", frame, settings.source), ("heldout", heldout, settings.heldout)):
        file = _file(source) if source else None
        how = {"limit": settings.limit} | ({"decontaminate": len(contaminated)} if settings.decontaminate else {})
        about = tables.metadata("prompts", how, {"source": file} if file else {})
        tables.write(tables.path(folder, name), name, table, about)
    bad = len(rejected.records)
    return Made(len(frame), len(heldout), duplicates + more, bad, conflicts + more_conflicts, len(contaminated))


def _contaminated(folder: Path, prompts: pl.DataFrame, params: Params) -> decontaminate.Contaminated:
    """Those that nearly repeat a benchmark's; told in a table of their own, which is there only if there are any."""
    settings, told = params.prompts, folder / "contaminated.parquet"
    told.unlink(missing_ok=True)
    if not settings.decontaminate:
        return decontaminate.NONE
    untold = Rejected(further="not told")
    benchmarks = {source: collect(read(source), None, untold)[0] for source in settings.decontaminate}
    found = decontaminate.find(prompts, benchmarks, settings.near, params.embed)
    if len(found):
        table = found.found.to_arrow()
        with tables.writer(told, table.schema, {"stage": "prompts"}) as out:
            out.write_table(table)
    return found


def _check_apart(frame: pl.DataFrame, heldout: pl.DataFrame, source: str, heldout_source: str) -> None:
    """What is trained on is not evaluated on, whatever id it goes by."""
    trained = {ids.prompt_id(messages) for messages in frame["messages"].to_list()}
    pairs = zip(heldout["prompt_id"], heldout["messages"].to_list(), strict=True)
    shared = [name for name, messages in pairs if ids.prompt_id(messages) in trained]
    if shared:
        raise InputError(f"{heldout_source}: {len(shared)} prompts are also in {source}, such as {min(shared)}")


def _file(source: str) -> Path | None:
    """The file, which for what ships with the project is found from anywhere."""
    return next((path for path in (Path(source), ROOT / source) if path.exists()), None)


def read(source: str) -> Iterator[Record | Bad]:
    """Records of a file, or of a dataset on the Hub (its split ``train``, or ``name:split``).

    Raises InputError if it is neither.
    """
    file = _file(source)
    if file:
        return records.read(file)
    suffix = Path(source).suffix.lower()
    if suffix in (*records.KINDS, ".gz") or source.partition(":")[0].count("/") != 1 or source.startswith("/"):
        raise InputError(f"{source}: no such file, and no name of a dataset on the Hub (owner/name)")
    return _hub(source)


def _hub(source: str) -> Iterator[Record | Bad]:
    import datasets
    from huggingface_hub.utils import logging

    name, _, split = source.partition(":")
    print(f"{name}: not a file here, so loaded from the Hub", file=sys.stderr)
    logging.set_verbosity_error()  # its retries are told in the error below
    try:
        rows = datasets.load_dataset(name, split=split or "train")
    except Exception as error:  # the Hub's client and the network raise many kinds
        raise InputError(f"{name}: cannot be loaded from the Hub: {tables.first_line(error)}") from error
    return (Record(Path(name), number, row) for number, row in enumerate(rows, 1))


def collect(found: Iterable[Record | Bad], limit: int | None, rejected: Rejected) -> tuple[pl.DataFrame, int, int]:
    """The prompts table (sorted by id), how many records were duplicates, how many ids had several prompts.

    Reading ends at ``limit`` prompts. Prompts that share an id go by ``ID~`` and 8 digits of their own.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    duplicates = 0
    for record in found:
        if limit is not None and len(rows) >= limit:
            break
        if isinstance(record, Bad):
            rejected.add(record)
            continue
        try:
            row = _row(record.fields)
        except FieldError as error:
            rejected.add(records.bad(record, error))
            continue
        key = row["prompt_id"], ids.prompt_id(row["messages"])
        duplicates += key in rows
        rows.setdefault(key, row)
    contents: dict[str, int] = {}
    for name, _ in rows:
        contents[name] = contents.get(name, 0) + 1
    for (name, content), row in rows.items():
        row["prompt_id"] = f"{name}~{content[:8]}" if contents[name] > 1 else name
    schema = pl.DataFrame(tables.SCHEMAS["prompts"].empty_table()).schema
    frame = pl.DataFrame(list(rows.values()), schema=schema).sort("prompt_id")
    return frame, duplicates, sum(count > 1 for count in contents.values())


def _row(fields: Mapping[str, Any]) -> dict[str, Any]:
    messages = records.messages(fields, "prompt" if fields.get("prompt") is not None else "messages")
    if messages is None:
        raise records.required(fields, "prompt", " (or messages)")
    name = records.text(fields, "prompt_id")
    return {
        "prompt_id": name if name and name.strip() else ids.prompt_id(messages),
        "messages": messages,
        "source": records.text(fields, "source") or "",
        "reference": records.text(fields, "reference"),
    }
