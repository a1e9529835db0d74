"""The pairs that the report shows: which, what is told of them, and how much of it fits into the page."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report import assemble, drawn, nearest, section_pairs, themed, told
from analysis.report.level import level
from analysis.runs import load
from analysis.themes.said import judgement
from builder import embed, ingest, params, rate, tables
from builder import pair as pairing
from builder.errors import WimError


def page_of(runs: list[Path], out: Path, **options: Any) -> dict[str, Any]:
    """The block of pairs in the page of ``runs``."""
    assemble.run(runs, out, params.load(None, [], "", 0), **options)
    found = re.search(
        r'<script type="application/json" id="pairs-data">(.*?)</script>', out.read_text("utf-8"), re.DOTALL
    )
    assert found
    block: dict[str, Any] = json.loads(found[1])
    return block


def texts(pair: dict[str, Any]) -> list[str]:
    said = [
        judged.get("text") or "".join(piece for piece, _ in judged["parts"])
        for side in pair["sides"]
        for judged in side["judged"]
    ]
    return [*(message["content"] for message in pair["prompt"]), *(side["text"] for side in pair["sides"]), *said]


def deltas_of(count: int) -> np.ndarray:  # type: ignore[type-arg]
    """1, 2, ... in a shuffled order."""
    return np.random.default_rng(5).permutation(np.arange(1, count + 1)).astype(float)


def test_a_sample_holds_the_extremes_ties_every_theme_and_others() -> None:
    deltas = deltas_of(2_000)
    themes = np.array([place % 7 if place < 70 else 7 for place in range(2_000)])
    why, ties = drawn.choose(deltas, 300, themes, 100, seed=0)
    by_why = {name: {place for place, other in why.items() if other == name} for name in why.values()}
    assert {name: len(places) for name, places in by_why.items()} == {
        "largest": 18, "smallest": 18, "theme": 18, "random": 36
    }  # fmt: skip
    assert len(set(ties.tolist()) & set(range(300))) == 10
    assert set(deltas[list(by_why["largest"])]) == set(range(1_983, 2_001))
    assert set(deltas[list(by_why["smallest"])]) == set(range(1, 19))
    assert set(themes[list(by_why["theme"])]) == set(range(8))
    assert deltas[list(why)].tolist() == sorted(deltas[list(why)], reverse=True)


def test_what_fits_is_shown_whole() -> None:
    why, ties = drawn.choose(deltas_of(40), 5, np.full(40, -1), 45, seed=0)
    assert sorted(why) == list(range(40))
    assert ties.tolist() == list(range(5))
    assert "rest" in set(why.values())


def test_few_pairs_leave_their_room_to_ties() -> None:
    why, ties = drawn.choose(deltas_of(4), 300, np.full(4, -1), 100, seed=0)
    assert (len(why), len(ties)) == (4, 96)


def test_the_seed_alone_decides_what_is_drawn_at_random() -> None:
    one, same, other = (drawn.choose(deltas_of(500), 50, np.full(500, -1), 60, seed) for seed in (1, 1, 2))
    assert (one[0], one[1].tolist()) == (same[0], same[1].tolist())
    assert one[0] != other[0]
    assert one[1].tolist() != other[1].tolist()


@given(st.lists(st.integers(0, 10_000), max_size=30), st.integers(0, 50_000))
def test_what_is_shared_out_is_no_more_than_there_is(wanted: list[int], total: int) -> None:
    most = level(wanted, total)
    given_out = sum(min(amount, most) for amount in wanted)
    assert given_out <= total
    if any(amount > most for amount in wanted):
        assert sum(min(amount, most + 1) for amount in wanted) > total


def test_runs_share_the_pairs_and_small_ones_leave_the_rest(built: Path) -> None:
    runs = tuple(load([built]))
    found = drawn.draw([], (*runs, *runs), 9, seed=0)
    assert [len(each.pairs) for each in found] == [4, 4]


def test_a_pair_is_told_with_every_number_of_its_judgements(run: Path, tmp_path: Path) -> None:
    block = page_of([run], tmp_path / "report.html")
    pairs = {row["pair_id"]: row for row in tables.read(run / "pairs.parquet", "pairs").iter_rows(named=True)}
    ratings = {
        row["completion_id"]: row for row in tables.read(run / "ratings.parquet", "ratings").iter_rows(named=True)
    }
    feedback = dict(tables.read(run / "feedback.parquet", "feedback", ["completion_id", "wim"]).iter_rows())
    assert {pair["id"] for pair in block["pairs"] if pair["id"]} == set(pairs)
    for pair in block["pairs"]:
        for side in pair["sides"]:
            (judged,) = side["judged"]
            row = ratings[side["id"]]
            for name in ("rating", "R", "wim", "wim_10", "missingness", "reward"):
                assert judged["numbers"][name] == pytest.approx(row[name], abs=1e-6)
            assert side["length"] == row["length"]
            assert texts({"prompt": [], "sides": [side]})[1] == feedback[side["id"]]
        if pair["id"]:
            row = pairs[pair["id"]]
            assert [side["text"] for side in pair["sides"]] == [row[s][0]["content"] for s in ("chosen", "rejected")]
            assert pair["prompt"] == row["prompt"]
            assert pair["delta"] == pytest.approx(row["delta"], abs=1e-6)


def test_what_the_judges_number_says_of_a_pair(run: Path, tmp_path: Path) -> None:
    said = {"agrees": 0, "ties": 0, "opposite": 0}
    for pair in page_of([run], tmp_path / "report.html")["pairs"]:
        first, second = (side["judged"][0]["numbers"]["rating"] for side in pair["sides"])
        assert pair["said"] == ("agrees" if first > second else "ties" if first == second else "opposite")
        said[pair["said"]] += 1
    assert said["ties"] > 0
    assert said["agrees"] + said["opposite"] > 0


def two_judges(folder: Path, judge: str) -> Path:
    """A run of one prompt whose judges disagree, paired by ``judge``: by a or the mean the first answer is better."""
    said = [("one", "a", 9), ("one", "b", 5), ("two", "a", 3), ("two", "b", 6)]
    records = [
        {"prompt": "Why?", "completion": text, "judge": name, "rating": rating, "feedback": f"{name} of {text}"}
        for text, name, rating in said
    ]
    folder.mkdir()
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    settings = params.load(None, ["rate.method=numerical", f"pair.judge={judge}"], "", 0)
    ingest.run([folder / "records.jsonl"], folder / "run", settings, {}, False)
    for stage in (embed, rate, pairing):
        stage.run(folder / "run", settings)
    return folder / "run"


@pytest.mark.parametrize("judge", ["a", "b", "mean", "median"])
def test_the_number_is_that_of_the_judge_whom_the_pairs_compare(tmp_path: Path, judge: str) -> None:
    (found,) = page_of([two_judges(tmp_path / "two", judge)], tmp_path / "report.html")["pairs"]
    assert found["sides"][0]["text"] == ("two" if judge == "b" else "one")
    assert found["said"] == "agrees"


def test_without_a_feedback_table_a_pairs_words_are_its_judges(tmp_path: Path) -> None:
    run = two_judges(tmp_path / "two", "b")
    (run / "feedback.parquet").unlink()
    (found,) = page_of([run], tmp_path / "report.html")["pairs"]
    for side in found["sides"]:
        first, second = side["judged"]
        assert (first["judge"], first["status"], first["text"]) == ("a", "unknown", None)
        assert (second["judge"], second["status"], second["text"]) == ("b", "missing", f"b of {side['text']}")


def test_without_feedback_tables_the_pairs_words_are_shown(run: Path, tmp_path: Path) -> None:
    for name in ("feedback", "completions", "embeddings", "prompts"):
        (run / f"{name}.parquet").unlink()
    block = page_of([run], tmp_path / "report.html")
    pairs = tables.read(run / "pairs.parquet", "pairs").sort("delta", descending=True)
    assert len(block["pairs"]) == len(pairs)  # ties need the completions
    words = texts(block["pairs"][0])
    assert pairs["chosen_feedback"][0] in words
    assert pairs["rejected"][0][0]["content"] in words


def test_further_ratings_are_told_too(run: Path, tmp_path: Path) -> None:
    ratings = tables.read(run / "ratings.parquet", "ratings").with_columns(severity=pl.lit(-0.25))
    tables.write(run / "ratings.parquet", "ratings", ratings, {})
    pair = page_of([run], tmp_path / "report.html")["pairs"][0]
    assert pair["sides"][0]["judged"][0]["numbers"]["severity"] == -0.25


def test_texts_are_cut_to_fit_and_their_length_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "é<" * 500_000
    completions = tables.read(run / "completions.parquet", "completions")
    texts_with_one = [long, *completions["text"].to_list()[1:]]
    tables.write(
        run / "completions.parquet", "completions", completions.with_columns(text=pl.Series(texts_with_one)), {}
    )
    monkeypatch.setattr(assemble, "BYTES", 1_300_000)
    block = page_of([run], tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size <= 1_310_000
    (side,) = {side["text"] for pair in block["pairs"] for side in pair["sides"] if side["text"].startswith("é<é<")}
    kept, _, rest = side.partition(" … ")
    assert rest == "(cut: 1,000,000 characters in all)"
    assert kept == long[: len(kept)]
    assert len(kept) > 1_000
    others = [text for pair in block["pairs"] for text in texts(pair) if text != side]
    assert not any("(cut:" in text for text in others)
    assert re.search(r"1 text longer than [\d,]+ bytes is cut", (tmp_path / "report.html").read_text("utf-8"))


@given(st.text(max_size=60), st.integers(2, 80))
def test_a_cut_text_takes_the_bytes_that_it_may(text: str, most: int) -> None:
    kept = section_pairs._kept(text, most)
    assert kept == len(text) or section_pairs._size(text[:kept]) <= most
    assert kept == len(text) or section_pairs._size(text[: kept + 1]) > most


def test_a_marked_text_that_is_cut_keeps_its_parts() -> None:
    judged = told.Judgement(
        "j", "missing", "One. Two. Three.", None, None, {}, (("One. ", 0.1), ("Two. ", 0.9), ("Three.", 0.2))
    )
    assert section_pairs._parts(judged, 100) == [("One. ", 0.1), ("Two. ", 0.9), ("Three.", 0.2)]
    assert section_pairs._parts(judged, 10) == [("One. ", 0.1), ("Two", 0.9), (" … (cut: 16 characters in all)", 0.0)]


def test_so_many_pairs_are_shown_as_are_asked_for(run: Path, tmp_path: Path) -> None:
    assert len(page_of([run], tmp_path / "report.html", pairs=5)["pairs"]) == 5
    told = "1 with the largest deltas of their run, 1 with the smallest, 1 drawn theme by theme, 2 at random."
    assert f"5 of 7 pairs: {told}" in (tmp_path / "report.html").read_text("utf-8")
    assemble.run([run], tmp_path / "none.html", params.load(None, [], "", 0), pairs=0)
    assert "pairs-data" not in (tmp_path / "none.html").read_text("utf-8").split("<script>")[0]


# What is near ------------------------------------------------------------------------------------------------------


@given(st.text(alphabet="ab .!?\n,;:-*", max_size=60))
def test_parts_are_the_text_again(text: str) -> None:
    assert "".join(nearest.parts(text)) == text


def test_parts_are_sentences_or_the_clauses_of_one() -> None:
    assert nearest.parts("It is short. It ends!\n- A line\n") == ["It is short. ", "It ends!\n", "- A line\n"]
    assert nearest.parts("The diet, the coat; the size.") == ["The diet, ", "the coat; ", "the size."]


def test_the_part_that_shares_words_with_the_completion_is_the_nearest() -> None:
    pieces = ["It leaves out the price. ", "The heron and its wetlands are described. "]
    found = nearest.by_words(pieces, ["The heron lives in wetlands."] * 2)
    assert found[1] > found[0] == 0
    assert nearest.by_words(["?!", "..."], ["--", "--"]).tolist() == [0, 0]


def test_near_parts_are_found_by_the_runs_embedder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = page_of([run], tmp_path / "report.html", embedding=True)
    parts = [judged["parts"] for pair in block["pairs"] for side in pair["sides"] for judged in side["judged"]]
    values = [near for part in parts for _, near in part]
    assert len(parts[0]) > 1
    assert max(values) > 0.5  # both repeat the same hostile piece
    assert len(set(values)) > 10
    assert "by the vectors of minilm" in (tmp_path / "report.html").read_text("utf-8")


def test_another_embedder_than_the_runs_marks_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WimError, match=r"another embedder than embed\.model"):
        assemble.run([run], tmp_path / "x.html", params.load(None, ["embed.truncation=chunk"], "", 0), embedding=True)


def test_a_pairs_theme_is_that_of_its_feedback(run: Path, tmp_path: Path) -> None:
    (group,), _ = themed.of(load([run]), 42)
    of = dict(group.themes.judged[0].select("judgement", "theme").iter_rows())
    named = tables.read(run / "feedback.parquet", "feedback", ["completion_id", "judge"])
    names = dict(zip(named.iter_rows(), named.select(judgement()).to_series(), strict=True))
    block = page_of([run], tmp_path / "report.html")
    assert block["themes"] == [theme.name for theme in group.themes.themes]
    for pair in block["pairs"]:
        for side in pair["sides"]:
            for judged in side["judged"]:
                assert judged["theme"] == of[names[side["id"], judged["judge"]]]
