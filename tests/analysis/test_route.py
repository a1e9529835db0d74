"""wim route: which labels are least certain, and what it brings to ask people about them first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis import route

Wim = Callable[..., int]
PROMPTS = 60


@pytest.fixture
def judged(wim: Wim, write_jsonl: Any) -> Path:
    """Numbers that are right by 2 or more and a coin where they are 1 apart, and the truth of each."""
    draw = np.random.default_rng(0)
    records, truth = [], []
    for i in range(PROMPTS):
        good = 5 + int(draw.integers(0, 2)) * 3  # 8: a clear lead over the other's 5; 5: within the judge's error
        for j, gold in enumerate((good, 5)):
            number = gold if good == 8 else 5 + int(draw.integers(0, 2))
            name = {"prompt": f"Question {i}?", "completion": f"Answer {j} to {i}.", "completion_id": f"c{i}-{j}"}
            records.append(name | {"feedback": f"It lacks {j}.", "rating": number})
            truth.append({"prompt": f"Question {i}?", "completion_id": f"c{i}-{j}", "rating": gold + 0.5 * (1 - j)})
    assert wim("build", write_jsonl(records), "--out", "run", "--set", "rate.method=numerical") == 0
    write_jsonl(truth, "truth.jsonl")
    return Path("run")


def test_the_least_certain_label_comes_first(wim: Wim, judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert wim("route", judged) == 0
    assert "the least certain first" in capsys.readouterr().out
    table = pl.read_parquet(judged / "route.parquet")
    assert table["uncertainty"].is_sorted(descending=True)
    assert table["delta"].is_sorted()  # what speaks against a label here is how small its delta is
    assert table["delta"].min() > 0
    assert set(table["chosen_id"].str.slice(0, 1)) == {"c"}


def test_asking_people_about_them_brings_more_than_chance(
    wim: Wim, judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert wim("route", judged, "--truth", "truth.jsonl", "--json") == 0
    gain = json.loads(capsys.readouterr().out)["gain"]
    assert gain["pairs"] == PROMPTS
    none, *shares = gain["shares"]
    assert none["share"] == 0
    assert none["agreement"] < 0.9
    agreements = [row["agreement"] for row in shares]
    assert agreements == sorted(agreements)
    third = next(row for row in shares if row["share"] == 0.3)
    assert third["over_chance"]["low"] > 0
    by_chance = none["agreement"] + 0.3 * (1 - none["agreement"])
    assert third["agreement"] - third["over_chance"]["difference"] == pytest.approx(by_chance)


def test_what_speaks_against_a_label() -> None:
    reward = np.array([3.0, 2.0, 1.5, 0.0])
    values = {"reward": reward, "reading numerical": np.array([1.0, 1.0, 5.0, 0.0])}
    values |= {"judge a": reward, "judge b": -reward, "judge c": np.full(4, np.nan)}
    better, worse = np.array([0, 1, 2]), np.array([1, 2, 3])
    found = route.signals(better, worse, values)
    assert found["small"].tolist() == [0.5, 1.0, 0.0]  # deltas 1, 0.5, 1.5
    assert found["readings"].tolist() == [0.5, 1.0, 0.0]  # a tie, the other way round, alike
    assert found["judges"].tolist() == [0.5] * 3  # one of two; the third has not judged
    assert found["uncertainty"].tolist() == pytest.approx([0.5, 2.5 / 3, 0.5 / 3])
    alone = route.signals(better, worse, {"reward": reward})
    assert alone["uncertainty"].tolist() == alone["small"].tolist()


def test_a_run_without_pairs_is_told(wim: Wim, write_jsonl: Any, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"prompt": "Why?", "completion": "Because.", "feedback": "lacks all", "rating": 5}]
    assert wim("build", write_jsonl(records), "--out", "run") == 0
    assert wim("route", "run") == 1
    assert "no two completions of a prompt can be compared" in capsys.readouterr().err
