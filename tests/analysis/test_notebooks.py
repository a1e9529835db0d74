"""Every notebook runs as a script: on a run, on a run without numbers, on a dataset, by a name on the Hub."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builder import embed, ingest, pair, params, rate, tables

NOTEBOOKS = sorted(Path("analysis/notebooks").resolve().glob("*.py"))
NAME = "me/critiques"  # as the fixture ``hub`` has it
Prints = Callable[..., str]


@pytest.fixture(scope="session")
def numberless(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of texts alone."""
    folder = tmp_path_factory.mktemp("numberless")
    feedback = pl.read_parquet(built / "feedback.parquet").select("completion_id", feedback="wim")
    completions = pl.read_parquet(built / "completions.parquet")
    records = completions.join(feedback, on="completion_id").select("prompt_id", "feedback", completion="text")
    records.write_ndjson(folder / "records.jsonl")
    settings = params.load(None, [], "", 0)
    ingest.run([folder / "records.jsonl"], folder / "run", settings, {}, False)
    for stage in (embed, rate, pair):
        stage.run(folder / "run", settings)
    return folder / "run"


def prints(notebook: Path, *sources: object, **environment: str) -> str:
    """What the notebook prints as a script, its tables in plain columns."""
    given = [word for source in sources for word in ("--source", str(source))]
    plain = {"POLARS_FMT_MAX_COLS": "-1", "POLARS_FMT_TABLE_FORMATTING": "NOTHING", "POLARS_FMT_STR_LEN": "100"}
    plain |= {"POLARS_TABLE_WIDTH": "1000"}
    done = subprocess.run(
        [sys.executable, str(notebook), *given],
        capture_output=True,
        text=True,
        env={**os.environ, **plain, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def row(printed: str, *beginning: str) -> list[str]:
    """The figures of the only row that begins so."""
    [found] = [line.split() for line in printed.splitlines() if line.split()[: len(beginning)] == list(beginning)]
    return found[len(beginning) :]


def expected(notebook: Path, run: Path) -> Callable[[str], bool]:
    """Whether what the notebook printed tells the numbers of stats.json, or the pair of the largest delta."""
    methods = tables.read_json(run / "stats.json")["methods"]
    pairs = tables.read(run / "pairs.parquet", "pairs").sort("delta", "pair_id", descending=[True, False])
    wim, numerical = methods["wim"], methods["numerical"]
    if notebook.stem == "ratings":
        return lambda printed: abs(float(row(printed, "wim")[1]) - wim["mean"]) < 1e-4
    if notebook.stem == "pair":
        return lambda printed: row(printed, "chosen")[0] == pairs["chosen_id"][0]
    if notebook.stem == "rounds":
        return lambda printed: str(wim["judged_pairs"]) in printed
    return lambda printed: all(
        row(printed, name)[:2] == [str(each["judged_pairs"]), str(each["ties"])]
        for name, each in (("wim", wim), ("numerical", numerical))
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.stem)
def test_it_runs_as_a_script_on_a_run(notebook: Path, built: Path) -> None:
    assert expected(notebook, built)(prints(notebook, built))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.stem)
def test_it_runs_as_a_script_on_a_dataset(notebook: Path, built: Path, dataset: Path) -> None:
    assert prints(notebook, dataset) == prints(notebook, built)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.stem)
def test_it_runs_where_the_judge_gave_no_number(notebook: Path, numberless: Path) -> None:
    assert expected(notebook, numberless)(prints(notebook, numberless))


def test_rounds_tell_what_became_of_the_pairs(built: Path, run: Path) -> None:
    settings = params.load(None, ["rate.method=numerical"], "", 0)
    rate.run(run, settings)
    pair.run(run, settings, "wim", 1)
    before, after = (tables.read_json(folder / "stats.json")["prompts"] for folder in (built, run))
    printed = prints(next(each for each in NOTEBOOKS if each.stem == "rounds"), built, run)
    counts = list(map(int, row(printed, "wim-round0", "→", "wim-round1")))
    assert sum(counts) == before["total"]
    vanished, unpaired = counts[-3], counts[-1]
    assert before["paired"] - after["paired"] == vanished > 0
    assert unpaired == before["tied"] + before["too_few"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.stem)
def test_it_reads_a_dataset_by_its_name_on_the_hub(notebook: Path, built: Path, tmp_path: Path, hub: Any) -> None:
    assert expected(notebook, built)(prints(notebook, NAME, **hub.environment(tmp_path / "home")))
