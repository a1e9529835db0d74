"""A run of 40 prompts whose numbers and words follow a hidden quality, without embeddings, and gold ratings of it;
the audit as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from builder import ids, ingest, judgements, params, tables, wanted

HOSTILE = '</script><script src="https://example.org/x.js"></script>\x1b[31m'
FLAWS = ("the whole point of it", "most of what was asked", "several details", "hardly anything")


def records() -> list[dict[str, object]]:
    draw = np.random.default_rng(3)
    rows: list[dict[str, object]] = []
    for prompt in range(40):
        for number in range(4):
            quality = float(draw.normal())
            flaw = FLAWS[int(np.clip(np.floor(quality + draw.normal(0, 0.3) + 2), 0, 3))]
            rows.append(
                {
                    "prompt_id": f"p{prompt:02d}",
                    "prompt": f"Question {prompt}? {HOSTILE}",
                    "completion": f"Answer {number} to {prompt}. " + "More. " * int(draw.integers(0, 9)),
                    "completion_id": f"p{prompt:02d}-{number}",
                    "feedback": f"Answer {number} lacks {flaw}.",
                    "rating": int(np.clip(np.round(5.5 + 2 * quality + draw.normal()), 1, 10)),
                    "judge": "critic",
                    "source": ("web" if prompt % 3 else "books") + HOSTILE,
                    "quality": quality,
                }
            )
    return rows


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    file, folder = tmp_path / "records.jsonl", tmp_path / "run"
    file.write_text("".join(json.dumps(record) + "\n" for record in records()))
    folder.mkdir()
    ingest.run([file], folder, params.load(None), {}, False)
    return folder


@pytest.fixture
def truth(write_jsonl: Callable[..., Path]) -> Path:
    gold = [
        {"prompt_id": each["prompt_id"], "completion_id": each["completion_id"], "rating": each["quality"]}
        for each in records()
    ]
    return write_jsonl([*gold, {"prompt_id": "nobody" + HOSTILE, "completion": "x", "rating": 1}], "truth.jsonl")


@pytest.fixture
def embedded(judged: Path) -> Path:
    """The same with drawn vectors, so that no embedder is loaded."""
    completions = tables.read(judged / "completions.parquet", "completions", judgements.COMPLETIONS)
    feedback = tables.read(judged / "feedback.parquet", "feedback", judgements.FEEDBACK)
    texts = wanted.of_frame(judgements.collect(completions, feedback), params.load(None))
    flat = pa.array(np.random.default_rng(4).normal(0, 1, 8 * len(texts)).astype(np.float32))
    columns = {
        "text_id": [ids.text_id(text) for text in texts],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, 8),
    }
    columns |= {"tokens": pa.array([1] * len(texts), pa.int32()), "truncated": [False] * len(texts)}
    with tables.writer(judged / "embeddings.parquet", tables.embeddings_schema(8), {}) as out:
        out.write_table(pa.table(columns).cast(tables.embeddings_schema(8)))
    return judged


@pytest.fixture
def audit(wim: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The audit as JSON."""

    def call(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert wim("audit", *arguments, "--json") == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        return found

    return call
