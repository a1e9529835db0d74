"""Time and memory of `wim audit` on a run of 25,000 prompts with 4 judged completions each; wanted: 60 s, 2 GiB.

    python bench/audit.py [--prompts 25000] [--profile]

Texts and numbers are drawn, vectors are random. The audit is a process of its own; with all ratings and the fit.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from builder import ids, tables

ROOT = Path(__file__).parents[1]
EACH, DIMENSIONS = 4, 384
WORDS = [f"{first}{last}" for first in ("ba", "co", "du", "fe", "gi", "ho") for last in "bcdfghklmnprst"]
LIMITS = {"seconds": 60, "peak_mb": 2048}


def write_run(folder: Path, prompts: int) -> Path:
    """Tables of a run in which numbers and words follow a hidden quality, and gold ratings of it. Gives the truth."""
    draw = np.random.default_rng(0)
    names = [f"p{i:06d}" for i in range(prompts)]
    prompt_ids = np.repeat(names, EACH)
    rows = len(prompt_ids)
    completion_ids = [f"{name}-{i % EACH:02d}" for i, name in enumerate(prompt_ids)]
    quality = draw.normal(0, 1, rows)
    texts = texts_of(draw, rows, 60)
    said = [
        f"It lacks {WORDS[int(q * 8) % len(WORDS)]} {text}"
        for q, text in zip(quality, texts_of(draw, rows, 15), strict=True)
    ]
    user = [{"role": "user", "content": "Tell me."}]
    frames = {
        "prompts": pl.DataFrame({"prompt_id": names, "messages": [user] * prompts}).with_columns(
            source=pl.lit("bench")
        ),
        "completions": pl.DataFrame(
            {"completion_id": completion_ids, "prompt_id": prompt_ids, "text": texts}
        ).with_columns(index=pl.lit(0), finish_reason=pl.lit("stop"), policy=pl.lit("p")),
        "feedback": pl.DataFrame(
            {
                "completion_id": completion_ids,
                "rating": np.clip(np.round(6 + quality + draw.normal(0, 1, rows)), 1, 10),
                "wim": said,
            }
        ).with_columns(judge=pl.lit("j"), attempt=pl.lit(0), rating_status=pl.lit("ok"), wim_status=pl.lit("missing")),
    }
    for name, frame in frames.items():
        absent = [pl.lit(None).alias(column) for column in tables.SCHEMAS[name].names if column not in frame.columns]
        frame = frame.with_columns(absent)
        tables.write(tables.path(folder, name), name, frame, {})
    write_vectors(folder, [*texts, *said], draw)
    truth = folder / "truth.jsonl"
    with truth.open("w") as out:
        for name, own, value in zip(prompt_ids, completion_ids, quality, strict=True):
            out.write(json.dumps({"prompt_id": str(name), "completion_id": own, "rating": float(value)}) + "\n")
    return truth


def texts_of(draw: np.random.Generator, count: int, words: int) -> list[str]:
    drawn, lengths = draw.integers(0, len(WORDS), (count, words)), draw.integers(1, words + 1, count)
    return [
        " ".join(WORDS[i] for i in row[:length]) + f". {number}."
        for number, (row, length) in enumerate(zip(drawn, lengths, strict=True))
    ]


def write_vectors(folder: Path, texts: list[str], draw: np.random.Generator) -> None:
    schema = tables.embeddings_schema(DIMENSIONS)
    with tables.writer(tables.path(folder, "embeddings"), schema, {}) as out:
        for start in range(0, len(texts), 10_000):
            part = texts[start : start + 10_000]
            flat = pa.array(draw.normal(0, 1, len(part) * DIMENSIONS).astype(np.float32))
            vectors = pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS)
            columns = {"text_id": [ids.text_id(text) for text in part], "embedding": vectors}
            columns |= {"tokens": pa.array([1] * len(part), pa.int32()), "truncated": [False] * len(part)}
            out.write_table(pa.table(columns).cast(schema))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=25_000)
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        truth = write_run(Path(name), arguments.prompts)
        profile = ["-m", "cProfile", "-s", "cumulative"] if arguments.profile else []
        wim = [sys.executable, *profile, "-m", "builder.cli", "audit", name, "--truth", str(truth), "--fit"]
        start = time.perf_counter()
        done = subprocess.run(wim, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
        measured = {
            "seconds": time.perf_counter() - start,
            "cpu": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
            "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        }
    print(done.stdout[: 20_000 if arguments.profile else 4_000], done.stderr, sep="\n")
    print(
        f"{EACH * arguments.prompts:,} judgements: "
        + ", ".join(f"{key} {value:,.1f}" for key, value in measured.items())
    )
    print("wanted: " + ", ".join(f"{key} at most {value:,}" for key, value in LIMITS.items()))
    done.check_returncode()


if __name__ == "__main__":
    main()
