"""The page in a real browser: whole sessions by the keyboard alone, hostile texts, and faults of the server."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from annotate_server import Served
from annotating import HOSTILE, SECRET, records
from browsing import PHONE, TOTAL, at, begin, expect, other_site, press, told

from analysis.annotate.store import NAME
from builder import tables

Wim = Callable[..., int]
Open = Callable[..., Any]
WORDS = f'The date. {HOSTILE}\n"Two" lines'


def kept(run: Path, columns: str) -> list[tuple[Any, ...]]:
    """Of the answers that count, in their order."""
    with sqlite3.connect(f"file:{run / NAME}?mode=ro", uri=True) as file:
        return file.execute(f"SELECT {columns} FROM current ORDER BY answer_id").fetchall()


def test_two_annotators_write_by_the_keyboard_alone(
    run: Path, opened: Open, wim: Wim, capsys: pytest.CaptureFixture[str]
) -> None:
    with Served(run) as served:
        ana = opened(served.link)
        assert "token" not in ana.url  # not in the history, nor over somebody's shoulder
        begin(ana, "ana")
        write_two_and_skip_one(ana, run)
        reload_in_the_middle_of_a_word(ana)
        take_back_two_and_write_another(ana)
        ben = opened(served.link)
        expect(ben.locator("#names button")).to_have_text([f"ana2 of {TOTAL} answered"])
        begin(ben, "ben")
        find_nothing_missing_to_the_end(ben)
        assert wim("annotate", run, "--export", "people.jsonl") == 0  # while it is served
    assert wim("ingest", "people.jsonl", "--out", "again", "--strict") == 0
    feedback = pl.read_parquet("again/feedback.parquet")
    by_judge = dict(feedback.group_by("judge").agg("wim").iter_rows())
    assert sorted(by_judge["human:ana"]) == sorted([WORDS, "All of it."])
    assert by_judge["human:ben"] == [""] * TOTAL
    capsys.readouterr()
    assert wim("annotate", run, "--agreement", "--json") == 0
    assert json.loads(capsys.readouterr().out)["write"]["nothing"]["n"] == 2


def write_two_and_skip_one(page: Any, run: Path) -> None:
    at(page, 1)
    press(page, "w")
    page.keyboard.type(WORDS)
    press(page, "Escape", "7", "Control+Enter")
    told(page, "Saved.")
    assert kept(run, "name, status, feedback, rating") == [("ana", "missing", WORDS, 7)]
    at(page, 2)
    press(page, "n", "Control+Enter")
    at(page, 3)
    press(page, "s")
    at(page, 4)
    expect(page.locator("#count")).to_have_text(f"2 of {TOTAL} answered, 1 skipped")


def reload_in_the_middle_of_a_word(page: Any) -> None:
    """Neither the place nor a word is lost."""
    press(page, "w")
    page.keyboard.type("half a thou")
    page.reload()
    at(page, 4)
    expect(page.locator("#who")).to_have_text("ana")
    expect(page.locator("#feedback")).to_have_value("half a thou")


def take_back_two_and_write_another(page: Any) -> None:
    """The one that was skipped, and then the one before it."""
    press(page, "u")
    told(page, "Taken back.")
    at(page, 3)
    press(page, "u")
    at(page, 2)
    expect(page.locator("#nothing")).to_be_checked()
    expect(page.locator("#count")).to_have_text(f"1 of {TOTAL} answered")
    press(page, "w")
    page.keyboard.type("All of it.")
    press(page, "Control+Enter")
    at(page, 3)


def find_nothing_missing_to_the_end(page: Any) -> None:
    """And take the last one back, and give it again."""
    for place in range(TOTAL):
        at(page, place + 1)
        press(page, "n", "Control+Enter")
    expect(page.locator("#done")).to_be_visible()
    press(page, "u")
    at(page, TOTAL)
    expect(page.locator("#nothing")).to_be_checked()
    press(page, "Control+Enter")
    expect(page.locator("#summary")).to_contain_text(f"{TOTAL} answered")


def test_hostile_texts_are_text(run: Path, opened: Open) -> None:
    texts = {record["completion"] for record in records()}
    with Served(run) as served:
        page = opened(served.link)
        begin(page, f"<img src=x onerror=alert(1)> {'x' * 10}")
        seen = set()
        for place in range(TOTAL):
            at(page, place + 1)
            seen.add(page.locator("#first .scroll p").text_content())
            assert page.locator("#prompt .scroll p").text_content().endswith(HOSTILE)
            assert page.locator("#work :is(script, img, a, style, div[onerror])").count() == 0
            if place + 1 < TOTAL:
                press(page, "j")
        assert seen <= texts
        assert len(seen) == TOTAL
        assert page.locator("script").count() == 1
        page.reload()
        expect(page.locator("#who")).to_contain_text("<img")


def test_the_judge_is_silent_until_the_answer_is_saved(run: Path, opened: Open) -> None:
    with Served(run) as served:
        page = opened(served.link)
        begin(page, "ana")
        press(page, "v")
        expect(page.locator("#judge")).to_be_hidden()
        assert SECRET not in page.content()
        press(page, "n", "Control+Enter")
        at(page, 2)
        assert SECRET not in page.content()
        press(page, "k")
        at(page, 1)
        expect(page.locator("#answered")).to_contain_text("You have answered this one")
        press(page, "v")
        expect(page.locator("#said p")).to_contain_text(SECRET)
        press(page, "w")
        page.keyboard.type("On second thoughts")
        press(page, "Control+Enter")
        at(page, 2)
    assert kept(run, "feedback, informed") == [("On second thoughts", 1)]


def test_two_annotators_choose_by_the_keyboard_alone(run: Path, opened: Open, wim: Wim) -> None:
    """Both choose the longer id, wherever it is shown; its text tells it."""
    numbers = {record["completion"]: record["completion_id"] for record in reversed(records())}
    with Served(run, "--mode", "choose") as served:
        shown = {}
        for name in ("ana", "ben"):
            page = opened(served.link)
            begin(page, name)
            for place in range(TOTAL):
                at(page, place + 1)
                two = [numbers[page.locator(f"#{side} .scroll p").text_content()] for side in ("first", "second")]
                shown[name, place] = two
                assert SECRET not in page.content()
                press(page, "t" if place == 0 else "a" if two[0] > two[1] else "b")
            expect(page.locator("#done")).to_be_visible()
            press(page, "u")
            at(page, TOTAL)
            press(page, "s")
            expect(page.locator("#summary")).to_contain_text("1 skipped")
        assert any(shown["ana", place] != shown["ben", place] for place in range(TOTAL))
    assert wim("annotate", run, "--export", "truth.jsonl") == 0
    found = [json.loads(line) for line in Path("truth.jsonl").read_text().splitlines()]
    assert [record["preference"] for record in found].count("tie") == 1
    assert [record["votes"] for record in found if record["preference"] == "b"] == [{"a": 0, "b": 2, "tie": 0}] * 10
    assert wim("audit", run, "--truth", "truth.jsonl") == 0


def test_a_choice_is_a_click_away_on_a_phone(run: Path, opened: Open) -> None:
    with Served(run, "--mode", "choose", "--annotator", "ana") as served:
        page = opened(served.link, **PHONE)  # who annotates is said on the command line
        at(page, 1)
        first = page.locator("#first .scroll p").text_content()
        page.get_by_role("button", name="A is better").tap()
        told(page, "Saved.")
    chosen = pl.read_parquet(run / "completions.parquet").filter(pl.col("text") == first)["completion_id"]
    ((a, b, side),) = kept(run, "a, b, side")
    assert {"a": a, "b": b}[side] in chosen.to_list()


def test_what_is_not_saved_is_said_not_to_be_and_is_not_lost(run: Path, opened: Open) -> None:
    with Served(run) as served:
        page = opened(served.link)
        begin(page, "ana")
        press(page, "Control+Enter")
        expect(page.locator("#fault")).to_have_text("Write what is missing, or say that nothing is.")
        page.keyboard.type("The date.")
        served.kill()
        press(page, "Control+Enter")
        expect(page.locator("#fault")).to_contain_text("does not answer")
        expect(page.locator("#status")).to_have_text("")
        expect(page.locator("#feedback")).to_have_value("The date.")
    assert kept(run, "feedback") == []
    with Served(run, "--port", str(urlsplit(served.link).port)) as again:
        press(page, "Control+Enter")
        expect(page.locator("#fault")).to_contain_text("it changes with each start")
        page.goto(again.link)
        at(page, 1)
        expect(page.locator("#feedback")).to_have_value("The date.")
        press(page, "Control+Enter")
        told(page, "Saved.")
    assert kept(run, "feedback") == [("The date.",)]


def test_the_link_works_from_another_site_and_after_a_reload(run: Path, browser: Any) -> None:
    """A strict cookie is not sent with a request that another site has caused."""
    with (
        Served(run) as served,
        other_site(f'<a href="{served.link}">the link</a>') as link,
        browser.new_context() as context,
    ):
        page = context.new_page()
        page.goto(link)
        page.get_by_role("link").click()
        begin(page, "ana")
        page.reload()
        at(page, 1)


def test_a_prompt_without_text_says_so(run: Path, opened: Open) -> None:
    prompts = tables.read(run / "prompts.parquet", "prompts")
    bare = prompts.with_columns(messages=prompts["messages"].list.head(0))
    tables.write(run / "prompts.parquet", "prompts", bare, {})
    with Served(run) as served:
        page = opened(served.link)
        begin(page, "ana")
        expect(page.locator("#prompt .scroll")).to_have_text("(The text of this prompt is not in the run.)")
