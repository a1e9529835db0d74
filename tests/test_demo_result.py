"""What the demo must show, on the runs of a finished `make demo` (WIM_DEMO_RUNS names their folder; CI sets it)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

RUNS = Path(os.environ.get("WIM_DEMO_RUNS", ""))

pytestmark = pytest.mark.skipif("WIM_DEMO_RUNS" not in os.environ, reason="needs the runs of `make demo`")


def read(arm: str, index: int, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RUNS / arm / str(index) / name).read_text())
    return document


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("arm", ["wim", "numerical", "random"])
def test_numbers_tie_at_least_five_times_as_often_as_wim(arm: str, index: int) -> None:
    methods = read(arm, index, "stats.json")["methods"]
    assert methods["numerical"]["ties"] > 100
    assert methods["numerical"]["tie_rate"] >= 5 * methods["wim"]["tie_rate"]


def test_the_wim_arm_learns_to_say_more() -> None:
    rounds = [read("wim", index, "evaluation.json") for index in (0, 1)]
    assert rounds[1]["difference_low"] > 0
    assert rounds[1]["mean"] > rounds[0]["mean"] > rounds[0]["base_mean"]


def test_the_random_arm_does_not_rise() -> None:
    assert read("random", 1, "evaluation.json")["difference_low"] <= 0


def test_the_page_is_there() -> None:
    assert (RUNS / "report.html").stat().st_size > 100_000
