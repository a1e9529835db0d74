"""The served process: what a killed one leaves, how it is stopped, and raw requests that no client would send."""

import itertools
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from annotate_server import Served, Visitor

from analysis.annotate.store import NAME

Wim = Callable[..., int]
KILLS = 4
WRITERS = 3


class Writer(threading.Thread):
    """Answers without end, and remembers what it sent and what the server said to be saved."""

    def __init__(self, link: str, name: str, start: int) -> None:
        super().__init__(daemon=True)
        self.link, self.annotator, self.first = link, name, start
        self.sent: dict[str, str] = {}
        self.saved: dict[int, str] = {}

    def run(self) -> None:
        try:
            visitor = Visitor(self.link)
            visitor.post("/api/annotator", name=self.annotator)
            for number in itertools.count(self.first):
                self._answer(visitor, number)
        except (OSError, ValueError, HTTPException):
            return  # the server was killed

    def _answer(self, visitor: Visitor, number: int) -> None:
        item = visitor.item(self.annotator, number % 12)["item"]["item_id"]
        key, text = f"{self.annotator} {number}", f"{self.annotator} {number} " + "words " * random.randint(1, 3_000)
        self.sent[key] = text
        fields = {"annotator": self.annotator, "item": item, "key": key, "status": "missing", "feedback": text}
        status, told = visitor.post("/api/answer", **fields)
        assert status == 200
        self.saved[told["saved"]] = key


def test_what_was_said_to_be_saved_is_there_after_kill_9(run: Path) -> None:
    sent: dict[str, str] = {}
    saved: dict[int, str] = {}
    draw = random.Random(1)
    for kill in range(KILLS):
        with Served(run) as served:
            writers = [Writer(served.link, f"writer {i}", 10_000 * kill) for i in range(WRITERS)]
            for writer in writers:
                writer.start()
            wait_for(writers, draw.randint(5, 40))
            time.sleep(draw.uniform(0, 0.05))
            served.kill()
            for writer in writers:
                writer.join()
                sent |= writer.sent
                assert not saved.keys() & writer.saved.keys()
                saved |= writer.saved
    assert len(saved) >= 5 * KILLS
    with sqlite3.connect(run / NAME) as kept:
        rows = kept.execute("SELECT answer_id, key, feedback, undone FROM answer").fetchall()
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    there = {answer_id: key for answer_id, key, _, _ in rows}
    assert {answer_id: there.get(answer_id) for answer_id in saved} == saved
    assert all(sent[key] == text and not undone for _, key, text, undone in rows)  # none is torn


def wait_for(writers: Sequence[Writer], saved: int) -> None:
    """Until so many answers are saved; fails where all writers have stopped before."""
    while sum(len(writer.saved) for writer in writers) < saved:
        assert any(writer.is_alive() for writer in writers)
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(run: Path, number: signal.Signals, code: int) -> None:
    with Served(run) as served:
        visitor = Visitor(served.link)
        visitor.post("/api/annotator", name="ana")
        item = visitor.item("ana")["item"]["item_id"]
        fields = {"annotator": "ana", "item": item, "key": "1", "status": "nothing"}
        assert visitor.post("/api/answer", **fields)[0] == 200
        served.process.send_signal(number)
        assert served.process.wait(30) == code
    assert not (run / f"{NAME}-wal").exists()  # folded into the file
    with sqlite3.connect(run / NAME) as kept:
        assert kept.execute("SELECT status FROM current").fetchall() == [("nothing",)]


def test_a_taken_port_is_told(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert wim("annotate", run, "--port", other.getsockname()[1]) == 1
    assert "--port 0 takes any that is free" in capsys.readouterr().err
    assert not (run / NAME).exists()


def test_it_listens_on_loopback_alone(run: Path) -> None:
    with Served(run) as served:
        port = f"{urlsplit(served.link).port:04X}"
        listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]
        assert [place for place in listening if place.endswith(f":{port}")] == [f"0100007F:{port}"]


TARGETS = [
    *b"/../../../../../../etc/passwd /static/../app.py /static/..%2f..%2fstore.py /static/%2e%2e/%2e%2e/run".split(),
    *b"/static/..\\..\\store.py /static/page.js\x00.css //etc/passwd http://127.0.0.1/etc/passwd".split(),
    *b"file:///etc/passwd /static/%c0%ae%c0%ae/app.py * /% /static/\xff\xfe".split(),
    *(b"", b"/" + b"a" * 30_000),
]


def test_raw_requests_lead_to_no_file(run: Path) -> None:
    with Served(run) as served:
        visitor, place = Visitor(served.link), urlsplit(served.link)
        head = f"HTTP/1.1\r\nHost: {place.netloc}\r\nCookie: {visitor.cookie}\r\nConnection: close\r\n\r\n".encode()
        for target in TARGETS:
            answer = spoken(place.port, b"GET " + target + b" " + head)
            assert answer.split(b" ")[1] in (b"400", b"403", b"404"), (target, answer[:200])
            assert not any(word in answer for word in (b"root:", b"import ", b"CREATE TABLE"))
        for hosts in (b"", b"Host: a\r\nHost: 127.0.0.1\r\n", b"Host: evil.example\r\n"):
            answer = spoken(place.port, b"GET / HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
            assert answer.split(b" ")[1] in (b"400", b"403")
        assert "not known" in visitor.item("nobody")["error"]  # it still serves


def spoken(port: int | None, request: bytes) -> bytes:
    """The whole answer to bytes as they are."""
    with socket.create_connection(("127.0.0.1", port or 0), timeout=20) as line:
        line.sendall(request)
        answer = b""
        while piece := line.recv(65_536):
            answer += piece
    return answer
