"""`wim themes`: what is asked for again and again, and what it decides, where the labels are known to hang on it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from analysis.themes import decide, labels
from builder import ids, tables

Wim = Callable[..., int]
TEXTLESS = {key: [{"role": "user", "content": "?"}] for key in ("prompt", "chosen", "rejected")}
TOPICS = ("price", "sources", "date")


def make_run(folder: Path, seed: int, prompts: int = 120) -> None:
    """Two completions a prompt, each with one fault or none: who lacks the price loses, all else is by chance."""
    draw = np.random.default_rng(seed)
    feedback, pairs, vectors = [], [], {}
    for number in range(prompts):
        faults = draw.choice([*TOPICS, ""], 2, replace=False, p=[0.3, 0.3, 0.3, 0.1])
        names = [f"{number:04x}-{index:02d}" for index in range(2)]
        for name, fault in zip(names, faults, strict=True):
            text = f"It leaves out the {fault}, as number {name} does." if fault else ""
            status = "missing" if fault else "nothing"
            feedback.append({"completion_id": name, "judge": "j", "attempt": 0, "wim": text, "wim_status": status})
            if fault:
                vectors[text] = np.eye(8)[TOPICS.index(fault)] + draw.normal(0, 0.1, 8)
        first = 1 if faults[0] == "price" or (faults[1] != "price" and draw.random() < 0.5) else 0
        chosen, rejected = names[first], names[1 - first]
        pairs.append(
            {"prompt_id": f"{number:04x}", "chosen_id": chosen, "rejected_id": rejected, "delta": 0.5} | TEXTLESS
        )
    _write(folder, "feedback", feedback, {"rating_status": "absent"})
    shared = {"judge": "mean", "method": "wim", "round": 0, "arm": "", "chosen_status": "missing"}
    shared |= {"rejected_status": "missing", "score_chosen": 0.5, "score_rejected": 0.0, "pair_id": "x"}
    _write(folder, "pairs", pairs, shared)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(list(vectors.values())), pa.float32()), 8)
    columns = {"text_id": [ids.text_id(text) for text in vectors], "embedding": flat}
    columns |= {"tokens": pa.array([1] * len(vectors), pa.int32()), "truncated": [False] * len(vectors)}
    schema = tables.embeddings_schema(8)
    with tables.writer(folder / "embeddings.parquet", schema, {}) as out:
        out.write_table(pa.table(columns).cast(schema))


def _write(folder: Path, name: str, rows: list[dict[str, object]], more: dict[str, object]) -> None:
    empty = pl.DataFrame(tables.SCHEMAS[name].empty_table())
    frame = pl.DataFrame(rows).with_columns(**{key: pl.lit(value) for key, value in more.items()})
    tables.write(folder / f"{name}.parquet", name, pl.concat([empty, frame], how="diagonal_relaxed"), {})


def test_the_theme_that_decides_is_found_and_one_theme_foretells_what_it_decides(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        make_run(tmp_path / f"a/{number}", number)
    assert wim("themes", "a/0", "a/1", "--count", "3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {next(topic for topic in TOPICS if topic in theme["name"]): theme for theme in told["themes"]}
    price, date = by_name["price"]["decides"], by_name["date"]["decides"]
    assert price["rejected"] == 1
    assert price["weight"] > 2
    assert date["low"] < 0.5 < date["high"] + 0.2
    assert abs(date["weight"]) < price["weight"] / 2
    assert sum(by_name["price"]["shares"].values()) == pytest.approx(2 / 3, abs=0.15)
    decided = price["pairs"] / told["pairs"]
    by_count = {each["themes"]: each for each in told["foretold"]}
    assert by_count[1]["accuracy"] == pytest.approx(0.5 + decided / 2, abs=0.05)
    assert by_count[4]["accuracy"] == pytest.approx(0.5 + decided / 2, abs=0.1)
    assert wim("themes", "a/0") == 0
    shown = capsys.readouterr().out
    assert "nothing is missing" in shown
    assert "labels foretold" in shown


def test_labels_that_hang_on_nothing_are_foretold_by_chance() -> None:
    draw = np.random.default_rng(0)
    missing = draw.choice([-1.0, 0.0, 1.0], (4000, 6))
    found = decide.foretold(labels.Labels(missing, np.repeat(np.arange(1000), 4)), 6, seed=1)
    for estimate in found.values():
        low, high = estimate.interval
        assert low - 0.01 < 0.5 < high + 0.01


def test_people_s_labels_take_the_place_of_the_pairs(
    wim: Wim, write_jsonl: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        {"prompt": f"q{i}", "completion": f"answer {i} {side}", "feedback": f"It lacks the {what}.", "rating": 5}
        for i in range(30)
        for side, what in (("a", "price"), ("b", "date of the sale"))
    ]
    write_jsonl(records, "in.jsonl")
    truth = [
        {"prompt": f"q{i}", "completion_a": f"answer {i} a", "completion_b": f"answer {i} b", "preference": "b"}
        for i in range(30)
    ]
    write_jsonl(truth, "truth.jsonl")
    assert wim("build", "in.jsonl", "--out", "run") == 0
    capsys.readouterr()
    assert wim("themes", "run", "--truth", "truth.jsonl", "--count", "2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"] == 30
    price = next(theme for theme in told["themes"] if "price" in theme["name"])
    assert price["decides"]["rejected"] == 1
    assert told["foretold"][0]["accuracy"] == 1


def test_a_run_without_vectors_or_with_those_of_another_embedder_is_refused(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", 0, prompts=8)
    assert wim("themes", "a", "nowhere") == 1
    assert "wim embed nowhere" in capsys.readouterr().err


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_decides_nothing_is_null_in_json_and_runs_may_be_named_in_any_way(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        make_run(tmp_path / f"a/{number}", number, prompts=8)
    pairs = tables.read(tmp_path / "a/0/pairs.parquet", "pairs")
    tables.write(tmp_path / "a/0/pairs.parquet", "pairs", pairs.head(1), {})
    assert wim("themes", "a/0", "--count", "3", "--json") == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    undecided = [theme["decides"] for theme in (*told["themes"], told["nothing"]) if not theme["decides"]["pairs"]]
    assert undecided
    assert all(each["rejected"] is each["low"] is each["high"] is None for each in undecided)
    assert wim("themes", tmp_path / "a/0", "a/1") == 0
    assert capsys.readouterr().out.splitlines()[0].split()[-2:] == ["0", "1"]


def test_ties_that_were_kept_decide_nothing(wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a", 0, prompts=8)
    for gap, pairs in ((0.4, 8), (0.5, 0)):
        assert wim("themes", "a", "--set", f"pair.min_gap={gap}", "--json") == 0
        assert json.loads(capsys.readouterr().out)["pairs"] == pairs


def test_without_pairs_the_themes_are_shown_all_the_same(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a", 0, prompts=8)
    (tmp_path / "a/pairs.parquet").unlink()
    assert wim("themes", "a") == 0
    assert "no pairs: `wim pair` makes them" in capsys.readouterr().out
