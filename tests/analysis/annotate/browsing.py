"""What the tests in a browser share: keys, what is waited for, and a page of another site."""

import contextlib
from collections.abc import Iterator
from typing import Any

import loopback
from annotating import EACH, PROMPTS

TOTAL = PROMPTS * EACH
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def expect(what: Any) -> Any:
    """Playwright's, which waits; imported late, since it may not be installed."""
    from playwright.sync_api import expect as waiting

    return waiting(what)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def begin(page: Any, name: str) -> None:
    """Gives the name."""
    expect(page.locator("#welcome")).to_be_visible()
    page.keyboard.type(name)  # the field has the focus
    press(page, "Enter")
    expect(page.locator("#work")).to_be_visible()


def at(page: Any, place: int) -> None:
    """Waits for the question at this place, counted from 1."""
    expect(page.locator("#place")).to_have_text(f"{place} of {TOTAL}")


def told(page: Any, text: str) -> None:
    """Waits for what the page tells."""
    expect(page.locator("#status")).to_have_text(text)


@contextlib.contextmanager
def other_site(body: str) -> Iterator[str]:
    """The address of a page on another site: localhost is another one than 127.0.0.1."""

    class Handler(loopback.Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    with loopback.Server(Handler) as server:
        yield f"http://localhost:{server.server_port}/"
