"""The report in a real Chromium: it opens offline, can be searched by keyboard and mouse, and hides nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from browser import OpenPage
from report_runs import benchmarked, evaluated, trained

from analysis.report import assemble
from builder import params, tables

Wim = Callable[..., int]
COUNT = "#pairs-count"


def written(runs: list[Path], out: Path) -> Path:
    assemble.run(runs, out, params.load(None, [], "", 0))
    return out


def count(page: Any) -> int:
    return int(page.locator(COUNT).inner_text().split()[0].replace(",", ""))


def every_chart(page: Any) -> None:
    """Draws what is drawn when it comes near the screen."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(
        "document.querySelectorAll('.chart').length === document.querySelectorAll('.chart svg').length"
    )
    assert page.locator(".chart").count() == 6


def every_fold(page: Any) -> None:
    """Unfolds what is folded."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    pairs = page.locator("#pairs-list > li").count()
    page.wait_for_function(f"document.querySelectorAll('#pairs-list .sides').length === {pairs}")


def unfolded(page: Any) -> Any:
    """The open pair, when it is filled."""
    page.locator("#pairs-list details[open] .sides").wait_for()
    return page.locator("#pairs-list details[open]")


def field(page: Any, name: str) -> Any:
    return page.locator(f"#pairs-form [name={name}]")


@pytest.fixture(scope="module")
def whole(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with training, evaluation and benchmarks, every text of which ends in markup; not to be changed."""
    run = shutil.copytree(built, tmp_path_factory.mktemp("whole") / "wim" / "0")
    evaluated(run, 0.1)
    trained(run, 30)
    benchmarked(run, 0.25)
    return run


@pytest.fixture(scope="module")
def report(whole: Path) -> Path:
    """Its report; not to be changed."""
    return written([whole], whole.parents[1] / "report.html")


def test_it_opens_offline_without_an_error_or_a_request(report: Path, open_page: OpenPage) -> None:
    opened = open_page(report)
    every_chart(opened.page)
    assert opened.console == []
    assert opened.requests == [opened.address]
    assert opened.outside == []


def test_markup_in_texts_is_text(report: Path, hostile: str, open_page: OpenPage) -> None:
    opened = open_page(report)
    every_fold(opened.page)
    shown = opened.page.locator("#pairs-list").inner_text()
    assert shown.count(hostile) >= 5 * opened.page.locator("#pairs-list > li").count()
    assert opened.page.locator("img, iframe, object, main script:not([type='application/json'])").count() == 0
    assert opened.console == []


def test_a_script_that_is_not_ours_does_not_run(report: Path, tmp_path: Path, open_page: OpenPage) -> None:
    text = report.read_text("utf-8").replace("</main>", "<script>document.title = 'owned'</script></main>")
    (tmp_path / "owned.html").write_text(text, "utf-8")
    opened = open_page(tmp_path / "owned.html")
    assert opened.page.title() != "owned"
    assert any("Content Security Policy" in said for said in opened.console)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_axe_finds_no_serious_fault(report: Path, open_page: OpenPage, width: int, dark: bool) -> None:
    opened = open_page(report, width=width, dark=dark)
    every_chart(opened.page)
    every_fold(opened.page)
    assert opened.faults() == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_pairs_are_searched_and_opened_by_keyboard(report: Path, open_page: OpenPage) -> None:
    page = open_page(report).page
    every = count(page)
    field(page, "text").focus()
    page.keyboard.type("OTTER")
    found = count(page)
    assert 0 < found < every
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    assert "otter" in unfolded(page).inner_text().lower()
    page.keyboard.press("Enter")
    assert page.locator("#pairs-list details[open]").count() == 0
    field(page, "text").fill("no such words")
    assert (count(page), page.locator("#pairs-list > li").count()) == (0, 0)


def test_pairs_are_filtered_by_mouse(whole: Path, report: Path, open_page: OpenPage) -> None:
    page = open_page(report).page
    every = count(page)
    deltas = tables.read(whole / "pairs.parquet", "pairs")["delta"].sort().to_list()
    field(page, "low").fill(str(deltas[3] - 1e-6))
    assert count(page) == len(deltas) - 3
    field(page, "high").fill(str(deltas[4] + 1e-6))
    assert count(page) == 2
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function(f"document.querySelector('{COUNT}').textContent.startsWith('{every} ')")
    field(page, "said").select_option("ties")
    assert 0 < count(page) < every
    page.get_by_role("button", name="Clear").click()
    field(page, "status").select_option("nothing")
    assert count(page) == 0


def test_the_order_is_by_delta(report: Path, open_page: OpenPage) -> None:
    page = open_page(report).page
    for name, descending in (("largest", True), ("smallest", False)):
        field(page, "order").select_option(name)
        shown = [float(text) for text in page.locator("#pairs-list .delta").all_inner_texts()]
        assert shown == sorted(shown, reverse=descending)
        assert len(set(shown)) > 1


def test_a_theme_leads_to_its_pairs(report: Path, open_page: OpenPage) -> None:
    page = open_page(report).page
    button = page.locator("button[data-theme]").last
    theme = button.get_attribute("data-theme")
    button.click()
    assert field(page, "theme").input_value() == theme
    name = field(page, "theme").locator(f"option[value='{theme}']").inner_text()
    page.locator("#pairs-list summary").first.click()
    assert f"Theme: {name}" in unfolded(page).inner_text()


def test_a_theme_without_a_pair_leads_nowhere(whole: Path, tmp_path: Path, open_page: OpenPage) -> None:
    assemble.run([whole], tmp_path / "none.html", params.load(None, [], "", 0), pairs=0)
    page = open_page(tmp_path / "none.html").page
    assert page.locator("button[data-theme]").count() > 0
    assert page.get_by_role("button", name="Show pairs").count() == 0
    assemble.run([whole], tmp_path / "one.html", params.load(None, [], "", 0), pairs=1)
    page = open_page(tmp_path / "one.html").page
    for button in page.get_by_role("button", name="Show pairs").all():
        button.click()
        assert count(page) == 1


def test_an_open_pair_shows_its_numbers_and_takes_the_vector_apart(
    whole: Path, report: Path, open_page: OpenPage
) -> None:
    page = open_page(report).page
    page.locator("#pairs-list summary").first.click()
    pair = tables.read(whole / "pairs.parquet", "pairs").sort("delta", descending=True).row(0, named=True)
    ratings = tables.read(whole / "ratings.parquet", "ratings")
    shown = unfolded(page)
    for side in ("chosen", "rejected"):
        row = ratings.filter(pl.col("completion_id") == pair[f"{side}_id"]).row(0, named=True)
        box = shown.get_by_label(side.capitalize(), exact=True)
        assert f"score {pair[f'score_{side}']:.4f}" in box.inner_text()
        numbers = dict(text.split("\t") for text in box.locator("table").inner_text().splitlines())
        assert numbers["WIM, the cosine"] == f"{row['wim']:.4f}"
        assert numbers["Missingness"] == f"{row['missingness']:.4f}"
        assert numbers["Characters"] == f"{row['length']:,}"
        told = box.locator("svg").get_attribute("aria-label")
        assert told is not None
        assert f"{row['missingness']:.3f} orthogonal" in told
        assert f"{row['wim']:.3f} along" in told  # the embedder's vectors are of length 1
        assert box.locator("mark.nearest").count() == 1


def test_a_megabyte_of_text_is_shown_on_demand(run: Path, tmp_path: Path, open_page: OpenPage) -> None:
    completions = tables.read(run / "completions.parquet", "completions")
    name = tables.read(run / "pairs.parquet", "pairs")["chosen_id"][0]
    long = "<b>x</b> " * 111_111
    changed = completions.with_columns(
        text=pl.when(pl.col("completion_id") == name).then(pl.lit(long)).otherwise("text")
    )
    tables.write(run / "completions.parquet", "completions", changed, {})
    opened = open_page(written([run], tmp_path / "report.html"))
    field(opened.page, "text").fill(name)
    opened.page.locator("#pairs-list summary").first.click()
    side = unfolded(opened.page)
    assert len(side.inner_text()) < 20_000
    side.get_by_role("button", name="Show all").click()
    assert len(side.inner_text()) > 900_000
    assert side.locator("b").count() == 0
    assert opened.console == []


def test_long_lists_grow_on_demand(tmp_path: Path, wim: Wim, open_page: OpenPage) -> None:
    records = [
        {"prompt": f"Question {i}?", "completion": f"Answer {i}.{k}", "rating": 3 + k + i % 3}
        for i in range(60)
        for k in (0, 1)
    ]
    (tmp_path / "numbers.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert wim("build", "numbers.jsonl", "--out", "numbers", "--set", "rate.method=numerical") == 0
    assert wim("report", "numbers", "-o", "report.html") == 0
    page = open_page(tmp_path / "report.html").page
    assert page.locator("#pairs-list > li").count() == 40
    more = page.get_by_role("button", name="Show more")
    more.focus()
    page.keyboard.press("Enter")
    assert page.locator("#pairs-list > li").count() == 60
    assert not more.is_visible()
    assert page.evaluate("document.activeElement.closest('li') === document.querySelectorAll('#pairs-list > li')[40]")
    page.locator("#pairs-list summary").first.click()
    assert "No feedback." in unfolded(page).inner_text()


def test_runs_can_be_told_apart(run: Path, tmp_path: Path, open_page: OpenPage) -> None:
    later = shutil.copytree(run, run.parent / "1")
    pairs = tables.read(later / "pairs.parquet", "pairs")
    tables.write(later / "pairs.parquet", "pairs", pairs.with_columns(round=pl.lit(1, pl.Int32)), {})
    opened = open_page(written([run, later], tmp_path / "both.html"))
    every = count(opened.page)
    field(opened.page, "run").select_option("1")
    assert opened.page.locator("#pairs-list .words").first.inner_text().startswith("wim, round 1 · Describe")
    assert count(opened.page) == every / 2
    opened.page.locator("#pairs-list summary").first.click()
    assert "wim, round 1" in unfolded(opened.page).inner_text()
    assert opened.console == []
