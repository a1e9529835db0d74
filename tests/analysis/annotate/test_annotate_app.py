"""The web application: what it takes, what it shows, and what it tells of answers."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from annotating import EACH, HOSTILE, PROMPTS, SECRET, make_run

from analysis.annotate import answers, queue
from analysis.annotate.texts import Texts
from builder import tables

Page = Callable[..., Any]
JSON = {"Content-Type": "application/json"}
NOT_OBJECTS = [
    *("", "null", "[]", '"x"', "{", "[" * 50_000, '{"annotator": ' * 5_000, "NaN", "9" * 5_000),
    *('{"a": 1} x', "\ufeff{}", b"\xff\xfe\x00", b"\x80"),
]


# What is taken -------------------------------------------------------------------------------------------------------


def big(pieces: int) -> Iterator[bytes]:
    yield from [b"x" * 65_536] * pieces


def test_a_long_request_is_refused_before_it_is_read(client: Any) -> None:
    assert client.post("/api/answer", content=b"x" * (answers.MOST_BYTES + 1), headers=JSON).status_code == 413
    in_pieces = client.post("/api/answer", content=big(100), headers=JSON)  # of a length that is not told
    assert in_pieces.status_code == 413
    for length in ("9" * 8, "9" * 30, "-1", "٣".encode()):
        assert client.get("/api/start", headers={"Content-Length": length}).status_code == 413


@pytest.mark.parametrize("body", NOT_OBJECTS)
def test_what_is_no_json_object_is_refused(client: Any, body: str | bytes) -> None:
    response = client.post("/api/answer", content=body, headers=JSON)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "fields",
    [
        {"feedback": ""},
        {"feedback": " \n\u2003"},
        {"feedback": None},
        {"feedback": ["x"]},
        {"feedback": "x" * (answers.MOST_LETTERS + 1)},
        {"feedback": "\ud800"},
        {"rating": 0},
        {"rating": 11},
        {"rating": 5.5},
        {"rating": "5"},
        {"rating": True},
        {"status": "chosen", "choice": "first"},
        {"status": "undone"},
        {"status": None},
        {"key": ""},
        {"key": "k" * 65},
        {"key": None},
        {"item": "no such item"},
        {"item": {"$ne": 1}},
        {"annotator": "eve"},
        {"annotator": None},
    ],
)
def test_an_answer_that_cannot_be_is_refused_by_field(client: Any, fields: dict[str, Any]) -> None:
    response = client.answer(client.item()["item"], **fields)
    assert response.status_code in (400, 404)
    assert set(response.json()) == {"error"}
    assert client.store.current("write") == []


@pytest.mark.parametrize("name", ["", " ", "a" * 41, "a#1", "a\nb\x07", "\u202eana", "\ud800", 7, None, ["ana"]])
def test_a_name_that_cannot_be_is_refused(client: Any, name: Any) -> None:
    response = client.post("/api/annotator", content=json.dumps({"name": name}), headers=JSON)
    assert response.status_code == 400
    assert client.store.annotators() == ["ana"]


def test_with_one_annotator_there_is_no_other(page: Page) -> None:
    page().opened().post("/api/annotator", json={"name": "ben"})
    client = page(only="ana").opened()
    assert client.get("/api/start").json()["only"] == "ana"
    assert [each["name"] for each in client.get("/api/start").json()["annotators"]] == ["ana"]
    assert client.post("/api/annotator", json={"name": "ben"}).status_code == 403
    assert client.answer(client.item()["item"], annotator="ben").status_code == 404
    assert client.answer(client.item()["item"]).status_code == 200


def test_a_disk_that_is_full_is_told_and_nothing_is_said_to_be_saved(client: Any) -> None:
    item = client.item()["item"]
    client.store._db.execute("PRAGMA max_page_count = 1")
    response = client.answer(item, feedback="x" * 20_000)
    assert response.status_code == 503
    assert "full" in response.json()["error"]
    client.store._db.execute("PRAGMA max_page_count = 100000")
    assert client.answer(item, feedback="x" * 20_000).json()["progress"]["done"] == 1


# What is shown -------------------------------------------------------------------------------------------------------


def test_texts_come_as_they_are_and_without_who_wrote_or_judged_them(client: Any) -> None:
    for place in range(PROMPTS * EACH):
        told = client.item(place)
        assert told["item"]["prompt"][0]["content"].endswith(HOSTILE)
        assert told["item"]["completions"][0].endswith(HOSTILE)
        assert not re.search(rf"{SECRET}|model-\d|critic|reward", json.dumps(told))


def test_what_the_judge_said_is_shown_after_the_answer(client: Any) -> None:
    item = client.item()["item"]
    wish = {"annotator": "ana", "item": item["item_id"]}
    assert client.post("/api/reveal", json=wish).status_code == 409
    client.answer(item, status="skipped")
    assert client.post("/api/reveal", json=wish).status_code == 409
    client.answer(item, key="2")
    (said,) = client.post("/api/reveal", json=wish).json()["said"]
    assert said[0]["judge"] == "critic"
    assert SECRET in said[0]["feedback"]
    client.enter("ben")
    assert client.post("/api/reveal", json=wish | {"annotator": "ben"}).status_code == 409
    client.answer(item, key="3", feedback="another thing")
    assert client.item(item["place"])["item"]["answer"] == {
        "status": "missing", "feedback": "another thing", "rating": None, "choice": None, "informed": True,
    }  # fmt: skip


def test_progress_undo_and_the_next_open_question(client: Any) -> None:
    first = client.item()
    assert first["progress"] == {"total": PROMPTS * EACH, "done": 0, "skipped": 0, "last": None}
    saved = client.answer(first["item"], rating=8).json()
    assert saved["progress"] == {"total": PROMPTS * EACH, "done": 1, "skipped": 0, "last": saved["saved"]}
    second = client.item()["item"]
    assert second["place"] == 1
    client.answer(second, key="2", status="skipped")
    assert client.item()["item"]["place"] == 2
    assert client.item()["progress"]["skipped"] == 1
    client.post("/api/undo", json={"annotator": "ana", "answer": client.item()["progress"]["last"]})
    back = client.post("/api/undo", json={"annotator": "ana", "answer": saved["saved"]}).json()
    assert back["item"]["place"] == 0
    assert back["item"]["answer"] is None
    assert (back["undone"]["feedback"], back["undone"]["rating"]) == ("the date", 8)


def test_an_answer_to_another_queue_is_not_taken_back(page: Page, run: Path) -> None:
    """It would be gone without being seen: of another run in the same file, say, or of texts that are no longer."""
    client = page().opened().enter("ana")
    saved = client.answer(client.item()["item"]).json()["saved"]
    completions = tables.read(run / "completions.parquet", "completions")
    tables.write(run / "completions.parquet", "completions", completions.with_columns(text=pl.col("text") + "!"), {})
    again = page().opened()
    assert again.item()["progress"]["last"] is None
    assert again.post("/api/undo", json={"annotator": "ana", "answer": saved}).status_code == 404
    assert [each.answer_id for each in again.store.current("write")] == [saved]


def test_after_the_last_question_there_is_none(client: Any) -> None:
    for place in range(PROMPTS * EACH):
        client.answer(client.item()["item"], key=str(place), status="nothing")
    assert client.item()["item"] is None
    assert client.item(10_000)["item"] is None


def test_another_start_goes_on_where_the_first_stopped(page: Page, client: Any) -> None:
    client.answer(client.item()["item"])
    client.store.close()
    again = page().opened()
    assert again.get("/api/start").json()["annotators"] == [
        {"name": "ana", "total": PROMPTS * EACH, "done": 1, "skipped": 0, "last": 1}
    ]
    assert again.item()["item"]["place"] == 1


def test_the_order_of_two_is_drawn_for_each_annotator_and_question_and_comes_again(page: Page) -> None:
    names = ("ana", "ben", "cleo", "dan")
    client, again, other = (page("choose", seed=seed).opened().enter(*names) for seed in (1, 1, 2))

    def orders(of: Any) -> list[list[str]]:
        return [[of.item(place, name)["item"]["completions"][0] for place in range(12)] for name in names]

    assert orders(client) == orders(again)
    assert orders(client) != orders(other)
    assert len({tuple(order) for order in orders(client)}) == len(names)
    texts = tables.read(client.annotation.store.file.parent / "completions.parquet", "completions")
    by_text = {row["text"]: row["completion_id"] for row in texts.to_dicts()}
    turned = [
        by_text[first] != item.completions[0]
        for order in orders(client)
        for first, item in zip(order, client.annotation.queue, strict=True)
    ]
    assert 12 <= sum(turned) <= 36  # of 48: less than one draw in a thousand lies outside


@pytest.mark.parametrize("choice", ["first", "second", "tie"])
def test_a_choice_is_kept_by_completion_wherever_it_was_shown(page: Page, choice: str) -> None:
    client = page("choose").opened().enter("ana")
    for place, item in enumerate(client.annotation.queue):
        shown = client.item(place)["item"]
        client.answer(shown, key=str(place), status="chosen", choice=choice)
        assert client.item(place)["item"]["answer"]["choice"] == choice
        stored = client.store.of("ana", item)
        texts = [client.annotation.texts.completion(name)["text"] for name in item.completions]
        chosen = {"a": texts[0], "b": texts[1], "tie": None}[stored.answer.side]
        assert chosen == {"first": shown["completions"][0], "second": shown["completions"][1], "tie": None}[choice]


def test_a_prompt_that_is_known_by_its_id_alone_is_shown_without_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "bare")
    prompts = tables.read(run / "prompts.parquet", "prompts")
    tables.write(
        run / "prompts.parquet", "prompts", prompts.with_columns(messages=prompts["messages"].list.head(0)), {}
    )
    texts = Texts(run, (1, 10))
    item = queue.items(run, "write", texts.completions)[0]
    assert texts.prompt(item.prompt_id)["messages"] == []
