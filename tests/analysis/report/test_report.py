"""The page tells the numbers of the run, loads nothing, and takes hostile text as text."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_runs import benchmarked, evaluated, trained

from analysis import charts, histograms, runs, winrate
from analysis.report import assemble, summary
from builder import params, tables
from builder.errors import WimError


class Page(HTMLParser):
    """What a browser sees: tags with their attributes, rows of tables, the charts' specifications, the pairs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.specs: list[dict[str, Any]] = []
        self.pairs: dict[str, Any] = {}
        self.words: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        block = "pairs" if dict(attrs).get("id") == "pairs-data" else "spec"
        self.inside = block if dict(attrs).get("type") == "application/json" else tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        del tag
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "spec":
            self.specs.append(json.loads(data))
        elif self.inside == "pairs":
            self.pairs = json.loads(data)
        elif self.inside in ("td", "th"):
            self.rows[-1][-1] += data
        elif self.inside not in ("script", "style"):
            self.words.append(data)

    def row(self, *beginning: str) -> list[str]:
        return next(row[len(beginning) :] for row in self.rows if row[: len(beginning)] == list(beginning))


def written(paths: list[Path], out: Path) -> tuple[str, Page]:
    assemble.run(paths, out, params.load(None, [], "", 0))
    text = out.read_text(encoding="utf-8")
    return text, Page(text)


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (rows,) = spec["datasets"].values()
    return list(rows)


def test_the_tie_table_holds_the_numbers_of_stats_json(run: Path, tmp_path: Path) -> None:
    _, page = written([run], tmp_path / "report.html")
    stats = tables.read_json(run / "stats.json")
    for method, name in (("numerical", "number"), ("wim", "WIM"), ("reward", "reward")):
        entry = stats["methods"][method]
        shown = page.row("wim, round 0", name)
        assert shown[:3] == [f"{entry['tie_rate']:.2%}", f"{entry['ties']:,}", f"{entry['judged_pairs']:,}"]
        assert shown[3] == f"{entry['average_delta']:.3f}"
        assert shown[4] == f"{entry['normalised_delta']:.4f}"
        assert shown[5] == f"{entry['effect_delta']:.3f}"
    assert stats["methods"]["numerical"]["ties"] > 0
    assert page.row("Prompts") == ["8"]
    assert page.row("… with fewer than two to compare") == [str(stats["prompts"]["too_few"])]
    assert page.row("Pairs") == [str(stats["pairs"])]


def test_the_summary_states_ties_and_pairs(run: Path) -> None:
    methods = tables.read_json(run / "stats.json")["methods"]
    ties, pairs = summary.sentences(runs.load([run]))[:2]
    number, text = methods["numerical"], methods["wim"]
    assert f"numbers tie {number['ties']} of {number['judged_pairs']} judged pairs ({number['tie_rate']:.1%})" in ties
    assert f"WIM ratings tie {text['ties']} of {text['judged_pairs']} judged pairs ({text['tie_rate']:.1%})" in ties
    assert pairs.startswith("7 preference pairs came out: of 8 prompts, 7 gave pairs")


def test_histograms_count_what_stats_json_counts(run: Path, tmp_path: Path) -> None:
    _, page = written([run], tmp_path / "report.html")
    stats = tables.read_json(run / "stats.json")
    number, text, deltas = (values(spec) for spec in page.specs)
    assert sum(row["count"] for row in number) == sum(row["count"] for row in text) == stats["completions"]["compared"]
    assert {(row["low"] + row["high"]) / 2: row["count"] for row in number if row["count"]} == {4: 4, 7: 18}
    by_rating = {name: [row for row in deltas if row["rating"] == name] for name in ("number", "WIM")}
    assert sum(row["count"] for row in by_rating["WIM"]) == stats["methods"]["wim"]["judged_pairs"]
    assert by_rating["number"][0]["count"] == stats["methods"]["numerical"]["ties"]
    third = next(row for row in by_rating["number"] if row["low"] == pytest.approx(3 / 9))
    assert third["count"] == stats["methods"]["numerical"]["judged_pairs"] - by_rating["number"][0]["count"]


@pytest.mark.parametrize(("low", "step"), [(1.0, 1.0), (0.0, 0.1)])
def test_delta_bins_keep_the_steps_of_a_scale_apart(low: float, step: float) -> None:
    """Ten numbers a step apart: nine pairs differ by one step, eight by two, however steps are rounded."""
    frame = pl.DataFrame({"prompt_id": ["p"] * 10, "completion_id": [str(i) for i in range(10)], "judge": "j"})
    frame = frame.with_columns(rating=pl.Series([low + step * i for i in range(10)]), wim_10=None, reason=None)
    texts = frame.select("completion_id", text="completion_id")
    judged = histograms.judged(frame.cast({"wim_10": pl.Float64, "reason": pl.String}), texts, "mean")
    bins = histograms.of_deltas(judged["numerical"], (low, low + 9 * step)).filter(pl.col("count") > 0)
    assert bins["count"].to_list() == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert bins["low"].to_list() == pytest.approx([i / 9 for i in range(1, 9)] + [35 / 36])


def test_nothing_is_loaded_from_anywhere(run: Path, tmp_path: Path) -> None:
    evaluated(run, 0.1)
    trained(run, 5)
    text, page = written([run], tmp_path / "report.html")
    named = {"src", "href", "srcset", "action", "data"}
    addresses = {str(value) for _, attributes in page.tags for name, value in attributes.items() if name in named}
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?https?:", text)
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert all("url" not in str(spec.get("data")) for spec in page.specs)
    assert text.count("window.vegaEmbed") == 1
    assert len(text) < 5_000_000


def test_what_speaks_against_a_rating_stands_first(run: Path, tmp_path: Path, hostile: str) -> None:
    assert (
        "No limit of the ratings' health is passed (there are too few judgements"
        in summary.sentences(runs.load([run]))[3]
    )
    stats = tables.read_json(run / "stats.json")
    counts = {"judgements": 40, "unreadable": 12, "placeholder": 0, "rating_unreadable": 0, "asked_again": 4}
    figures = {"alpha": 0.21, "icc1": 0.2, "icc2": None, "within": 0.1, "n": 40}
    stats["health"] |= {"judges": {hostile: counts}}
    stats["health"] |= {"retest": {hostile: {"completions": 40, "askings": 2, "rating": figures, "wim": figures}}}
    stats["health"]["generic"] = {
        "share": 0.5, "n": 40, "texts": [{"words": hostile, "judgements": 20, "prompts": 9}]
    }  # fmt: skip
    tables.write_json(run / "stats.json", stats)
    _, page = written([run], tmp_path / "report.html")
    told = " ".join(page.words)
    assert "4 limits of health are passed: what the warnings below name is not to be trusted" in told
    assert f"Of judge {hostile}, 30% of 40 texts could not be read (limit 10%)." in told
    assert told.index("What speaks against") < told.index("Ties")
    assert page.row("Feedback near to another prompt's") == ["50.0% of 40"]
    assert page.row(hostile, "number", "wim, round 0") == ["40", "0.21", "0.20", "–", "0.10"]
    assert page.row(hostile, "wim, round 0") == ["20", "9"]
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_hostile_text_stays_text(run: Path, tmp_path: Path, hostile: str) -> None:
    pairs = tables.read(run / "pairs.parquet", "pairs").with_columns(arm=pl.lit(hostile))
    tables.write(run / "pairs.parquet", "pairs", pairs, {})
    evaluated(run, 0.1)
    _, page = written([shutil.copytree(run, tmp_path / "other")], tmp_path / "report.html")
    assert page.row(hostile, "before")
    assert sum(hostile in word for word in page.words) >= 5
    assert not [tag for tag, _ in page.tags if tag == "img"]
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [a for a in scripts if a.get("type") != "application/json"] == [{}, {}, {"type": "module"}]
    assert any(row.get("arm") == hostile for spec in page.specs for row in values(spec))


def test_sections_without_tables_are_left_out(run: Path, tmp_path: Path) -> None:
    _, whole = written([run], tmp_path / "report.html")
    of_words = {"What is missing most often", "Pairs", "Deltas"}
    of_numbers = {"What speaks against trusting a rating", "Ties", "Ratings and deltas", "From prompts to pairs"}
    assert not {"True coverage", "Win rates", "Training", "Rounds and arms"} & set(whole.words)
    assert of_words | of_numbers <= set(whole.words)
    for name in ("prompts", "completions", "feedback", "embeddings", "pairs"):
        (run / f"{name}.parquet").unlink()
    _, bare = written([run], tmp_path / "report.html")
    assert of_numbers <= set(bare.words)
    assert not of_words & set(bare.words)
    assert bare.pairs == {}
    assert bare.row("wim, round 0", "WIM") == whole.row("wim, round 0", "WIM")


@pytest.mark.parametrize(
    ("gain", "noise", "verdict"),
    [(0.1, 0.0, "more than before"), (-0.1, 0.0, "less than before"), (0.01, 0.3, "includes zero")],
)
def test_the_coverage_of_an_arm_is_told_as_its_interval_says(
    run: Path, gain: float, noise: float, verdict: str
) -> None:
    found = evaluated(run, gain, noise)
    sentence = summary.sentences(runs.load([run]))[-1]
    assert sentence.startswith(f"wim: true coverage on 40 held-out prompts was {found['base_mean']:.1%} before")
    assert f"{100 * found['difference']:+.1f} points" in sentence
    assert verdict in sentence


def test_coverage_is_drawn_before_and_after_each_round(run: Path, tmp_path: Path) -> None:
    later = shutil.copytree(run, run.parent / "1")
    pairs = tables.read(later / "pairs.parquet", "pairs")
    tables.write(later / "pairs.parquet", "pairs", pairs.with_columns(round=pl.lit(1, pl.Int32)), {})
    first, second = evaluated(run, 0.05), evaluated(later, 0.1)
    trained(later, 7)
    _, page = written([later, run], tmp_path / "report.html")
    chart = next(spec for spec in page.specs if spec["description"].startswith("Before and after each round"))
    points = {row["when"]: row for row in values(chart)}
    assert list(points) == ["before", "after round 0", "after round 1"]
    assert points["before"]["mean"] == first["base_mean"]
    assert [points["after round 1"][name] for name in ("mean", "low", "high")] == [
        second[name] for name in ("mean", "low", "high")
    ]
    assert page.row("wim", "after round 1")[0] == f"{second['mean']:.1%}"
    loss = next(spec for spec in page.specs if spec["description"].startswith("Loss"))
    assert [row["step"] for row in values(loss)] == list(range(1, 8))


def test_arms_are_compared_prompt_by_prompt(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "runs" / "numerical" / "0")
    pairs = tables.read(other / "pairs.parquet", "pairs").with_columns(arm=pl.lit("numerical"))
    tables.write(other / "pairs.parquet", "pairs", pairs, {})
    evaluated(run, 0.1)
    evaluated(other, 0.03)
    _, page = written([run, other], tmp_path / "report.html")
    assert page.row("wim less numerical") == ["+7.0 points", "+7.0 to +7.0", "no"]


def test_a_long_training_is_drawn_as_few_points(run: Path, tmp_path: Path) -> None:
    trained(run, 50_000)
    _, page = written([run], tmp_path / "report.html")
    loss = next(spec for spec in page.specs if "step" in str(spec["encoding"]))
    assert len(values(loss)) <= 300
    assert values(loss)[-1]["step"] == 50_000


def test_runs_without_an_arm_go_by_their_folders(run: Path, tmp_path: Path) -> None:
    named = shutil.copytree(run, tmp_path / "critiques")
    for folder in (run, named):
        pairs = tables.read(folder / "pairs.parquet", "pairs").with_columns(arm=pl.lit(""))
        tables.write(folder / "pairs.parquet", "pairs", pairs.head(0) if folder == run else pairs, {})
    assert [found.label for found in runs.load([named, run])] == ["critiques", "wim, round 0"]


def test_runs_of_the_same_name_are_told_apart_by_their_paths(run: Path, tmp_path: Path) -> None:
    again = shutil.copytree(run, tmp_path / "seed-2" / "wim" / "0")
    assert [found.label for found in runs.load([run, again, run])] == [str(run), str(again)]


def test_rounds_that_lie_in_folders_of_the_same_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(run, tmp_path / name / "mine") for name in ("a", "b")]
    for index, folder in enumerate(folders):
        pairs = tables.read(folder / "pairs.parquet", "pairs")
        pairs = pairs.with_columns(arm=pl.lit(""), round=pl.lit(index, pl.Int32))
        tables.write(folder / "pairs.parquet", "pairs", pairs, {})
    assert [found.label for found in runs.load(folders)] == ["mine, seed 42, round 0", "mine, seed 42, round 1"]


def test_the_same_runs_give_the_same_bytes(run: Path, tmp_path: Path) -> None:
    evaluated(run, 0.1)
    trained(run, 5)
    first, _ = written([run], tmp_path / "a.html")
    second, _ = written([run], tmp_path / "b.html")
    assert first == second


def test_what_is_no_run_is_named_in_one_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(WimError, match="nowhere: there is no such run folder"):
        written([tmp_path / "nowhere"], tmp_path / "report.html")
    (run / "ratings.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(WimError, match=r"ratings\.parquet: not a complete Parquet file"):
        written([run], tmp_path / "report.html")
    (run / "stats.json").write_text("{}")
    with pytest.raises(WimError, match=r"stats\.json: completions, .* expected"):
        written([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_every_chart_says_what_it_shows(run: Path, tmp_path: Path) -> None:
    evaluated(run, 0.1)
    trained(run, 30)
    _, page = written([run], tmp_path / "report.html")
    assert len(page.specs) == 3 + 1 + 1 + 1  # ratings and deltas, loss, advantage, coverage
    assert all(re.fullmatch(r".+\. .+\.", spec["description"], re.DOTALL) for spec in page.specs)


def test_the_flow_holds_the_numbers_of_stats_json(run: Path, tmp_path: Path) -> None:
    text, _ = written([run], tmp_path / "report.html")
    stats = tables.read_json(run / "stats.json")
    steps = re.findall(r'<p class="what"><b>([\d,]+)</b> ([a-z ]+)</p>', text)
    judged, ties = (stats["methods"]["reward"][name] for name in ("judged_pairs", "ties"))
    assert steps == [
        (str(stats["prompts"]["total"]), "prompts"),
        (str(stats["completions"]["total"]), "completions"),
        (str(stats["judgements"]["total"]), "judgements"),
        (str(stats["judgements"]["total"]), "ratings"),
        (str(judged), "judged pairs"),
        (str(stats["prompts"]["total"]), "prompts"),
        (str(stats["pairs"]), "pairs"),
    ]
    parts = {name: int(number) for number, name in re.findall(r"<li><b>([\d,]+)</b> ([a-z ]+)</li>", text)}
    assert (parts["differ"], parts["tie"]) == (judged - ties, ties)
    assert parts["say what is missing"] == stats["judgements"]["missing"]
    assert (parts["gave pairs"], parts["only ties"]) == (stats["prompts"]["paired"], stats["prompts"]["tied"])


def test_the_advantage_is_shown_with_the_curve_that_it_follows(run: Path, tmp_path: Path) -> None:
    steps = np.arange(1, 41)
    rows = [(int(step), "rewards/margins", 0.5 + 0.02 * step + 0.001 * (step % 3)) for step in steps]
    frame = pl.DataFrame(rows, schema={"step": pl.Int32, "name": pl.String, "value": pl.Float64}, orient="row")
    tables.write(run / "training.parquet", "training", frame, {})
    _, page = written([run], tmp_path / "report.html")
    chart = next(spec for spec in page.specs if spec["description"].startswith("wim. Linear"))
    assert "a + b step: a = 0.5" in chart["description"]
    assert "explains 100% of the variance" in chart["description"]


def test_rounds_and_arms_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    later = shutil.copytree(run, run.parent / "1")
    pairs = tables.read(later / "pairs.parquet", "pairs")
    tables.write(later / "pairs.parquet", "pairs", pairs.with_columns(round=pl.lit(1, pl.Int32)), {})
    _, page = written([run, later], tmp_path / "report.html")
    stats = tables.read_json(run / "stats.json")
    for index in ("0", "1"):
        shown = page.row("wim", index)
        assert shown[0] == str(stats["pairs"])
        assert shown[1] == f"{stats['methods']['numerical']['tie_rate']:.1%}"
        assert shown[4] == f"{stats['methods']['wim']['mean']:.2f}"
    moved = next(spec for spec in page.specs if spec["description"].startswith("Mean WIM"))
    mean = f"{stats['methods']['wim']['mean']:.2f}"
    assert f"wim {mean} to {mean}" in moved["description"]


def test_win_rates_are_of_the_truth_and_of_judges(run: Path, tmp_path: Path) -> None:
    found = evaluated(run, 0.1)
    values = tables.read(run / "evaluation.parquet", "evaluation")
    base = values.with_columns(base_value=pl.when(pl.int_range(40) < 30).then(0.0).otherwise(1.0))
    tables.write(
        run / "evaluation.parquet", "evaluation", base.with_columns(text=pl.lit("a"), base_text=pl.lit("b")), {}
    )
    winrate._keep(run, None, judged := winrate.summarise(TEXTS, np.array([[1.0, 1.0], [1.0, 0.0]]), 0, "some judge"))
    _, page = written([run], tmp_path / "report.html")
    assert page.row("wim, round 0", "the base model", "truth")[0] == "75.0%"
    shown = page.row("wim, round 0", "the base model", "some judge")
    assert shown[:4] == [f"{judged.win_rate:.1%}", f"{judged.low:.1%} to {judged.high:.1%}", "1", "0"]
    tables.write(run / "evaluation.parquet", "evaluation", values, {"made": "again"})
    _, page = written([run], tmp_path / "report.html")
    assert "some judge" not in page.words  # it judged another evaluation
    assert found["n"] == 40


def test_benchmarks_are_told_with_their_intervals(run: Path, tmp_path: Path, hostile: str) -> None:
    result = benchmarked(run, 0.25)
    result["tasks"][hostile] = result["tasks"]["facts"]
    tables.write_json(run / "benchmarks.json", result)
    _, page = written([run], tmp_path / "report.html")
    found = result["tasks"]["facts"]["metrics"]["acc"]
    own, below, gain = (
        ["0.5000", "0.4020 to 0.5980"],
        ["0.2500", "0.1520 to 0.3480"],
        ["+0.2500", f"{found['difference_low']:+.4f} to {found['difference_high']:+.4f}"],
    )
    assert 0 < found["difference_low"] < 0.25 < found["difference_high"]
    for task in ("facts", hostile):
        assert page.row("wim, round 0", task, "acc") == ["3", "5", "40", *own, *below, *gain]
        assert page.row("wim, round 0", task, "rouge")[3:] == ["0.2500", "–", "0.1250", "–", "+0.1250", "–"]
    assert not any("facts_birds" in row for row in page.rows)
    assert "of each task only" not in " ".join(page.words)


def test_a_benchmark_of_few_questions_says_so(run: Path, tmp_path: Path) -> None:
    benchmarked(run, 0.0, limit=40)
    _, page = written([run], tmp_path / "report.html")
    told = " ".join(page.words)
    assert "wim, round 0 has answered the first 40 questions of each task only." in told
    assert "some questions were longer than the model reads" in told


@pytest.mark.parametrize("said", ["[]", '{"tasks": {"facts": {"metrics": {"acc": {"value": 0.5}}}}}', "{"])
def test_benchmarks_of_another_making_are_one_clear_error(run: Path, tmp_path: Path, said: str) -> None:
    (run / "benchmarks.json").write_text(said)
    with pytest.raises(WimError, match=r"benchmarks\.json: "):
        written([run], tmp_path / "report.html")


def test_win_rates_need_no_texts_and_go_with_their_evaluation(run: Path, tmp_path: Path) -> None:
    evaluated(run, 0.1)
    values = tables.read(run / "evaluation.parquet", "evaluation").with_columns(base_value=pl.lit(0.1))
    tables.write(run / "evaluation.parquet", "evaluation", values, {})
    winrate._keep(run, None, winrate.summarise(TEXTS, np.array([[1.0, 1.0], [1.0, 0.0]]), 0, "some judge"))
    _, page = written([run], tmp_path / "report.html")
    shown = page.row("wim, round 0", "the base model", "truth")
    assert (shown[0], shown[-1]) == ("100.0%", "–")  # no rate at equal length without a length
    for name in ("evaluation.parquet", "evaluation.json"):
        (run / name).unlink()
    _, page = written([run], tmp_path / "report.html")
    assert "Win rates" not in page.words


TEXTS = pl.DataFrame({"text": ["a", "bb"], "text_b": ["c", "d"]})


def test_a_run_of_numbers_alone_has_a_report(tmp_path: Path, wim: Callable[..., int]) -> None:
    records = [
        {"prompt": f"Question {i}?", "completion": f"Answer {i}, {k}.", "rating": 5 + k}
        for i in range(6)
        for k in (0, 1, 1)
    ]
    records = [record | {"completion": f"{record['completion']} {place}"} for place, record in enumerate(records)]
    (tmp_path / "numbers.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert wim("build", "numbers.jsonl", "--out", "run", "--set", "rate.method=numerical") == 0
    _, page = written([Path("run")], tmp_path / "report.html")
    assert "What is missing most often" not in page.words
    assert [pair["why"] for pair in page.pairs["pairs"]].count("tie") == 6
    first = page.pairs["pairs"][0]
    assert [side["judged"][0]["numbers"]["rating"] for side in first["sides"]] == [6.0, 5.0]
    assert {judged["status"] for side in first["sides"] for judged in side["judged"]} == {"absent"}


def test_the_command_takes_a_number_of_pairs(
    run: Path, wim: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert wim("report", run, "-o", "few.html", "--pairs", "2") == 0
    assert len(Page(Path("few.html").read_text("utf-8")).pairs["pairs"]) == 2
    assert wim("report", run, "-o", "none.html", "--pairs", "-1") == 2
    assert "takes a whole number from 0 on, not '-1'" in capsys.readouterr().err


def test_many_arms_are_told_in_one_sentence(run: Path, tmp_path: Path) -> None:
    paths = []
    for place in range(8):
        paths.append(shutil.copytree(run, tmp_path / f"arm{place}" / "0"))
        pairs = tables.read(paths[-1] / "pairs.parquet", "pairs").with_columns(arm=pl.lit(f"arm{place}"))
        tables.write(paths[-1] / "pairs.parquet", "pairs", pairs, {})
        evaluated(paths[-1], 0.1 if place else -0.1)
    told = summary.sentences(runs.load(paths))[-1]
    assert told == (
        "True coverage on held-out prompts rose in 7 of 8 arms and fell in 1 (95% intervals), by -10.0 to +10.0 points."
    )


def test_of_many_arms_figures_tell_how_many_rose() -> None:
    few = {"a": (0.1, 0.2), "b": (0.5, 0.5)}
    assert summary.moves(few, "{:.0%}") == "a 10% to 20%; b 50% to 50%"
    many = {f"arm{place}": (1.0, 2.0 if place < 4 else 0.5) for place in range(7)}
    assert summary.moves(many | {"flat": (1.0, 1.0)}, "{:.2f}") == "it rose in 4 and fell in 3 of 8 arms"


def test_the_seeds_of_an_arm_have_its_colour() -> None:
    found = charts.colours(["numerical, seed 1", "mine, seed 1", "numerical, seed 2", "mine, seed 2", "other, seed 1"])
    first, mine, again, likewise, other = found.values()
    assert first == again == charts.FIXED["numerical"]
    assert mine == likewise != other


def test_runs_that_do_not_tell_their_health_are_counted(run: Path, tmp_path: Path) -> None:
    older = shutil.copytree(run, tmp_path / "older" / "0")
    stats = tables.read_json(older / "stats.json")
    del stats["health"]
    tables.write_json(older / "stats.json", stats)
    _, page = written([run, older], tmp_path / "report.html")
    assert "1 of 2 runs do not tell their health and have no part in this; " in page.words
    _, page = written([run], tmp_path / "report.html")
    assert not any("do not tell their health" in word for word in page.words)


def test_where_nothing_can_be_compared_the_summary_says_so(tmp_path: Path, wim: Callable[..., int]) -> None:
    record = {"prompt": "Why?", "completion": "So.", "feedback": "The reason is missing.", "rating": 5}
    (tmp_path / "one.jsonl").write_text(json.dumps(record))
    assert wim("build", "one.jsonl", "--out", "one") == 0
    _, page = written([Path("one")], tmp_path / "report.html")
    assert "No two completions of a prompt could be compared, so there are neither ties nor pairs." in page.words
    assert page.pairs == {}


def test_ties_alone_are_shown(tmp_path: Path, wim: Callable[..., int]) -> None:
    records = [{"prompt": "Why?", "completion": text, "rating": 5} for text in ("So.", "Thus.")]
    (tmp_path / "tied.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert wim("build", "tied.jsonl", "--out", "tied", "--set", "rate.method=numerical") == 0
    _, page = written([Path("tied")], tmp_path / "report.html")
    (pair,) = page.pairs["pairs"]
    assert (pair["why"], pair["delta"], pair["said"]) == ("tie", 0, "ties")
    assert page.row("tied", "number")[:3] == ["100.00%", "1", "1"]


def test_seeds_tell_runs_apart(experiment_runs: list[Path]) -> None:
    some = [path for path in experiment_runs if path.parts[-2] == "random"]
    assert [found.label for found in runs.load(some)][:3] == [
        "random, seed 1, round 0", "random, seed 1, round 1", "random, seed 2, round 0"
    ]  # fmt: skip
