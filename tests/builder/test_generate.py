"""Generation by row: requests are pulled as they are needed, and what was answered is kept whatever happens."""

import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from builder import generate, rows
from builder.engines import Completion, Request, Sampling
from builder.errors import EngineError, TableError
from builder.language.policy import Policy
from builder.params import Params

BY = Policy("data/demo/model")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclasses.dataclass
class Source:
    """Answers each request with its own text, ``window`` of them pulled at a time, and fails after ``fails_after``."""

    partial: bool = False
    window: int = 1
    fails_after: int | None = None
    error: BaseException | None = None
    unanswered: tuple[int, ...] = ()
    texts: list[str] = dataclasses.field(default_factory=list)

    def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
        numbered = enumerate(requests)
        while window := list(itertools.islice(numbered, self.window)):
            for place, request in window:
                if self.error and place == self.fails_after:
                    raise self.error
                if place not in self.unanswered:
                    self.texts.append(request.messages[0]["content"])
                    yield place, Completion(self.texts[-1], "stop", 2, prompt_tokens=3)

    def settings(self, by: Policy) -> dict[str, Any]:
        return {"policy": by.about()}


def request(number: int, **sampling: Any) -> Request:
    how = Sampling(**{"temperature": 0.9, "max_tokens": 8} | sampling)
    return Request(({"role": "user", "content": f"text {number}"},), BY, number, how)


def run(source: Source, count: int, pulled: list[int] | None = None) -> rows.Rows:
    def requests() -> Iterator[Request]:
        for number in range(count):
            if pulled is not None:
                pulled.append(number)
            yield request(number)

    return generate.generate("complete", requests(), count, BY, source, "complete")


def texts(done: rows.Rows) -> list[str | None]:
    return [text for block in done.blocks(columns=["text"]) for text in block["text"].to_pylist()]


def sizes() -> list[int]:
    """Of the parts that are kept."""
    return sorted(pq.read_metadata(part).num_rows for part in Path(".wim").rglob("*.parquet"))


def numbered(*numbers: int) -> list[str]:
    return [f"text {number}" for number in numbers]


def test_answers_come_in_the_order_of_the_requests() -> None:
    assert texts(run(Source(), 5)) == numbered(*range(5))


def test_requests_are_pulled_a_little_ahead_of_the_engine() -> None:
    pulled: list[int] = []
    stopped = Source(window=64, fails_after=100, error=EngineError("stopped"))
    with pytest.raises(EngineError, match="stopped"):
        run(stopped, 100_000, pulled)
    assert 100 < len(pulled) <= 100 + 64 + 2 * rows.AHEAD


@pytest.mark.parametrize(
    "error",
    [EngineError("the server is gone"), ValueError("of a library"), KeyboardInterrupt(), MemoryError()],
    ids=repr,
)
def test_what_was_answered_before_an_error_is_kept(error: BaseException) -> None:
    source = Source(fails_after=7, error=error)
    with pytest.raises(type(error)):
        run(source, 10)
    assert sizes() == [7]
    source.error = None
    assert texts(run(source, 10)) == numbered(*range(10))
    assert source.texts == numbered(*range(10))  # each once


def test_an_error_in_the_requests_keeps_what_was_answered() -> None:
    def requests() -> Iterator[Request]:
        yield from map(request, range(rows.AHEAD))
        raise TableError("completions.parquet: damaged")

    with pytest.raises(TableError, match="damaged"):
        generate.generate("complete", requests(), 1000, BY, Source(), "complete")
    assert sizes() == [rows.AHEAD]


def test_a_part_is_so_many_rows_or_characters_or_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    run(Source(), 2 * generate.PART + 3)
    assert sizes() == [3, generate.PART, generate.PART]
    monkeypatch.setattr(generate, "PART_CHARACTERS", 3 * len("text 0"))
    seen: list[int] = []

    def count(rows: int, tokens: int) -> None:
        del tokens
        seen.append(rows)

    assert [len(places) for places, _ in generate.batches(Source().generate(map(request, range(7))), count)] == [
        3,
        3,
        1,
    ]
    monkeypatch.setattr(generate, "PART_SECONDS", 0.0)
    assert [len(places) for places, _ in generate.batches(Source().generate(map(request, range(3))), count)] == [
        1,
        1,
        1,
    ]
    assert seen == [1] * 10


def test_an_engine_that_leaves_a_request_unanswered_is_at_fault() -> None:
    source = Source(unanswered=(1, 3))
    with pytest.raises(EngineError, match=r"no answer to 2 of 5 requests"):
        run(source, 5)
    assert sizes() == [3]
    source.unanswered = ()
    assert texts(run(source, 5)) == numbered(*range(5))
    assert source.texts == numbered(0, 2, 4, 1, 3)


def test_a_partial_source_may_leave_requests_unanswered() -> None:
    done = run(Source(partial=True, unanswered=(0, 2)), 4)
    assert texts(done) == [None, "text 1", None, "text 3"]
    assert done.missing() == 2
    assert generate.usage([done], Params()) == {"prompt_tokens": 6, "tokens": 4, "escaped": 0}


def test_usage_counts_each_row_once_and_nothing_without_rows() -> None:
    first, second = run(Source(), 3), run(Source(), 5)
    used = [generate.usage(done, Params()) for done in ([first], [first, second], [run(Source(), 0)], [])]
    assert used[0] == {"prompt_tokens": 9, "tokens": 6, "escaped": 0}
    assert used[1]["tokens"] == 16
    assert used[2] == used[3] == {"prompt_tokens": 0, "tokens": 0, "escaped": 0}


def test_a_key_is_all_that_a_text_depends_on_beside_engine_and_policy() -> None:
    requests = [
        request(0),
        request(1),
        dataclasses.replace(request(0), seed=1),
        *(request(0, **{name: value}) for name, value in (("temperature", 0.5), ("max_tokens", 9), ("top_p", 0.5))),
        request(0, stop=(".",)),
        request(0, pattern="a+"),
        dataclasses.replace(request(0), messages=({"role": "system", "content": "text 0"},)),
    ]
    assert len({generate.key(each) for each in requests}) == len(requests)
    assert generate.key(request(0)) == generate.key(dataclasses.replace(request(0), policy=Policy("another")))


PEAK = """
import resource, sys
from pathlib import Path
from builder import {stage}, params
{stage}.run(Path("runs/0"), params.load(None, ["engine.name=echo"]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peaks(wim: Any, write_jsonl: Any, count: int) -> list[int]:
    """Megabytes at most of `complete` and of `judge`, for so many rows."""
    words = " ".join(f"word{i}" for i in range(200))
    write_jsonl(({"prompt": f"Tell me about {i}: {words}"} for i in range(count // 4)), "prompts.jsonl")
    assert wim("prompts", "runs", "--set", "prompts.source=prompts.jsonl") == 0
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, "-c", PEAK.format(stage=stage)] for stage in ("complete", "judge")]
    ran = [subprocess.run(c, env=environment, capture_output=True, text=True, check=True) for c in commands]
    return [int(done.stdout) // 1024 for done in ran]


def test_memory_hardly_grows_with_the_rows(wim: Any, write_jsonl: Any) -> None:
    """From 5,000 rows on blocks are full. 40,000 more requests and answers at once would be 110 to 190 MB."""
    few, many = peaks(wim, write_jsonl, 5_000), peaks(wim, write_jsonl, 45_000)
    assert all(after - before < 90 for before, after in zip(few, many, strict=True)), (few, many)
