"""What the notebooks look at has the numbers of stats.json, whether it is a run or a dataset."""

from pathlib import Path

import polars as pl
import pytest

from analysis import published, source
from builder import pair, params, publish, rate, tables
from builder.errors import WimError


def test_a_dataset_is_as_its_run(built: Path, dataset: Path) -> None:
    one, other = source.read(str(built)), source.read(str(dataset))
    assert one.label == other.label == "wim-round0"
    assert source.ties(one).equals(source.ties(other))
    assert one.pairs.sort("pair_id").equals(other.pairs.sort("pair_id"))


@pytest.mark.parametrize(("scale", "rescale"), [([0, 20], "false"), ([1, 8], "true"), ([0, 100], "true")])
def test_a_dataset_has_the_scale_of_its_run(run: Path, tmp_path: Path, scale: list[int], rescale: str) -> None:
    settings = params.load(None, [f"rating.scale={scale}", f"rating.rescale={rescale}"], "", 0)
    for stage in (rate, pair):
        stage.run(run, settings)
    publish.run([run], tmp_path / "dataset", settings)
    one, other = source.read(str(run)), source.read(str(tmp_path / "dataset"))
    assert one.scales == other.scales == {"numerical": tuple(scale), "wim": (0, 10)}
    assert source.ties(one).equals(source.ties(other))


def test_the_runs_of_a_dataset_are_apart(built: Path, run: Path, tmp_path: Path) -> None:
    settings = params.load(None, [], "", 0)
    pair.run(run, settings, "wim", 1)
    publish.run([built, run], tmp_path / "both", settings)
    found = source.read_all(str(tmp_path / "both"))
    assert list(found) == ["wim-round0", "wim-round1"]
    assert source.read(f"{tmp_path / 'both'}:wim-round0").pairs["round"].unique().to_list() == [0]
    for each in found.values():
        assert source.ties(each).equals(source.ties(source.read(str(built))))


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
    both = published.Published("both", {}, {}, {})
    ratings = tables.read(built / "ratings.parquet", "ratings").with_columns(arm=pl.lit("wim"), round=pl.lit(0))
    with pytest.raises(WimError, match="several runs"):
        published.runs_of(both, ratings.vstack(ratings))
    other = ratings.with_columns(round=pl.lit(1))
    assert published.runs_of(both, ratings.vstack(other)) == [("wim", 0), ("wim", 1)]


def test_what_is_neither_run_nor_dataset_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WimError, match="neither a run folder nor a dataset"):
        source.read(str(tmp_path / "empty"))
