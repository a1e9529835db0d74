"""`wim rate` reads its tables span by span: the table is that of all judgements at once, and memory does not grow."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from builder import judgements, params, rate, ratings, tables
from builder.errors import TableError
from builder.health import generic, sample
from builder.ids import text_id
from builder.params import Params
from builder.streams import spans, vectors
from builder.tables import writing

ROOT = Path(__file__).parents[2]
DIMENSIONS = 6


def completions() -> pl.DataFrame:
    """Of 60 prompts 3 each; some are empty, and every fifth text comes again and again."""
    rows = [
        {
            "completion_id": f"{p:03d}-{i:02d}",
            "prompt_id": f"{p:03d}",
            "index": i,
            "text": " \n" if (p + i) % 17 == 0 else f"text {p % 5 if i == 2 and p % 5 else 3 * p + i}",
            "finish_reason": "stop",
            "tokens": None,
            "policy": "p",
        }
        for p in range(60)
        for i in range(3)
    ]
    return pl.DataFrame(rows, schema=pl.Schema(tables.SCHEMAS["completions"]))


def feedback(names: list[str]) -> pl.DataFrame:
    """Up to three judges, with a second attempt here and there; the third says nothing that can be read."""
    rows = []
    for i, name in enumerate(names):
        for number, judge in enumerate(("a", "b", "c")[: i % 4]):
            for attempt in range(2 if (i + number) % 5 == 0 else 1):
                readable = judge != "c" and (attempt == 1 or (i + number) % 5)
                missing = f"missing {i % 40}" if i % 3 else f"missing {i} of {judge}"
                status = ("nothing" if i % 11 == 0 else "missing") if readable else "unreadable"
                row = {"completion_id": name, "judge": judge, "attempt": attempt, "raw": "r", "wim_status": status}
                row |= {"wim": {"nothing": "", "missing": missing}.get(status), "reason": None}
                row |= {"rating": float(i % 9 + 1), "rating_status": "ok" if judge != "c" else "unreadable"}
                rows.append(row | {"scale_min": 0.0 if judge == "b" else None, "scale_max": None})
    return pl.DataFrame(rows, schema=pl.Schema(tables.SCHEMAS["feedback"]))


def vector(text: str) -> list[float]:
    return [int(text_id(text)[2 * i : 2 * i + 2], 16) - 127.5 for i in range(DIMENSIONS)]


def by_text(texts: pl.Series) -> Any:
    rows = [[np.nan] * DIMENSIONS if text is None else vector(text) for text in texts]
    return np.array(rows, np.float32).reshape(-1, DIMENSIONS)


def write_embeddings(folder: Path, texts: list[str], group: int = 50) -> None:
    schema = tables.embeddings_schema(DIMENSIONS)
    rows = [{"text_id": text_id(t), "embedding": vector(t), "tokens": 1, "truncated": False} for t in texts]
    with tables.writer(folder / "embeddings.parquet", schema, {}) as out:
        out.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=group)


def judged() -> pl.DataFrame:
    said = completions()
    return judgements.collect(said, feedback(said["completion_id"].to_list()))


def texts_of(frame: pl.DataFrame, made: Params) -> list[str]:
    """As `wim embed` puts them."""
    columns = [c for rating in [ratings.load("wim", made), *ratings.wanted(made).values()] for c in rating.texts(frame)]
    return list(dict.fromkeys(text for column in columns for text in column.drop_nulls()))


PROMPTS = [
    {"prompt_id": f"{p:03d}", "messages": [{"role": "user", "content": f"q{p}"}], "source": "s", "reference": f"{p}"}
    for p in range(59)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is read in some twenty spans of blocks of few judgements, and whose vectors do not fit into memory."""
    monkeypatch.setattr(spans, "ROWS", 64)
    for module in (tables, writing):
        monkeypatch.setattr(module, "ROW_GROUP", 32)
    monkeypatch.setattr(rate, "BLOCK", 7)
    monkeypatch.setattr(vectors, "IN_MEMORY", 0)
    monkeypatch.setattr(vectors, "_BATCH", 5)
    said = completions()
    tables.write(tmp_path / "prompts.parquet", "prompts", pl.DataFrame(PROMPTS), {})
    tables.write(tmp_path / "completions.parquet", "completions", said, {})
    tables.write(tmp_path / "feedback.parquet", "feedback", feedback(said["completion_id"].to_list()), {})
    write_embeddings(tmp_path, texts_of(judged(), params.load(None)))
    return tmp_path


def check(folder: Path, *sets: str) -> pl.DataFrame:
    """Rates the run, and compares with the same in one frame."""
    made = params.load(None, list(sets))
    frame = judgements.with_prompts(judged(), pl.DataFrame(PROMPTS))
    write_embeddings(folder, texts_of(frame, made))
    counts = rate.run(folder, made)
    found = pl.read_parquet(folder / "ratings.parquet")
    expected = rate.rate(frame, by_text, made)
    assert_frame_equal(found, expected, rel_tol=0, abs_tol=1e-12)
    assert counts == rate.Made(int((expected["judge"] != "").sum()), int(expected["ratable"].sum()))
    return found


def test_spans_give_the_table_of_all_at_once(folder: Path) -> None:
    found = check(folder)
    assert found.columns[-1] == "disagreement"
    assert found["disagreement"].drop_nulls().len() > 20
    assert found["reason"].unique().len() > 3
    left = {file.name for file in folder.iterdir()}
    assert left == {f"{name}.parquet" for name in ("prompts", "completions", "feedback", "embeddings", "ratings")}


@pytest.mark.parametrize(
    "sets",
    [
        ("rate.method=mixed", "rate.zeta=0.5", "rate.also=[random, severity]"),
        ("rate.method=verifier", "rate.also=[siblings, lengthened]"),
        ("rate.method=calibrated",),
        ("rate.method=combined", "rate.weights={calibrated: 1, wim: 2, siblings: 3, verifier: 1}"),
    ],
)
def test_other_ratings_give_the_table_of_all_at_once(folder: Path, sets: tuple[str, ...]) -> None:
    check(folder, *sets)


@pytest.mark.parametrize("mixed", [("completions",), ("feedback", "prompts"), ("embeddings",)])
def test_tables_in_another_order_give_the_same(folder: Path, mixed: tuple[str, ...]) -> None:
    rate.run(folder, made := params.load(None, ["rate.also=[verifier]"]))
    expected = pl.read_parquet(folder / "ratings.parquet")
    for name in mixed:
        file = folder / f"{name}.parquet"
        pl.read_parquet(file).sample(fraction=1, shuffle=True, seed=2).write_parquet(file, row_group_size=20)
    rate.run(folder, made)
    assert_frame_equal(pl.read_parquet(folder / "ratings.parquet"), expected, rel_tol=0, abs_tol=1e-12)


def test_there_is_no_disagreement_where_one_judge_alone_is_ratable(folder: Path) -> None:
    said = pl.read_parquet(folder / "feedback.parquet").filter(pl.col("judge") != "b")
    tables.write(folder / "feedback.parquet", "feedback", said, {})
    rate.run(folder, params.load(None))
    found = pl.read_parquet(folder / "ratings.parquet")
    assert found["judge"].unique().sort().to_list() == ["", "a", "c"]
    assert found.columns == tables.SCHEMAS["ratings"].names


def test_a_run_without_completions_has_no_ratings(folder: Path) -> None:
    for name in ("completions", "feedback"):
        tables.write(folder / f"{name}.parquet", name, pl.read_parquet(folder / f"{name}.parquet").clear(), {})
    assert rate.run(folder, params.load(None, ["rate.also=[random]"])) == rate.Made(0, 0)
    found = pl.read_parquet(folder / "ratings.parquet")
    assert found.is_empty()
    assert found.columns == [*tables.SCHEMAS["ratings"].names, "random"]


def test_generic_texts_are_sought_in_the_sample_of_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "MOST", 40)
    rate.run(folder, params.load(None))
    frame = judged().filter(pl.col("wim_status") == "missing")
    drawn = sample.rows(frame, 40)
    assert 40 <= len(drawn) < len(frame) / 2
    near = generic.near_duplicates(drawn["feedback"], drawn["prompt_id"], by_text(drawn["feedback"]))
    assert near["share"] > 0
    assert tables.read_metadata(folder / "ratings.parquet")["generic"] == near


def test_the_ratings_of_before_stay_where_a_table_is_damaged(folder: Path) -> None:
    rate.run(folder, params.load(None))
    before, file = (folder / "ratings.parquet").read_bytes(), folder / "feedback.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"feedback.parquet: damaged"):
        rate.run(folder, params.load(None))
    assert (folder / "ratings.parquet").read_bytes() == before
    assert not [file.name for file in folder.iterdir() if file.name.startswith(".")]


MADE = """
import sys
from pathlib import Path
from builder import params, rate
from builder.streams import vectors

vectors.IN_MEMORY = 1 << 20
rate.run(Path(sys.argv[1]), params.load(None, [f"rate.method={sys.argv[2]}"]))
# Not ru_maxrss, in which the tests' own process counts.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(folder: Path, count: int, method: str) -> int:
    """Megabytes at most while so many completions are rated, with texts of 500 letters and vectors of 128 bytes."""
    folder.mkdir()
    long = " ".join(["word"] * 100)
    named = pl.select(i=pl.int_range(count)).select(
        prompt_id=(pl.col("i") // 4).cast(pl.String).str.zfill(12), i=pl.col("i").cast(pl.String).str.zfill(12)
    )
    completions = named.select(
        "prompt_id", completion_id="i", text=long + " " + pl.col("i"), index=0, finish_reason=pl.lit("stop")
    ).with_columns(policy=pl.lit("p"), tokens=1)
    feedback = named.select(completion_id="i", wim="missing " + long + " " + pl.col("i"), judge=pl.lit("j"), attempt=0)
    said = {"rating": 5.0, "scale_min": None, "scale_max": None, "raw": None, "reason": None}
    feedback = feedback.with_columns(rating_status=pl.lit("ok"), wim_status=pl.lit("missing"), **said)
    tables.write(folder / "completions.parquet", "completions", completions, {})
    tables.write(folder / "feedback.parquet", "feedback", feedback, {})
    schema = tables.embeddings_schema(32)
    with tables.writer(folder / "embeddings.parquet", schema, {}) as out:
        for texts in (completions["text"], feedback["wim"]):
            numbers = np.random.default_rng(0).standard_normal((count, 32), np.float32)
            column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 32)
            columns = [[text_id(text) for text in texts], column, np.ones(count, np.int32), np.zeros(count, bool)]
            out.write_table(pa.table(columns, names=schema.names).cast(schema), row_group_size=tables.ROW_GROUP)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MADE, str(folder), method]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_memory_hardly_grows_with_the_completions(tmp_path: Path) -> None:
    """180,000 more judgements at once would be 180 MB of text and 46 MB of vectors, and as much again on the way."""
    few, many = peak(tmp_path / "few", 70_000, "wim"), peak(tmp_path / "many", 250_000, "wim")
    assert many - few < 90, (few, many)


def test_memory_hardly_grows_with_the_judgements_that_are_learned_from(tmp_path: Path) -> None:
    """The words and pairs of 36,000 more judgements at once would be 500 MB; what is held of each are 46 bytes."""
    few, many = peak(tmp_path / "few", 18_000, "refined"), peak(tmp_path / "many", 54_000, "refined")
    assert many - few < 120, (few, many)
