"""Themes: what is grouped together, what the groups are called, and that the same tables give the same ones."""

import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from analysis.report import themed
from analysis.runs import load
from analysis.themes import cluster, find, names, said
from builder import ids, tables
from builder.errors import TableError

TOPICS = {"price": "the price and the cost of delivery", "sources": "its sources and any evidence", "date": "the date"}


def made(folder: Path, counts: dict[str, int], seed: int = 0, dimensions: int = 8) -> Path:
    """A run with so many judgements of each topic, whose vectors lie near to the topic's own axis."""
    draw = np.random.default_rng(seed)
    topics = [topic for topic, number in counts.items() for _ in range(number)]
    texts = [f"The answer number {place} leaves out {TOPICS[topic]}." for place, topic in enumerate(topics)]
    axis = [list(TOPICS).index(topic) for topic in topics]
    vectors = np.eye(dimensions)[axis] + draw.normal(0, 0.1, (len(texts), dimensions))
    write(folder, texts, (vectors * draw.uniform(0.5, 3, (len(texts), 1))).astype(np.float32))
    return folder


def write(folder: Path, texts: list[str | None], vectors: np.ndarray) -> None:
    """``vectors``: of the distinct texts, in their order."""
    names_of = [f"p{place:04d}-00" for place in range(len(texts))]
    frame = pl.DataFrame({"completion_id": names_of, "judge": "j", "attempt": 0, "wim": texts}).with_columns(
        rating_status=pl.lit("absent"),
        wim_status=pl.when(pl.col("wim").is_null()).then(pl.lit("unreadable")).otherwise(pl.lit("missing")),
        raw=None, rating=None, reason=None, scale_min=None, scale_max=None,
    )  # fmt: skip
    tables.write(folder / "feedback.parquet", "feedback", frame, {})
    distinct = list(dict.fromkeys(text for text in texts if text is not None))
    array = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    columns = {"text_id": [ids.text_id(text) for text in distinct], "embedding": array}
    columns |= {"tokens": pa.array([1] * len(distinct), pa.int32()), "truncated": [False] * len(distinct)}
    schema = tables.embeddings_schema(vectors.shape[1])
    with tables.writer(folder / "embeddings.parquet", schema, {}) as out:
        out.write_table(pa.table(columns).cast(schema), row_group_size=7)


def found_in(*runs: Path, **options: int) -> find.Themes:
    themes = find.find(runs, **options)
    assert themes is not None
    return themes


def test_what_is_said_alike_is_one_theme_the_most_frequent_first(tmp_path: Path) -> None:
    run = made(tmp_path / "a", {"date": 9, "price": 40, "sources": 20})
    found = found_in(run, count=3)
    assert [theme.judgements for theme in found.themes] == [40, 20, 9]
    assert found.themes[0].name.split(", ")[0] in {"price", "cost", "delivery"}
    assert "date" in found.themes[2].phrases
    assert all("price" in text for text in found.themes[0].examples)
    assert found.judged[0]["theme"].to_list() == [2] * 9 + [0] * 40 + [1] * 20
    assert (found.texts, found.trained) == (69, 69)


def test_the_same_tables_and_seed_give_the_same_themes(tmp_path: Path) -> None:
    run = made(tmp_path / "a", {"date": 30, "price": 30, "sources": 30})
    one, same = found_in(run, seed=3), found_in(run, seed=3)
    assert one.themes == same.themes
    assert one.judged[0].equals(same.judged[0])


def test_runs_share_their_themes_and_are_counted_apart(tmp_path: Path) -> None:
    first = made(tmp_path / "a", {"price": 30, "date": 10})
    second = made(tmp_path / "b", {"price": 10, "date": 10}, seed=1)
    found = found_in(first, second, count=2)
    assert [theme.counts for theme in found.themes] == [(30, 10), (10, 10)]
    assert found.texts == 40 + 10  # ten of price are the same texts as in the other run; the dates differ in number


def test_a_text_that_is_said_often_counts_often(tmp_path: Path) -> None:
    run = tmp_path / "a"
    texts = ["The price is missing."] * 50 + ["The date is missing."] * 3
    write(run, list(texts), np.eye(2, 4, dtype=np.float32))
    found = found_in(run, count=2)
    assert [theme.judgements for theme in found.themes] == [50, 3]
    assert found.texts == 2


def test_what_has_no_vector_or_says_nothing_has_no_theme(tmp_path: Path) -> None:
    run = tmp_path / "a"
    texts = ["price one", None, "price two", "no direction", "no vector"]
    vectors = np.array([[1, 0], [1, 0.1], [0, 0], [0, 1]], np.float32)
    write(run, texts, vectors)
    embeddings = pl.read_parquet(run / "embeddings.parquet").filter(pl.col("text_id") != ids.text_id("no vector"))
    schema = tables.embeddings_schema(2)
    with tables.writer(run / "embeddings.parquet", schema, {}) as out:
        out.write_table(embeddings.to_arrow().cast(schema))
    found = found_in(run, count=1)
    assert [theme.judgements for theme in found.themes] == [2]
    judged = dict(found.judged[0].select("completion", "theme").iter_rows())
    names_of = pl.Series(["p0000-00", "p0002-00", "p0003-00", "p0004-00"])
    assert judged == dict(zip(names_of.hash(), [0, 0, None, None], strict=True))


def test_where_nothing_is_said_there_is_no_theme(tmp_path: Path) -> None:
    write(tmp_path / "a", [None, None], np.empty((0, 2), np.float32))
    assert find.find([tmp_path / "a"]) is None


def test_of_several_attempts_the_one_that_counts_is_grouped(tmp_path: Path) -> None:
    run = made(tmp_path / "a", {"price": 4})
    feedback = tables.read(run / "feedback.parquet", "feedback")
    failed = feedback.head(1).with_columns(wim=pl.lit(None, pl.String), wim_status=pl.lit("unreadable"))
    again = feedback.with_columns(attempt=pl.lit(1, pl.Int16)).head(1)
    tables.write(run / "feedback.parquet", "feedback", pl.concat([failed, again, feedback[1:]]), {})
    assert len(said.keys(run)) == 4
    assert found_in(run, count=1).themes[0].judgements == 4


def test_a_large_run_is_sampled_for_training_and_assigned_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path / "a", {"price": 300, "sources": 200, "date": 100})
    monkeypatch.setattr(find, "TRAINED", 50)
    monkeypatch.setattr(said, "BLOCK", 64)
    found = found_in(run, count=3)
    assert (found.texts, found.trained) == (600, 50)
    assert [theme.judgements for theme in found.themes] == [300, 200, 100]


def test_vectors_of_another_type_are_refused(tmp_path: Path) -> None:
    run = made(tmp_path / "a", {"price": 4})
    table = pl.read_parquet(run / "embeddings.parquet").with_columns(pl.col("embedding").arr.to_list())
    table.write_parquet(run / "embeddings.parquet")
    with pytest.raises(TableError, match="must be a fixed_size_list"):
        find.find([run])


@pytest.mark.parametrize(("texts", "groups"), [(0, 1), (1, 1), (8, 2), (66, 6), (288, 12), (10**6, 12)])
def test_more_texts_make_more_themes_up_to_a_dozen(texts: int, groups: int) -> None:
    assert cluster.number_of(texts) == groups


def test_a_name_is_made_of_what_tells_a_group_from_the_others() -> None:
    groups = [
        ["The answer leaves out unit tests.", "It has no unit tests, and no error handling."],
        ["The answer leaves out the price.", "No price is named."],
    ]
    first, second = names.phrases(groups)
    assert first[0] in ("unit tests", "unit", "tests")
    assert second[0] == "price"
    assert not {"answer", "leaves"} & {word for phrase in first + second for word in phrase.split()}


def test_a_name_holds_no_word_twice_and_no_pair_across_a_comma() -> None:
    (phrases,) = names.phrases([["habitat, diet and size", "habitat, diet and size"]])
    assert sorted(phrases) == ["diet", "habitat", "size"]
    assert names.phrases([["It does not say when.", "It doesn’t say who."]]) == [["say"]]
    assert names.phrases([["!!", "123"], ["the and of"]]) == [[], []]


def test_runs_of_different_embedders_are_grouped_apart(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    embeddings = pl.read_parquet(run / "embeddings.parquet").with_columns(
        pl.col("embedding").arr.to_list().list.head(16).list.to_array(16)
    )
    schema = tables.embeddings_schema(16)
    with tables.writer(other / "embeddings.parquet", schema, {}) as out:
        out.write_table(embeddings.to_arrow().cast(schema))
    (one, two), absent = themed.of(load([run, other]), 0)
    assert absent == ""
    assert two.first == len(one.themes.themes)
    assert two.of(two.runs[0])["theme"].min() == two.first


def test_without_faiss_the_report_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    groups, absent = themed.of(load([run]), 0)
    assert groups == []
    assert "pip install faiss-cpu" in absent
