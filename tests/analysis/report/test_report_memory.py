"""What the report looks at of a run: its memory hardly grows with the run."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from builder import pair, params, tables
from builder.ids import text_id

ROOT = Path(__file__).parents[3]
LOOKED = """
import sys
from pathlib import Path
from analysis import histograms
from analysis.report import drawn, themed, told
from analysis.runs import load

runs = load([Path(sys.argv[1])])
themes, absent = themed.of(runs, 0)
assert not absent
histograms.of_run(runs[0])
sample = drawn.draw(themes, tuple(runs), 500, 0)
assert len(told.read(sample, themes)) == 500
# Not ru_maxrss, in which the tests' own process counts. What draws the page takes as much whatever the run.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(folder: Path, prompts: int) -> int:
    """Megabytes at most while a run of so many prompts is looked at, each with 4 completions of 200 letters."""
    write(folder, prompts)
    pair.run(folder, params.load(None))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOOKED, str(folder)]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def write(folder: Path, prompts: int) -> None:
    """Half of the judged pairs are ties."""
    folder.mkdir()
    ask = pl.DataFrame({"prompt_id": [f"{i:016x}" for i in range(prompts)]}).with_columns(source=pl.lit("s"))
    turn = pl.struct(role=pl.lit("user"), content=pl.col("prompt_id"))
    numbers = pl.DataFrame({"index": range(4)})
    rows = ask.join(numbers, how="cross").with_columns(
        completion_id=pl.format("{}-0{}", "prompt_id", "index"), judge=pl.lit("j")
    )
    letters = random.Random(1).randbytes(100 * len(rows)).hex()
    rows = rows.with_columns(text=pl.Series([letters[i : i + 200] for i in range(0, len(letters), 200)]))
    rows = rows.with_columns(wim=pl.format("It leaves out {}.", pl.col("text").str.head(20)))
    number = 1.0 + pl.col("index") // 2
    made = {
        "prompts": ask.with_columns(messages=pl.concat_list(turn)),
        "completions": rows.with_columns(finish_reason=pl.lit("stop"), policy=pl.lit("p")),
        "feedback": rows.with_columns(
            rating=number, attempt=0, rating_status=pl.lit("ok"), wim_status=pl.lit("missing")
        ),
        "ratings": rows.with_columns(rating=number, reward=number, wim_10=number, wim=number, length=200, ratable=True),
    }
    for table, frame in made.items():
        schema = tables.SCHEMAS[table]
        absent = [pl.lit(None).alias(column) for column in schema.names if column not in frame.columns]
        tables.write(folder / f"{table}.parquet", table, frame.with_columns(absent).select(schema.names), {})
    embed(folder, rows["wim"])


def embed(folder: Path, texts: pl.Series) -> None:
    schema, vectors = tables.embeddings_schema(8), np.random.default_rng(0).standard_normal((len(texts), 8), np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)
    columns = [[text_id(text) for text in texts], column, np.ones(len(texts), np.int32), np.zeros(len(texts), bool)]
    with tables.writer(folder / "embeddings.parquet", schema, {}) as out:
        out.write_table(pa.table(columns, names=schema.names).cast(schema), row_group_size=tables.ROW_GROUP)


def test_memory_hardly_grows_with_the_run(tmp_path: Path) -> None:
    """210,000 more judgements are 60 MB of texts; with their ids, statuses and sorted copies 190 MB were held."""
    few, many = peak(tmp_path / "few", 17_500), peak(tmp_path / "many", 70_000)
    assert many - few < 110, (few, many)
