"""The page for everybody: axe-core, width, focus, and keys that are listed and can be switched off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotate_server import Served
from browsing import PHONE, TOTAL, at, begin, expect, press, told

Open = Callable[..., Any]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = {"resultTypes": ["violations"], "runOnly": RULES}
LOOKS = {"desktop": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("mode", ["write", "choose"])
def test_axe_finds_no_fault(run: Path, browser: Any, mode: str, look: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with (
        Served(run, "--mode", mode) as served,
        browser.new_context(bypass_csp=True, **LOOKS[look]) as context,  # axe is a script of ours in the page
    ):
        page = context.new_page()

        def check(where: str) -> None:
            found = axe.run(page, options=AXE).response["violations"]
            faults = [(where, fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in found]
            assert faults == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where

        page.goto(served.link)
        expect(page.locator("#welcome")).to_be_visible()
        check("welcome")
        begin(page, "ana")
        check("question")
        press(page, *(["n", "4", "Control+Enter"] if mode == "write" else ["a"]))
        told(page, "Saved.")
        press(page, "k")
        at(page, 1)
        press(page, "v")
        expect(page.locator("#said figure").first).to_be_visible()
        check("answered")
        press(page, "?")
        expect(page.locator("#help")).to_be_visible()
        check("help")
        press(page, "Escape")
        press(page, "o")
        for place in range(1, TOTAL):
            at(page, place + 1)
            press(page, "s")
        expect(page.locator("#done")).to_be_visible()
        check("done")


def test_the_help_lists_every_key_of_the_page(run: Path, opened: Open) -> None:
    for mode in ("write", "choose"):
        with Served(run, "--mode", mode) as served:
            page = opened(served.link)
            begin(page, "ana")
            press(page, "?")
            expect(page.locator("#help")).to_be_visible()
            listed = {key.lower() for key in page.locator("#keys kbd").all_text_contents()}
            shown = page.locator(":is(#work, header) [aria-keyshortcuts]:visible").all()
            keys = {one.get_attribute("aria-keyshortcuts").lower() for one in shown}
            assert {key.replace("control+enter", "ctrl + enter") for key in keys} <= listed
            assert len(keys) >= 6


def test_single_keys_can_be_switched_off(run: Path, opened: Open) -> None:
    with Served(run) as served:
        page = opened(served.link)
        begin(page, "ana")
        press(page, "?", "Tab", "Space", "Escape")
        expect(page.locator("#help")).to_be_hidden()
        press(page, "n", "s", "j")
        at(page, 1)
        expect(page.locator("#nothing")).not_to_be_checked()
        page.reload()
        at(page, 1)
        press(page, "s")
        expect(page.locator("#count")).to_have_text(f"0 of {TOTAL} answered")


MARKED = """() => {
    const one = document.activeElement;
    const marks = [one, one.closest("label") ?? one].map((each) => getComputedStyle(each)).map((style) =>
        style.outlineStyle !== "none" || style.boxShadow !== "none");
    return [one.id || one.parentElement.id || one.tagName, marks.includes(true)];
}"""


def test_every_control_shows_that_it_has_the_focus(run: Path, browser: Any) -> None:
    with Served(run) as served, browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        page.goto(served.link)
        begin(page, "ana")
        shown = {}
        for _ in range(14):
            press(page, "Tab")
            name, marked = page.evaluate(MARKED)
            shown[name] = marked
        assert len(shown) >= 9
        assert [name for name, marked in shown.items() if not marked and name != "BODY"] == []
