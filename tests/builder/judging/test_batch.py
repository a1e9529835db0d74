"""judge --export and --import: a batch service answers in files."""

import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hostile import ATTACKS
from hypothesis import given
from hypothesis import strategies as st

from builder import tables
from builder.engines import Request, Sampling, echo
from builder.judging import batch, batch_results
from builder.language import control, models
from builder.language.policy import Policy
from builder.params import Params
from builder.records import FieldError

Wim = Callable[..., int]
Line = dict[str, Any]
Shape = Callable[[Line, str], Line]
ECHO = ("--set", "engine.name=echo")
SERVICE = (*ECHO, "--set", "judge.model=large")
READABLE = "Rating: [[7]] WIM: [[[no dates]]]"


@pytest.fixture
def run(wim: Wim, write_jsonl: Any) -> Path:
    write_jsonl([{"prompt": f"Tell me about thing number {i} in some more words"} for i in range(4)], "prompts.jsonl")
    sources = ("--set", "prompts.source=prompts.jsonl")
    assert wim("prompts", "runs", *sources) == wim("complete", "runs/a/0", *ECHO) == 0
    return Path("runs/a/0")


@pytest.fixture
def export(wim: Wim, run: Path) -> Callable[..., list[Line]]:
    """Exports, and gives the lines of the file; none if there is no file."""

    def call(*options: str, file: str = "requests.jsonl") -> list[Line]:
        Path(file).unlink(missing_ok=True)
        assert wim("judge", run, "--export", file, *SERVICE, *options) == 0
        return lines(file) if Path(file).is_file() else []

    return call


@pytest.fixture
def take_in(wim: Wim, run: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Line]:
    """Imports the lines of some files, and gives the result."""

    def call(*files: Iterable[Line | str], options: Sequence[str] = ()) -> Line:
        names = [write(f"results-{i}.jsonl", file) for i, file in enumerate(files)]
        capsys.readouterr()
        assert wim("judge", run, "--import", *names, *SERVICE, *options, "--json") == 0
        result: Line = json.loads(capsys.readouterr().out)
        return result

    return call


def lines(file: str | Path) -> list[Line]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def write(file: str, content: Iterable[Line | str]) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in content)
    Path(file).write_text("".join(text + "\n" for text in texts))
    return Path(file)


def openai(line: Line, text: str | None, **choice: Any) -> Line:
    message = {"role": "assistant", "content": text, "refusal": None}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "large-2026",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": None}


def anthropic(line: Line, text: str, stop_reason: str = "end_turn") -> Line:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "large",
        "stop_sequence": None,
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 8, "cache_read_input_tokens": 3, "output_tokens": 5},
    }
    return {"custom_id": line["custom_id"], "result": {"type": "succeeded", "message": message}}


def refused(line: Line, status: int, code: str | None, kind: str, message: str = "no") -> Line:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}


def failed(line: Line, kind: str, message: str = "no") -> Line:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    return {"custom_id": line["custom_id"], "result": {"type": "errored", "error": error}}


def expired(line: Line) -> Line:
    error = {"code": "batch_expired", "message": "This request could not be executed in time."}
    return {"custom_id": line["custom_id"], "response": None, "error": error}


def echoed(line: Line) -> str:
    """What the echo engine says to the request of a line."""
    body = line.get("body") or line["params"]
    system = [{"role": "system", "content": body["system"]}] if "system" in body else []
    messages: Any = (*system, *body["messages"])
    engine = echo.Engine(Params(), [])
    return next(engine.generate([Request(messages, Policy("large"), 0, Sampling(0.0, 256))]))[1].text


def feedback(run: Path) -> pl.DataFrame:
    return tables.read(run / "feedback.parquet", "feedback")


def count(result: Mapping[str, Any], *names: str) -> list[int]:
    return [result[name] for name in names]


@pytest.mark.parametrize(("name", "shape"), [("openai", openai), ("anthropic", anthropic)])
def test_the_feedback_is_that_of_an_engine_with_the_same_answers(
    wim: Wim, run: Path, export: Any, take_in: Any, name: str, shape: Shape
) -> None:
    assert wim("judge", run, *ECHO) == 0
    expected = feedback(run)
    results = [shape(line, echoed(line)) for line in export("--format", name)]
    random.Random(1).shuffle(results)
    result = take_in(results)
    assert feedback(run).equals(expected)
    assert count(result, "answers", "judgements", "unanswered", "unmatched", "duplicates", "bad") == [
        16,
        16,
        0,
        0,
        0,
        0,
    ]
    assert result["usage"] == {"prompt_tokens": 16 * 11, "tokens": 16 * 5, "escaped": 0} | result["usage"]
    assert tables.read_metadata(run / "feedback.parquet")["params"]["engine"] == "batch"


def test_what_was_written_down_here_has_the_shapes_of_the_services_own_clients() -> None:
    chat = pytest.importorskip("openai.types.chat", reason="the client of OpenAI is not installed")
    messages = pytest.importorskip("anthropic.types.messages", reason="the client of Anthropic is not installed")
    line = {"custom_id": "0" * 32}
    chat.ChatCompletion.model_validate(openai(line, "a")["response"]["body"])
    for result in (anthropic(line, "a"), failed(line, "api_error")):
        response = messages.MessageBatchIndividualResponse.model_validate(result)
        assert batch_results.result(json.loads(response.to_json(indent=None))) == batch_results.result(result)


def test_a_line_for_openai(export: Any) -> None:
    line = export()[0]
    body = line.pop("body")
    assert line == {"custom_id": line["custom_id"], "method": "POST", "url": "/v1/chat/completions"}
    assert len(bytes.fromhex(line["custom_id"])) == 16
    assert [message["role"] for message in body.pop("messages")] == ["system", "user"]
    assert body == {"model": "large", "max_completion_tokens": 256, "temperature": 0.0}
    drawn = [line["body"] for line in export("--set", "judge.temperature=0.5")]
    assert all(0 <= body["seed"] < 2**31 for body in drawn)
    assert len({body["seed"] for body in drawn}) == 16


def test_a_line_for_anthropic(export: Any) -> None:
    line = export("--format", "anthropic", "--set", "judge.temperature=0.5")[0]
    assert line.keys() == {"custom_id", "params"}
    params = line["params"]
    assert "Find what is missing" in params.pop("system")
    assert [message["role"] for message in params.pop("messages")] == ["user"]
    assert params == {"model": "large", "max_tokens": 256, "temperature": 0.5}


def test_models_that_take_no_temperature_are_not_sent_one(export: Any) -> None:
    extra = "engine.endpoint.extra_body={temperature: null, reasoning_effort: low}"
    body = export("--set", extra, "--set", "judge.temperature=50")[0]["body"]
    assert "temperature" not in body
    assert body["reasoning_effort"] == "low"


def test_unreadable_answers_are_exported_again_as_retries(run: Path, export: Any, take_in: Any) -> None:
    first = export()
    result = take_in([openai(line, "no format at all" if i % 2 else READABLE) for i, line in enumerate(first)])
    assert count(result, "judgements", "missing", "unreadable", "unanswered") == [16, 8, 8, 8]
    retries = export()
    assert len(retries) == 8
    assert {line["body"]["temperature"] for line in retries} == {0.7}
    assert not {line["custom_id"] for line in first} & {line["custom_id"] for line in retries}
    result = take_in([openai(line, READABLE) for line in retries])
    assert count(result, "missing", "unreadable", "unanswered") == [16, 0, 0]
    assert sorted(feedback(run)["attempt"]) == [0] * 16 + [1] * 8
    assert export() == []


def test_attempts_may_come_in_one_go_and_in_any_order(run: Path, export: Any, take_in: Any) -> None:
    first = [openai(line, "no format at all") for line in export()]
    take_in(first)
    second = [openai(line, READABLE) for line in export()]
    expected = feedback(run).height + 16
    for file in Path(".wim/judge").rglob("*.parquet"):
        file.unlink()
    result = take_in([*second, *first])
    assert count(result, "answers", "unmatched", "unanswered") == [32, 0, 0]
    assert feedback(run).height == expected


def test_only_what_is_missing_is_exported_again(run: Path, export: Any, take_in: Any) -> None:
    requests = export()
    result = take_in([openai(line, READABLE) for line in requests[:10]])
    assert count(result, "judgements", "unanswered") == [10, 6]
    assert len(feedback(run)) == 10
    assert export() == requests[10:]
    result = take_in([openai(line, READABLE) for line in requests[10:]])
    assert count(result, "answers", "judgements", "unanswered") == [6, 16, 0]


def test_nothing_is_written_where_nothing_is_missing(
    wim: Wim, run: Path, export: Any, take_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in([openai(line, READABLE) for line in export()])
    assert export() == []
    assert wim("judge", run, "--export", "more.jsonl", *SERVICE) == 0
    assert "nothing to export" in capsys.readouterr().out
    assert not Path("more.jsonl").exists()


def test_errors_stay_unanswered_and_are_counted_by_kind(export: Any, take_in: Any) -> None:
    r = export()
    result = take_in(
        [
            refused(r[0], 429, "rate_limit_exceeded", "requests", "Slow\ndown \x1b[2J"),
            refused(r[1], 429, "rate_limit_exceeded", "requests", "later words"),
            refused(r[2], 500, None, "server_error"),
            {"custom_id": r[3]["custom_id"], "response": {"status_code": 503, "body": None}, "error": None},
            expired(r[4]),
            failed(r[5], "overloaded_error", "Overloaded"),
            {"custom_id": r[6]["custom_id"], "result": {"type": "expired"}},
            {"custom_id": r[7]["custom_id"], "result": {"type": "canceled"}},
            openai(r[8], "half a", finish_reason="abort"),
            *(openai(line, READABLE) for line in r[9:]),
        ]
    )
    assert {kind: failures["count"] for kind, failures in result["errors"].items()} == {
        "rate_limit_exceeded": 2,
        "server_error": 1,
        "503": 1,
        "batch_expired": 1,
        "overloaded_error": 1,
        "expired": 1,
        "canceled": 1,
        "finish_reason abort": 1,
    }
    assert result["errors"]["rate_limit_exceeded"]["first"] == "Slow down \\x1b[2J"
    assert count(result, "answers", "judgements", "unanswered") == [7, 7, 9]
    assert export() == r[:9]


def test_a_request_beyond_the_context_is_not_asked_again(run: Path, export: Any, take_in: Any) -> None:
    requests = export()
    vllm = {"error": {"message": "This model's maximum context length is 512 tokens.", "code": 400}}
    too_long = [
        refused(requests[0], 400, "context_length_exceeded", "invalid_request_error"),
        failed(requests[1], "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        {"custom_id": requests[2]["custom_id"], "response": {"status_code": 400, "body": None}, "error": vllm},
    ]
    result = take_in([*too_long, *(openai(line, READABLE) for line in requests[3:])])
    assert count(result, "judgements", "unreadable", "unanswered") == [16, 3, 0]
    assert feedback(run)["reason"].value_counts(sort=True).row(1) == ("too_long", 3)
    assert export() == []


def test_finish_reasons_and_refusals_are_read_by_the_parser(run: Path, export: Any, take_in: Any) -> None:
    requests = export()
    cut, refusal = "Rating: [[7]] WIM: [[[the da", "I'm sorry, I cannot help with that."
    said = {line["custom_id"]: openai(line, READABLE) for line in requests}
    said |= {line["custom_id"]: openai(line, cut, finish_reason="length") for line in requests[:2]}
    said |= {line["custom_id"]: anthropic(line, cut, "max_tokens") for line in requests[2:3]}
    refusing = openai(requests[3], None)
    refusing["response"]["body"]["choices"][0]["message"]["refusal"] = refusal
    said |= {requests[3]["custom_id"]: refusing, requests[4]["custom_id"]: anthropic(requests[4], refusal)}
    take_in(said.values())
    reasons = dict(feedback(run)["reason"].drop_nulls().value_counts().iter_rows())
    assert reasons == {"truncated": 3, "refusal": 2}


def test_files_may_be_several_zipped_and_read_again(
    wim: Wim, run: Path, export: Any, take_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = export()
    results = [openai(line, READABLE) for line in requests]
    zipped = Path("zipped.jsonl.gz")
    zipped.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in results[8:]).encode()))
    files = [write("a.jsonl", results[4:8]), zipped, write("b.jsonl", results[:4])]
    assert wim("judge", run, "--import", *files, *SERVICE) == 0
    assert "16 answers; 16 judgements: 16 missing" in capsys.readouterr().out
    before = (run / "feedback.parquet").read_bytes()
    assert count(take_in(results), "answers", "unmatched", "duplicates") == [16, 0, 0]
    assert (run / "feedback.parquet").read_bytes() == before
    zipped.write_bytes(zipped.read_bytes()[:-20])
    assert wim("judge", run, "--import", zipped, *SERVICE) == 1
    assert "zipped.jsonl.gz: cannot be read" in capsys.readouterr().err


def test_a_second_text_for_a_request_and_requests_of_others_are_counted(run: Path, export: Any, take_in: Any) -> None:
    requests = export()
    second = [openai(line, "Rating: [[1]] WIM: [[[everything]]]") for line in requests]
    others = [openai({"custom_id": name}, READABLE) for name in ("ab" * 16, "request-1", "")]
    result = take_in([openai(line, READABLE) for line in requests[:9]], second, others)
    assert count(result, "answers", "duplicates", "unmatched") == [16, 9, 3]
    assert dict(feedback(run)["wim"].value_counts().iter_rows()) == {"no dates": 9, "everything": 7}
    assert count(take_in([openai(requests[0], "too late")], second[9:]), "answers", "duplicates") == [7, 1]


BAD = [
    "no JSON",
    '{"custom_id": "half',
    "[]",
    "1e400",
    "[" * 100_000,
    '{"custom_id": 5, "response": {}}',
    '{"custom_id": "\\ud800", "response": {}}',
    '{"response": {}}',
    '{"custom_id": "ID"}',
    '{"custom_id": "ID", "response": []}',
    '{"custom_id": "ID", "response": {"status_code": 200, "body": null}}',
    '{"custom_id": "ID", "response": {"status_code": 200, "body": {"choices": []}}}',
    '{"custom_id": "ID", "response": {"status_code": 200, "body": {"choices": ["text"]}}}',
    '{"custom_id": "ID", "response": {"status_code": 200, "body": {"choices": [{"text": "a"}]}}}',
    '{"custom_id": "ID", "response": {"status_code": 200, "body": {"choices": [{"message": {"content": 5}}]}}}',
    '{"custom_id": "ID", "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "\\udc00"}}]}}}',
    '{"custom_id": "ID", "result": null}',
    '{"custom_id": "ID", "result": {"type": "lost"}}',
    '{"custom_id": "ID", "result": {"type": "succeeded"}}',
    '{"custom_id": "ID", "result": {"type": "succeeded", "message": {"content": "text"}}}',
    '{"custom_id": "ID", "result": {"type": "succeeded", "message": {"content": [{"type": "text", "text": 1}]}}}',
]


def test_lines_that_are_no_results_are_told_and_counted(
    wim: Wim, run: Path, export: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = export()
    bad = [line.replace("ID", requests[-1]["custom_id"]) for line in BAD]
    file = write("results.jsonl", [*bad, *(openai(line, READABLE) for line in requests[:-1])])
    assert wim("judge", run, "--import", file, *SERVICE) == 0
    said = capsys.readouterr()
    assert f"{len(BAD)} lines are no results" in said.out
    assert "results.jsonl, line 6, field 'custom_id': must be a text, is a number" in said.err
    assert "further lines are only counted" in said.err
    assert "Traceback" not in said.err
    assert export() == requests[-1:]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["text", "succeeded"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("body choices message content error type code status_code usage result text".split()), inner
        )
    ),
)


@given(response=json_values, result=json_values, error=json_values, choice=json_values)
def test_any_json_is_a_result_or_a_fault_in_a_field(response: Any, result: Any, error: Any, choice: Any) -> None:
    name = {"custom_id": "x"}
    nearly = {"status_code": 200, "body": {"choices": [choice], "usage": choice}}
    for fields in (
        {"response": response, "error": error},
        {"response": nearly},
        {"result": result},
        {"result": choice},
    ):
        try:
            outcome = batch_results.result(name | fields).outcome
        except FieldError:
            continue
        if isinstance(outcome, batch.Completion):
            assert 0 <= outcome.tokens < 2**31
            assert outcome.finish_reason in ("stop", "length")
        else:
            assert len(outcome.kind) < 80
            assert outcome.message.isprintable()


def test_results_that_match_nothing_change_nothing(
    wim: Wim, run: Path, export: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = export()
    write("others.jsonl", [openai({"custom_id": "ab" * 16}, READABLE)])
    write("errors.jsonl", [expired(line) for line in requests])
    for file, words in (
        ("others.jsonl", "nothing matches a request of runs/a/0 (1 results of other requests, 0 bad lines)"),
        ("requests.jsonl", "nothing matches a request of runs/a/0 (0 results of other requests, 16 bad lines)"),
        ("errors.jsonl", "no answer, 16 errors; the first is batch_expired: This request could not be executed"),
        ("nowhere.jsonl", "nowhere.jsonl: no such file"),
    ):
        capsys.readouterr()
        assert wim("judge", run, "--import", file, *SERVICE) == 1
        assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (run / "feedback.parquet").exists()


@pytest.mark.parametrize("limits", [(5, 10**9), (10**9, 9_000)])
def test_what_is_too_much_for_the_service_goes_into_several_files(
    wim: Wim, run: Path, export: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limits: Any
) -> None:
    whole = export()
    monkeypatch.setitem(batch.LIMITS, "openai", limits)
    Path("requests.jsonl").unlink()
    capsys.readouterr()
    assert wim("judge", run, "--export", "to/requests.jsonl", *SERVICE) == 0
    files = sorted(Path("to").iterdir())
    assert [file.name for file in files] == [f"requests-{i}.jsonl" for i in range(1, len(files) + 1)]
    assert [line for file in files for line in lines(file)] == whole
    assert len(files) > 1
    assert all(len(lines(file)) <= limits[0] and file.stat().st_size <= limits[1] for file in files)
    said = capsys.readouterr().out
    assert "16 requests for openai" in said
    assert str(files[-1]) in said
    assert "at a time" in said


def test_a_failed_export_leaves_what_was_there(wim: Wim, run: Path, export: Any, take_in: Any) -> None:
    take_in([openai(line, READABLE if i else "unreadable") for i, line in enumerate(export())][:9])
    Path("requests.jsonl").write_text("earlier")
    # The first attempt's seven requests are written before the retry is refused.
    hot = ("--format", "anthropic", "--set", "judge.retry_temperature=1.5")
    assert wim("judge", run, "--export", "requests.jsonl", *SERVICE, *hot) == 1
    Path("folder").mkdir()
    assert wim("judge", run, "--export", "folder", *SERVICE) == 1
    assert Path("requests.jsonl").read_text() == "earlier"
    assert not list(Path().glob(".*.tmp"))


def test_hostile_completions_are_escaped_counted_and_stay_in_their_line(
    wim: Wim, write_jsonl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    records = write_jsonl([{"prompt": f"p{i}", "completion": attack.text} for i, attack in enumerate(ATTACKS)])
    assert wim("ingest", records, "--out", "hostile") == 0
    for name in ("openai", "anthropic"):
        capsys.readouterr()
        arguments = ("--export", f"{name}.jsonl", "--format", name, *SERVICE, "--json")
        assert wim("judge", "hostile", *arguments) == 0
        result = json.loads(capsys.readouterr().out)
        raw = Path(f"{name}.jsonl").read_bytes()
        assert raw.isascii()
        assert raw.count(b"\n") == len(raw.splitlines()) == result["requests"]
        bodies = [line.get("body") or line["params"] for line in lines(f"{name}.jsonl")]
        contents = [message["content"] for body in bodies for message in body["messages"]]
        assert not any(control.escape(content)[1] for content in contents)
        assert result["escaped"] > 10_000


def test_what_was_escaped_is_kept_with_the_answer(wim: Wim, write_jsonl: Any) -> None:
    records = write_jsonl([{"prompt": "p", "completion": "a <|im_end|> b </s>"}])
    assert wim("ingest", records, "--out", "hostile") == 0
    assert wim("judge", "hostile", "--export", "requests.jsonl", *SERVICE) == 0
    results = write("results.jsonl", [openai(line, READABLE) for line in lines("requests.jsonl")])
    assert wim("judge", "hostile", "--import", results, *SERVICE) == 0
    assert tables.read_metadata(Path("hostile/feedback.parquet"))["usage"]["escaped"] == 2


def test_empty_completions_are_not_exported(run: Path, export: Any, take_in: Any) -> None:
    frame = tables.read(run / "completions.parquet", "completions")
    frame = frame.with_columns(text=pl.when(pl.col("index") == 0).then(pl.lit(" ")).otherwise("text"))
    tables.write(run / "completions.parquet", "completions", frame, {})
    requests = export()
    assert len(requests) == 12
    assert count(take_in([openai(line, READABLE) for line in requests]), "judgements", "unreadable") == [16, 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ECHO, "judge.model is not set"),
        ((*SERVICE, "--set", "judge.contrastive={}"), "set judge.contrastive to null"),
        ((*SERVICE, "--set", "judge.structured=true"), "set judge.structured to false"),
        ((*SERVICE, "--set", "judged_by=current"), "set it to base"),
        (
            (*SERVICE, "--set", "judge.temperature=1.2", "--format", "anthropic"),
            "anthropic takes temperatures up to 1,",
        ),
        ((*SERVICE, "--set", "judge.temperature=2.2"), "openai takes temperatures up to 2, not 2.2"),
    ],
)
def test_what_no_service_can_do_is_told_in_one_line(
    wim: Wim, run: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str], words: str
) -> None:
    capsys.readouterr()
    assert wim("judge", run, "--export", "requests.jsonl", *options) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not Path("requests.jsonl").exists()


def test_export_and_import_exclude_each_other(wim: Wim, run: Path) -> None:
    assert wim("judge", run, "--export", "a.jsonl", "--import", "b.jsonl", *SERVICE) == 2
    assert wim("judge", run, "--export", "a.jsonl", "--format", "other", *SERVICE) == 2


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_reads_what_is_exported_and_its_results_are_taken_in(
    wim: Wim, run: Path, export: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("--set", "judge.max_tokens=96")
    requests = export(*short)
    write("few.jsonl", requests[:4])
    options = "--dtype float32 --enforce-eager --gpu-memory-utilization 0.3 --max-model-len 512".split()
    model = ["--model", models.resolve("data/demo/model"), "--served-model-name", "large"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch", "-i", "few.jsonl", "-o", "answers.jsonl"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *model, *options, "--no-enable-chunked-prefill"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    capsys.readouterr()
    assert wim("judge", run, "--import", "answers.jsonl", *SERVICE, *short, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert count(result, "answers", "unmatched", "bad") == [4, 0, 0]
    said = {line["custom_id"]: line["response"]["body"] for line in lines("answers.jsonl")}
    assert result["usage"]["tokens"] == sum(body["usage"]["completion_tokens"] for body in said.values())
    texts = {body["choices"][0]["message"]["content"] for body in said.values()}
    assert set(feedback(run)["raw"]) == texts
