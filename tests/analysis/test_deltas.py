"""The notebook runs as a script on a run and on a dataset, with the numbers of stats.json."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import source
from builder import params, publish, tables
from builder.errors import WimError

NOTEBOOK = Path("analysis/notebooks/deltas.py").resolve()


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up on the Hub, and what `datasets` keeps goes to a folder of the test."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def script(where: Path) -> str:
    command = [sys.executable, str(NOTEBOOK), "--source", str(where)]
    environment = {**os.environ, "POLARS_FMT_MAX_COLS": "-1", "POLARS_FMT_TABLE_FORMATTING": "NOTHING"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=where.parent, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_notebook_runs_as_a_script_on_a_run(built: Path) -> None:
    printed = script(built)
    methods = tables.read_json(built / "stats.json")["methods"]
    for method in ("numerical", "wim"):
        line = next(line.split() for line in printed.splitlines() if line.split()[:1] == [method])
        assert line[1:3] == [str(methods[method]["judged_pairs"]), str(methods[method]["ties"])]


@pytest.mark.usefixtures("offline")
def test_the_notebook_runs_as_a_script_on_a_published_dataset(built: Path, tmp_path: Path) -> None:
    publish.run([built], tmp_path / "dataset", params.load(None, [], "", 0))
    assert script(tmp_path / "dataset").split("numerical")[1] == script(built).split("numerical")[1]


def test_ties_are_those_of_stats_json(built: Path) -> None:
    methods = tables.read_json(built / "stats.json")["methods"]
    for row in source.ties(source.read(str(built))).iter_rows(named=True):
        expected = methods[row.pop("method")]
        assert row == pytest.approx({name: expected[name] for name in row})


def test_a_wider_gap_ties_more(built: Path) -> None:
    found = source.read(str(built))
    rates = [source.ties(found, gap).filter(method="numerical")["tie_rate"][0] for gap in (0.0, 0.333, 0.334)]
    assert rates[0] == rates[1] < rates[2] == 1.0


def test_runs_published_together_are_not_compared_with_each_other(built: Path) -> None:
    ratings = tables.read(built / "ratings.parquet", "ratings")
    with pytest.raises(WimError, match="several runs"):
        source.by_run("both", ratings.vstack(ratings))


@pytest.mark.usefixtures("offline")
def test_what_is_neither_run_nor_dataset_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WimError, match="neither a run folder nor a dataset"):
        source.read(str(tmp_path / "empty"))
