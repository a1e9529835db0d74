"""The page and its numbers from synthetic runs: whole, with parts missing, hostile, and the same twice."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.paper import assemble as paper
from analysis.paper import benchmarked, experiment
from builder import tables
from builder.errors import UsageError, WimError

Make = Callable[..., Path]
Wim = Callable[..., int]
Told = tuple[str, dict[str, Any]]


def written(runs: list[Path], out: Path) -> Told:
    """The page up to the scripts that draw it, and the numbers."""
    paper.run(runs, out)
    body = out.read_text(encoding="utf-8").split("<script>")[0]
    return body, json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(experiment_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Told:
    return written(experiment_runs, tmp_path_factory.mktemp("whole") / "paper.html")


def finding(numbers: dict[str, Any], quantity: str, arm: str | None = None) -> dict[str, Any]:
    return next(found for found in numbers["findings"] if found["quantity"] == quantity and found["arm"] == arm)


def test_the_page_holds_every_table_and_figure(whole: Told) -> None:
    text, numbers = whole
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads == [
        "Table 1: ties and deltas",
        "Figures: ratings and deltas",
        "Tables 2 and 3: loss and entropy",
        "Figures: reward advantage",
        "Win rates and coverage",
        "Table 4: benchmarks",
    ]
    assert (numbers["seeds"], numbers["rounds"], numbers["missing"]) == ([1, 2, 3], [0, 1], [])
    assert numbers["arms"] == ["random", "numerical", "wim-moving", "wim-fixed"]
    assert text.count("<figure>") == 3 + 2 + 4 + 1
    assert "With 3 seeds the intervals are too narrow" in text
    assert "wim eval" in text
    assert not re.search(r"(src|href)=", text)


def test_every_number_has_an_interval_around_it_and_a_sentence(whole: Told) -> None:
    _, numbers = whole
    for found in numbers["findings"]:
        assert found["sentence"].endswith(".")
        if isinstance(found["value"], float):
            assert found["low"] <= found["value"] <= found["high"], found
    assert finding(numbers, "Tie rate of the judge's numbers")["paper"] == 0.4278
    assert set(numbers["fits"]) == set(numbers["outcomes"]) == set(numbers["arms"])
    assert set(numbers["ties"]) > {"all arms and rounds", "round 0, all arms", "numerical, all rounds"}


def test_what_the_runs_were_made_to_show_is_found(whole: Told) -> None:
    """The loss falls and the win rate rises in the paper's order; the advantage is linear and not as in the paper."""
    _, numbers = whole
    order = "wim-fixed < wim-moving < numerical < random"
    assert finding(numbers, "Loss difference", order)["agreement"] == "agrees"
    assert finding(numbers, "Loss difference", "wim-fixed")["agreement"] == "agrees"
    assert finding(numbers, "Tie rate of the judge's numbers less that of WIM ratings")["agreement"] == "agrees"
    curve = finding(numbers, "Reward advantage", "numerical")
    assert (curve["value"], curve["paper"], curve["agreement"]) == ("linear", "constant", "differs")
    slope = numbers["fits"]["wim-fixed"]["curves"]["linear"]["coefficients"]["b"]
    assert slope["low"] < 0.004 < slope["high"]
    slope = numbers["fits"]["random"]["curves"]["linear"]["coefficients"]["b"]
    assert -0.001 < slope["low"] < slope["high"] < 0.001
    gains = [numbers["outcomes"][arm]["difference"]["value"] for arm in ("random", "wim-fixed")]
    assert gains[0] < gains[1]


def test_the_same_runs_give_the_same_bytes(experiment_runs: list[Path], tmp_path: Path) -> None:
    first, second, few = tmp_path / "a.html", tmp_path / "b.html", experiment_runs[:10]
    paper.run(few, first)
    paper.run(few[::-1], second)
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_bytes() == second.with_suffix(".json").read_bytes()


def test_a_single_run_says_what_is_missing(run: Path, tmp_path: Path) -> None:
    """An import: no seed is named, nothing was trained, no truth is known."""
    text, numbers = written([run], tmp_path / "paper.html")
    assert numbers["arms"] == ["wim-fixed"]
    assert "There is no run of the arm numerical." in text
    assert "1 of 1 runs (wim-fixed) have no training.parquet; `wim train dpo RUN` makes it." in text
    assert "There is one seed" in text
    assert "run `wim evaluate RUN` on prompts with references" in text
    stats = tables.read_json(run / "stats.json")["methods"]
    for method, name in (("numerical", "the judge's numbers"), ("wim", "WIM ratings")):
        assert finding(numbers, f"Tie rate of {name}")["value"] == pytest.approx(stats[method]["tie_rate"])


def test_missing_seeds_and_rounds_are_told(experiment_runs: list[Path], tmp_path: Path) -> None:
    kept = [path for path in experiment_runs if path.parts[-4:] != ("3", "runs", "wim-moving", "1")]
    text, numbers = written(kept, tmp_path / "paper.html")
    assert numbers["missing"] == ["wim-moving: there is no run of seed 3, round 1."]
    assert numbers["missing"][0] in text


def test_runs_without_truth_have_no_win_rate(make_run: Make, tmp_path: Path) -> None:
    run = make_run(tmp_path / "0", 1, "numerical", 0)
    frame = pl.read_parquet(run / "evaluation.parquet").with_columns(value=pl.lit(None, pl.Float64))
    tables.write(run / "evaluation.parquet", "evaluation", frame, {})
    text, numbers = written([run], tmp_path / "paper.html")
    assert "have a judge compare, `wim winrate RUN`" in text
    assert numbers["outcomes"] == {}


def test_hostile_names_stay_text(make_run: Make, tmp_path: Path, hostile: str) -> None:
    runs = [make_run(tmp_path / str(seed), seed, hostile, 0) for seed in (1, 2)]
    text, numbers = written(runs, tmp_path / "paper.html")
    assert numbers["arms"] == [hostile]
    assert "<img" not in text
    assert 'src="https://example.org' not in text
    assert "&lt;/script&gt;&lt;script src=&quot;https://example.org" in text


def test_a_policy_measured_against_its_predecessor_is_told(make_run: Make, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / str(index), 1, "numerical", index) for index in (0, 1)]
    frame = tables.read(runs[1] / "training.parquet", "training")
    about = {"params": {"train": {"reference": "previous"}}}
    assert "loss and advantage begin again" not in written(runs, tmp_path / "a.html")[0]
    tables.write(runs[1] / "training.parquet", "training", frame, about)
    assert "loss and advantage begin again" in written(runs, tmp_path / "a.html")[0]


def test_another_scale_is_not_compared(make_run: Make, tmp_path: Path) -> None:
    run = make_run(tmp_path / "0", 1, "numerical", 0)
    ratings = tables.read(run / "ratings.parquet", "ratings")
    about = {"params": {"seed": 1, "rating": {"scale": [0, 100]}}}
    tables.write(run / "ratings.parquet", "ratings", ratings, about)
    _, numbers = written([run], tmp_path / "paper.html")
    found = finding(numbers, "Average delta of the judge's numbers")
    assert found["agreement"] == "not comparable"
    assert "0 to 100" in found["sentence"]
    assert finding(numbers, "Share of the judge's numbers that are 7 or 8")["agreement"] == "not comparable"


def of_numerical(experiment_runs: list[Path], folder: Path) -> list[Path]:
    """Copies of the numerical arm's last round, a run for each seed."""
    return [
        shutil.copytree(path, folder / path.parts[-4])
        for path in experiment_runs
        if path.parts[-2:] == ("numerical", "1")
    ]


def test_no_average_over_seeds_makes_the_questions_more(experiment_runs: list[Path], tmp_path: Path) -> None:
    figure = {"value": 0.64, "stderr": 0.01, "base_value": 0.64, "base_stderr": 0.01}
    figure |= dict.fromkeys(("difference", "difference_low", "difference_high"))
    runs = of_numerical(experiment_runs, tmp_path)
    for run in runs:
        tasks = {"mmlu": {"n": 1, "part_of_group": False, "metrics": {"acc": figure}}}
        tables.write_json(run / "benchmarks.json", {"tasks": tasks})
    assert len(runs) > 1
    found = benchmarked.of(experiment.read(runs).last("numerical"))["MMLU"]["value"]
    assert found.interval == pytest.approx((64 - 1.96, 64 + 1.96), abs=0.15)


@pytest.mark.parametrize(
    ("task", "benchmark"),
    [("mmlu", "MMLU"), ("bbh_cot_fewshot", "BBH"), ("leaderboard_bbh", "BBH"), ("leaderboard_ifeval", "IFEval")]
    + [("gpqa_diamond_zeroshot", "GPQA diamond"), ("gpqa_diamond_cot_n_shot", "GPQA diamond")]
    + [
        (name, None)
        for name in ("leaderboard_mmlu_pro", "mmlu_anatomy", "bbh_cot_fewshot_navigate", "gpqa_main_n_shot")
    ],
)
def test_a_part_or_a_namesake_is_not_the_papers_benchmark(task: str, benchmark: str | None) -> None:
    known = [
        name for name, pattern in benchmarked.TASKS.items() if re.fullmatch(pattern, task.removeprefix("leaderboard_"))
    ]
    assert known == ([benchmark] if benchmark else [])


def test_benchmarks_are_read_where_they_are(experiment_runs: list[Path], tmp_path: Path) -> None:
    runs = of_numerical(experiment_runs, tmp_path)
    for number, run in enumerate(runs):
        score = {"value": 0.28 + 0.01 * (number % 3), "stderr": 0.01, "base_value": 0.30, "base_stderr": 0.01}
        score |= {"difference": score["value"] - 0.30, "difference_low": -0.03, "difference_high": 0.01}
        part = {"n": 198, "part_of_group": True, "metrics": {"acc,none": score | {"value": 0.9}}}
        whole = {"n": 198, "part_of_group": False, "metrics": {"acc": score | {"value": 0.1}, "acc_norm": score}}
        tasks = {"gpqa_diamond_a_part": part, "leaderboard_gpqa_diamond": whole}
        tables.write_json(run / "benchmarks.json", {"tasks": tasks})
    text, numbers = written(runs, tmp_path / "paper.html")
    found = finding(numbers, "GPQA diamond", "numerical")
    assert found["paper"] == 28.28
    assert 28 <= found["value"] <= 30
    assert found["low"] < found["value"] < found["high"]
    assert finding(numbers, "GPQA diamond less the base model's", "numerical")["paper"] == pytest.approx(-2.53)
    assert "No run holds benchmarks.json" not in text


def test_the_same_run_twice_and_a_page_named_json_are_refused(make_run: Make, tmp_path: Path) -> None:
    one, other = (make_run(tmp_path / name, 1, "numerical", 0) for name in ("one", "other"))
    with pytest.raises(WimError, match="both are round 0 of the arm numerical under seed 1"):
        experiment.read([one, other])
    with pytest.raises(UsageError, match=r"name it \.html"):
        paper.run([one], tmp_path / "paper.json")


def test_the_command_tells_the_claims(
    wim: Wim, experiment_runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("paper", *experiment_runs[:2], "-o", "paper.html") == 0
    assert "agrees          Tie rate of the judge's numbers less that of WIM ratings" in capsys.readouterr().out
    assert wim("paper", *experiment_runs[:2], "-o", "paper.html", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["findings"] == json.loads((tmp_path / "paper.json").read_text())["findings"]
    assert wim("paper", "nowhere", "-o", "paper.html") == 1
    assert "there is no such run folder" in capsys.readouterr().err
