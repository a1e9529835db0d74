"""Prompts that nearly repeat a benchmark's are left out, each with what it repeats."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from builder import prompts, tables
from builder.errors import InputError, WimError
from builder.params import load

BENCHMARK = ["What is the capital of France?", "Write a poem about the sea in winter."]
OWN = ["What's the capital of France?", "How do I bake a loaf of bread at home?", "Name three kinds of sharks."]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(name: str, texts: Sequence[str]) -> str:
    Path(name).write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return name


def made(own: Sequence[str], *benchmarks: str, **sets: float) -> prompts.Made:
    written("own.jsonl", own)
    given = [f"prompts.{name}={value}" for name, value in sets.items()]
    against = json.dumps(list(benchmarks))
    return prompts.run(
        Path("run"), load(None, ["prompts.source=own.jsonl", f"prompts.decontaminate={against}", *given])
    )


def left() -> set[str]:
    table = tables.read(Path("run/prompts.parquet"), "prompts")
    return {messages[0]["content"] for messages in table["messages"].to_list()}


def test_a_prompt_that_is_worded_a_little_otherwise_is_left_out_and_told() -> None:
    account = made([*OWN, BENCHMARK[1]], written("a.jsonl", BENCHMARK[:1]), written("b.jsonl", BENCHMARK[1:]))
    assert (account.prompts, account.contaminated) == (2, 2)
    assert left() == set(OWN[1:])
    told = pl.read_parquet("run/contaminated.parquet").sort("cosine")
    assert told["prompt"].to_list() == [OWN[0], BENCHMARK[1]]
    assert told["near"].to_list() == BENCHMARK
    assert told["of"].to_list() == ["a.jsonl", "b.jsonl"]
    assert 0.95 < told["cosine"][0] < 1
    assert tables.read_metadata(Path("run/prompts.parquet"))["params"]["decontaminate"] == 2


def test_how_near_is_a_parameter_and_without_a_find_no_table_is_left() -> None:
    benchmark = written("a.jsonl", BENCHMARK)
    assert made(OWN, benchmark).contaminated == 1
    assert made(OWN, benchmark, near=0.9999).contaminated == 0
    assert left() == set(OWN)
    assert not Path("run/contaminated.parquet").exists()


def test_a_system_turn_is_no_likeness() -> None:
    system = {"role": "system", "content": "You are a helpful assistant who answers questions. " * 20}
    for name, text in (("own.jsonl", OWN[1]), ("a.jsonl", BENCHMARK[0])):
        messages = [system, {"role": "user", "content": text}]
        Path(name).write_text(json.dumps({"messages": messages}) + "\n")
    given = ["prompts.source=own.jsonl", "prompts.decontaminate=[a.jsonl]"]
    assert prompts.run(Path("run"), load(None, given)).contaminated == 0


def test_what_cannot_be_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"every prompt nearly repeats one of prompts\.decontaminate"):
        made(BENCHMARK, written("a.jsonl", BENCHMARK))
    with pytest.raises(InputError, match=r"empty\.jsonl holds no usable prompt"):
        made(OWN, written("empty.jsonl", []))
    with pytest.raises(InputError, match=r"missing\.jsonl: no such file"):
        made(OWN, "missing.jsonl")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(WimError, match=r"prompts.decontaminate: .*pip install faiss-cpu"):
        made(OWN, "a.jsonl")
