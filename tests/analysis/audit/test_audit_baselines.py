"""What a rating has to beat, by hand; and the ratings of a run as pairing would take them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.audit import baselines, rated
from analysis.audit.assemble import judged as collected
from analysis.audit.held import Held
from builder import judgements, params, tables
from builder.errors import TableError

Wim = Callable[..., int]
FRAME = pl.DataFrame(
    {
        "completion_id": ["a", "b", "c", "d", "e", "a"],
        "prompt_id": ["p", "p", "p", "p", "q", "p"],
        "judge": ["j", "j", "j", "j", "j", "k"],
        "text": ["One.", "Two.", "Three.", "Four.", "Five.", "One."],
        "feedback": ["lacks x", "lacks y", "", "lacks z", "lacks w", "lacks v"],
        "wim_status": ["missing", "missing", "nothing", "missing", "missing", "missing"],
    }
)
AXES = {"One.": 0, "Two.": 1, "Three.": 2, "Four.": 3, "lacks x": 0, "lacks y": 0, "lacks z": 1, "lacks v": 0}


def vectors(texts: pl.Series) -> np.ndarray:
    """Each text along one axis; NaN for null."""
    found = np.full((len(texts), 4), np.nan, np.float32)
    for row, text in enumerate(texts):
        if text is not None:
            found[row] = np.eye(4)[AXES[text]]
    return found


def test_the_swapped_text_is_the_next_one_of_the_prompt_by_the_same_judge() -> None:
    """The last goes to the first; who lacks nothing gives no text; a prompt's only text has no other."""
    assert baselines.swapped(FRAME).to_list() == ["lacks y", "lacks z", None, "lacks x", None, None]
    shuffled = FRAME[[3, 5, 1, 4, 0, 2]]
    assert baselines.swapped(shuffled).to_list() == ["lacks x", None, "lacks z", None, "lacks y", None]
    assert baselines.swapped(FRAME.clear()).len() == 0


def test_the_control_is_wim_with_the_other_text() -> None:
    frame = FRAME.with_columns(baselines.swapped(FRAME)).filter(pl.col("prompt_id") == "p")
    found = baselines.Swapped(params.load(None)).rate(frame, vectors)
    assert found.to_list() == [1.0, 1.0, 1.0, 0.0, None]  # c lacks nothing, as in wim


def test_lengths_and_sentences() -> None:
    given = params.load(None)
    said = ["", "One thing", "It is short. It is dull!\n- And late", "Missing: 3.5 kg.", "1. First\n2. Second...", None]
    frame = pl.DataFrame({"text": ["x" * n for n in range(6)], "feedback": said})
    none = np.empty((0, 0))
    assert baselines.Length(given).rate(frame, lambda _: none).to_list() == [0, 1, 2, 3, 4, 5]
    shorter = baselines.FeedbackLength(given).rate(frame, lambda _: none).to_list()
    assert shorter == [0, -9, -35, -16, -21, None]
    assert baselines.FeedbackSentences(given).rate(frame, lambda _: none).to_list() == [0, -1, -3, -1, -2, None]


def found(run: Path, *sets: str) -> rated.Found:
    given = params.load(None, sets)
    completions = tables.read(run / "completions.parquet", "completions", ["completion_id", "prompt_id", "text"])
    prompts = tables.read(run / "prompts.parquet", "prompts", judgements.PROMPTS)
    return rated.find(run, collected(run, completions, prompts), completions, given, Held(run, given, False))


def test_ratings_are_those_of_the_rate_stage(embedded: Path, wim: Wim) -> None:
    by_name = {each.name: each for each in found(embedded).rated}
    for method, zeta in (("wim", 1), ("numerical", 1), ("calibrated", 1), ("mixed", 0.3)):
        settings = [f"rate.method={method}", f"rate.zeta={zeta}"]
        assert wim("rate", embedded, *(word for text in settings for word in ("--set", text))) == 0
        expected = tables.read(embedded / "ratings.parquet", "ratings", ["completion_id", "reward"])
        own = by_name[rated.name_of(method, zeta)].values
        order = tables.read(embedded / "completions.parquet", "completions", ["completion_id"])
        assert order.join(expected, on="completion_id", how="left")["reward"].to_list() == own.tolist()


def test_what_needs_embeddings_is_left_out_where_there_are_none(judged: Path) -> None:
    without = found(judged)
    assert {each.name for each in without.rated} >= {"numerical", "calibrated", "length", "feedback_length", "random"}
    assert "add --embed, or run `wim embed" in without.left_out["wim"]
    assert "add --embed" in without.left_out["prompt_similarity"]
    assert "rate.also" not in without.left_out["mixed:0.5"]


def test_the_control_of_words_learns_and_rates_by_the_next_completions_words(judged: Path) -> None:
    """The words follow the quality, those of another completion do not; where nothing is missing both say the same."""
    by_name = {each.name: each for each in found(judged).rated}
    own, control = by_name["calibrated"], by_name["calibrated:swapped"]
    numbers = by_name["numerical"].values
    assert (control.kind, control.uses) == ("control", {"text"})
    assert np.isfinite(control.values).all()
    assert np.corrcoef(own.values, numbers)[0, 1] > 0.6
    assert abs(np.corrcoef(control.values, numbers)[0, 1]) < 0.3
    frame = FRAME.with_columns(baselines.swapped(FRAME), rating=pl.lit(None, pl.Float64))
    top = baselines.SwappedWords(params.load(None)).rate(frame, lambda _: np.zeros((0, 1), np.float32))
    nothing = (frame["wim_status"] == "nothing").to_list()
    assert [value is not None for value in top] == nothing  # of so few numbers nothing is learned


def test_what_learns_from_numbers_is_left_out_for_that_where_there_are_none(
    write_jsonl: Callable[..., Path], wim: Wim
) -> None:
    told = [{"prompt": "p", "completion": c, "judge": "person", "feedback": f"{c} lacks it."} for c in ("one", "two")]
    assert wim("ingest", write_jsonl(told), "--out", "run") == 0
    without = found(Path("run")).left_out
    assert without["calibrated"] == "no judge has given the 40 numbers that it learns from"
    assert without["numerical"] == "the run holds nothing that it could read: number"


def test_the_zeta_of_the_run_is_on_the_grid(embedded: Path) -> None:
    assert "mixed:0.33" in {each.name for each in found(embedded, "rate.method=mixed", "rate.zeta=0.33").rated}
    assert rated.name_of("mixed", 0.0) == "numerical"
    assert rated.name_of("mixed", 1.0) == "wim"


def test_a_judge_that_is_nobody_is_refused(judged: Path) -> None:
    with pytest.raises(TableError, match=r"pair\.judge is 'nobody'; there are mean, median, majority, critic"):
        found(judged, "pair.judge=nobody")


def test_the_values_of_several_judges_are_their_mean(write_jsonl: Callable[..., Path], wim: Wim) -> None:
    """A completion that one of the prompt's judges has not rated is not compared, as in pairing."""
    said = [("one", "j", 4), ("one", "k", 8), ("two", "j", 2), ("two", "k", 3), ("three", "j", 9)]
    told = [{"prompt": "p", "completion": c, "judge": j, "rating": r, "feedback": c + j} for c, j, r in said]
    assert wim("ingest", write_jsonl(told), "--out", "run") == 0
    by_name = {each.name: each.values for each in found(Path("run")).rated}
    assert by_name["numerical"].tolist() == pytest.approx([0.5 / 5.5, -3 / 5.5, np.nan], nan_ok=True)
    own = {each.name: each.values for each in found(Path("run"), "pair.judge=k").rated}
    assert own["numerical"].tolist() == pytest.approx([2.5 / 5.5, -2.5 / 5.5, np.nan], nan_ok=True)
    assert own["length"].tolist() == [3, 3, 5]
