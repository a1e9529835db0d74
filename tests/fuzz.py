"""Random and mutated inputs for what reads other people's words: the judge's parser, and ingest.

``python tests/fuzz.py --inputs 1000000 --seed 1`` gives one half to the parser, one to ingest. The same seed
gives the same inputs. Stops at the first input that raises or breaks an invariant, and prints it as ASCII.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, AnyStr

import polars as pl
from hostile import NO_TEXT, small

from builder import ids, ingest, tables
from builder.judges import Reading, aspects, likert, rubric, wim
from builder.params import Aspects, Compare, Criterion, Params
from builder.params import Judge as Settings
from builder.statuses import RatingStatus, Reason, WimStatus

BATCH = 1000
SCALES = ((1.0, 10.0), (0.0, 1.0), (-5.0, 5.0), (1.0, 100.0))
FINISHES = ("stop", "length", None, "imported", "")
CORPUS = [attack.text for attack in (*small(), *NO_TEXT) if len(attack.text) <= 400]
GRAMMAR = [
    *("Rating:", "rating :", "**Rating:**", "WIM:", "wim:", "**WIM**:", "> WIM:", "Rating", "WIM", "Overall rating:"),
    *("[", "[[", "[[[", "[[[[", "]", "]]", "]]]", "]]]]", "[]", "[[]]", "[[[]]]", "[[8]]", "[[[8]]]"),
    *("1", "10", "-3", "8.5", "8,5", "8/10", "8 out of 10", "1e5", "nan", "٨", "½", "number", "9" * 50, "0x1"),
    *(
        "nothing",
        "None.",
        "n/a",
        "wim",
        "what is missing",
        "...",
        "…",
        "The answer leaves out the date.",
        "I'm sorry, I",
    ),
    *(
        "helpfulness: [[4]]",
        "Honesty:",
        "instruction_following: [[0]]",
        "truthfulness: [[5]]",
        "tone: [[3]]",
        "Verdict:",
    ),
    *("[[A]]", "[[tie]]", "[[B much better]]", "A slightly better"),
    *(" ", "\n", "\n\n", "\t", "\r\n", "*", "_", "#", "- ", ".", ",", ":", '"', "`", "<answer>", "</answer>", "\x00"),
    *("é", "日本", "🙂", "\u200b", "\u202e", "\u2028", "\u0301", "\ud800", "\udfff", "\x1b[0m", "\x85", "\ufeff"),
]


class Failure(Exception):
    """What went wrong, with the input as ASCII."""


def parser(inputs: int, seed: int) -> dict[str, int]:
    """Feed ``inputs`` texts to the judge's parser; how often each status came out. Raises Failure."""
    judges = [wim.Judge(scale) for scale in SCALES]
    others = [judge for scale in SCALES for judge in criteria(scale)]
    pairs = [likert.Judge((1, 10), Settings("likert", compare=Compare(tie=tie))) for tie in (True, False)]
    counts: dict[str, int] = {}
    for i in range(inputs):
        draw = random.Random(f"{seed} parser {i}")
        judge, raw, finish = draw.choice(judges), text(draw), draw.choice(FINISHES)
        try:
            reading = judge.read(raw, finish)
            check(reading, raw, judge)
            other = draw.choice(others)
            check(other.read(raw, finish), raw, other, other.missing)
            grade, reason = draw.choice(pairs).read(raw, finish)
            assert (grade is None) == (reason is not None)
            assert grade in (None, -2, -1, 0, 1, 2)
        except Exception as error:
            raise Failure(f"parser, input {i}: {error!r}: {raw!a}, finish_reason {finish!r}") from error
        name = f"{reading.wim_status}, rating {reading.rating_status}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def criteria(scale: tuple[float, float]) -> list[aspects.Judge | rubric.Judge]:
    """Judges of several numbers, with and without a text."""
    own = (Criterion("tone", weight=-1.0), Criterion("overall tone"), Criterion("honesty", weight=0.0))
    return [
        aspects.Judge(scale, Settings("aspects")),
        aspects.Judge(scale, Settings("aspects", aspects=Aspects("helpsteer"), missing=False)),
        rubric.Judge(scale, Settings("rubric", rubric=own)),
    ]


def check(reading: Reading, raw: str, judge: Any, asked: bool = True) -> None:
    """A reading's parts agree, and its text is in what was read; ``asked``: whether a text was asked for."""
    if not asked:
        assert (reading.wim, reading.wim_status) == (None, WimStatus.ABSENT)
        assert (reading.rating is None) == (reading.reason is not None)
        reading = dataclasses.replace(reading, wim="", wim_status=WimStatus.NOTHING)
    assert (reading.rating is None) == (reading.rating_status == RatingStatus.UNREADABLE)
    assert reading.rating is None or judge.low <= reading.rating <= judge.high
    assert (reading.wim is None) == (reading.wim_status == WimStatus.UNREADABLE)
    assert (reading.wim == "") == (reading.wim_status == WimStatus.NOTHING)
    assert reading.wim is None or reading.wim_status in (WimStatus.MISSING, WimStatus.NOTHING)
    assert not reading.wim or (reading.wim.rstrip("]") in raw and reading.wim == reading.wim.strip())
    assert (reading.reason is None) == (reading.wim is not None and reading.rating is not None)
    assert reading.reason is None or reading.reason in Reason


def text(draw: random.Random) -> str:
    """A text of the grammar, an attack, or a mutation of either."""
    kind = draw.random()
    if kind < 0.4:
        made = "".join(draw.choices(GRAMMAR, k=draw.randint(0, 24)))
    elif kind < 0.45:
        made = draw.choice(CORPUS)
    elif kind < 0.75:
        made = f"Rating: [[{draw.randint(-2, 12)}]]\nWIM: [[[{draw.choice(CORPUS)}]]]"
    else:
        made = draw.choice(CORPUS) + "".join(draw.choices(GRAMMAR, k=draw.randint(1, 12)))
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 5))):
        made = mutated(made, "".join(draw.choices(GRAMMAR, k=2)), draw)
    return made * draw.choice((1, 1, 1, 2)) if draw.random() > 0.0005 else made * (20_000 // (len(made) + 1))


def mutated(made: AnyStr, piece: AnyStr, draw: random.Random) -> AnyStr:
    """A part left out, doubled, replaced or moved to the end, or a piece put in."""
    start, end = sorted((draw.randint(0, len(made)), draw.randint(0, len(made))))
    end = min(end, start + draw.choice((1, 3, 20, 200)))
    head, part, tail = made[:start], made[start:end], made[end:]
    return draw.choice((head + tail, head + part + part + tail, head + piece + tail, head + tail + part, head + piece))


def ingestion(inputs: int, seed: int) -> dict[str, int]:
    """Feed ``inputs`` lines of JSONL to what `wim ingest` calls, many to a file. Raises Failure."""
    counts = dict.fromkeys(("records", "judgements", "duplicates", "rejected", "prompt_conflicts"), 0)
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, inputs, BATCH):
            draw = random.Random(f"{seed} ingest {start}")
            lines = [line(draw) for _ in range(min(BATCH, inputs - start))]
            lines[1::20] = lines[: len(lines[1::20])]  # some come twice
            try:
                account = ingested(lines, Path(folder))
            except Exception as error:
                fewer = smallest(lines, lambda part: _fails(part, Path(folder)))
                shown = "\n".join(map(ascii, fewer))
                raise Failure(f"ingest, inputs from {start}: {error!r}; these lines are enough:\n{shown}") from error
            counts = {name: count + getattr(account, name) for name, count in counts.items()}
    return counts


KNOWN = {"prompt": "known", "completion": "known", "raw": "Rating: [[0.5]]\nWIM: [[[known]]]", "rating_min": 0}
"""Stands in each file, and is read alike whatever stands beside it."""


def ingested(lines: Sequence[bytes], folder: Path) -> ingest.Accounting:
    """Import the lines as `wim ingest` does and check what came of them."""
    file, run = folder / "records.jsonl", folder / "run"
    file.write_bytes(b"\n".join([*lines, json.dumps(KNOWN).encode()]))
    with contextlib.redirect_stderr(io.StringIO()) as told:
        account = ingest.run([file], run, Params())
    assert account.records == len(lines) + 1 == account.judgements + account.duplicates + account.rejected
    assert told.getvalue().count("rejected: ") == min(account.rejected, 11) == len(told.getvalue().splitlines())
    bad = run / "rejected.jsonl"
    rejected = [json.loads(row) for row in bad.read_bytes().decode("ascii").splitlines()] if bad.exists() else []
    assert len(rejected) == account.rejected
    assert len({row["line"] for row in rejected}) == len(rejected)
    assert all(row["reason"] and 1 <= row["line"] <= len(lines) for row in rejected)
    check_tables(run, account)
    return account


def check_tables(run: Path, account: ingest.Accounting) -> None:
    """Ids are unique, tables fit together, and each judgement is consistent."""
    names = ("prompts", "completions", "feedback")
    prompts, completions, feedback = (tables.read(tables.path(run, name), name) for name in names)
    assert account.judgements == len(feedback) == len(feedback.unique(["completion_id", "judge", "attempt"]))
    assert account.completions == len(completions) == completions["completion_id"].n_unique()
    assert account.prompts == len(prompts) == prompts["prompt_id"].n_unique()
    assert set(completions["prompt_id"]) == set(prompts["prompt_id"])
    assert set(feedback["completion_id"]) == set(completions["completion_id"])
    assert len(completions) == len(completions.unique(["prompt_id", "index"]))
    wim, status = pl.col("wim"), pl.col("wim_status")
    number, readable = pl.col("rating"), pl.col("rating_status") == "ok"
    rules = {
        "a text or none": (status == "missing") == (wim.str.len_bytes() > 0).fill_null(False),
        "nothing is an empty text": (status == "nothing") == (wim == "").fill_null(False),
        "no text": status.is_in(["absent", "unreadable"]) == wim.is_null(),
        "a number or none": readable == number.is_not_null(),
        "a reason": pl.col("reason").is_not_null()
        == ((status == "unreadable") | (pl.col("rating_status") == "unreadable")),
        "within the scale": ~readable
        | number.is_between(pl.col("scale_min").fill_null(1.0), pl.col("scale_max").fill_null(10.0)),
    }
    for name, rule in rules.items():
        broken = feedback.filter(~rule)
        assert broken.is_empty(), f"{name}: {broken.row(0, named=True)!r}"
    known = completions.filter(pl.col("text") == "known").join(feedback, on="completion_id")
    assert (0.5, "known", "missing", 0.0) in known.select("rating", "wim", "wim_status", "scale_min").rows()


VALUES: list[Any] = [None, True, False, 0, 1, -1, 7, 10, 11, 1e308, 7.5, float("nan"), float("inf"), 10**400, "", " "]
NESTED: list[Any] = [[], {}, [1], {"role": "user", "content": "x"}, [[[]]], {"a": {"b": [None]}}]
IMITATED = [f"x~{ids.prompt_id([{'role': 'user', 'content': text}])[:8]}" for text in ("x", "y", "known")]
IDS = [*IMITATED, "x", "y", "known", "x~", "x-00", "x-01", "~", "../x", "", " ", "x\n", "e0b6f5b0b6c0a8d3"]
ROLES = ["user", "assistant", "system", "tool", "end|>", "", "User", None, 1]


def line(draw: random.Random) -> bytes:
    """A record as a line: usable, with wrong values, or broken as bytes."""
    names = ["prompt", "prompt_id", "completion", "completion_id", "feedback", "rating", "rating_min", "rating_max"]
    names += ["raw", "raw", "judge", "sample", "reference", "source", "model", "other", "\ud800", "\x1b[2J"]
    record = {name: value(name, draw) for name in draw.sample(names, k=draw.choice((0, 1, 1, 2, 3, 4, 8)))}
    if draw.random() < 0.9:
        prompt = draw.choice((draw.choice(IDS), unicode(draw), unicode(draw), turns(draw)))
        record |= {"prompt": prompt, "completion": draw.choice((draw.choice(IDS), unicode(draw), text(draw)))}
    if draw.random() < 0.1:  # ids that meet
        record |= {"prompt": draw.choice(IDS[3:6]), "prompt_id": draw.choice(IDS[:6])}
    made = json.dumps(record, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    if draw.random() < 0.15:
        for _ in range(draw.choice((1, 1, 2, 6))):
            made = mutated(made, draw.choice((bytes([draw.randrange(256)]), b'"', b"{", b"\\ud800", b"1" * 20)), draw)
    if draw.random() < 0.0005:
        made = draw.choice((b"[" * 5_000, b'{"a":' * 5_000, b'{"rating": ' + b"9" * 5_000 + b"}"))
    made = made.replace(b"\n", b" ")
    return made if made.removeprefix(b"\xef\xbb\xbf").strip() else b"blank"


def value(name: str, draw: random.Random) -> Any:
    """What may stand in a field: mostly what it is for, else anything."""
    kind = draw.random()
    if kind < 0.04:
        return draw.choice((*VALUES, *NESTED))
    if name == "sample":
        return draw.choice((0, 1, 2.0, 3))
    if name.startswith("rating"):
        return draw.choice((draw.randint(-1, 12), draw.random() * 11, float(draw.randint(0, 3))))
    if name.endswith("_id") or name == "judge":
        return draw.choice(IDS)
    return draw.choice((unicode, unicode, unicode, text))(draw)


def unicode(draw: random.Random) -> str:
    """A text that UTF-8 can spell."""
    return text(draw).encode("utf-8", "replace").decode()


def turns(draw: random.Random) -> list[Any]:
    """A conversation, or something like it."""
    made = [{"role": draw.choice(ROLES), "content": draw.choice((text(draw), *VALUES))}]
    return [*made * draw.choice((0, 0, 1, 2)), {"role": "user", "content": unicode(draw)}]


def _fails(lines: Sequence[bytes], folder: Path) -> bool:
    try:
        ingested(lines, folder)
    except Exception:
        return True
    return False


def smallest(items: Sequence[bytes], fails: Callable[[Sequence[bytes]], bool]) -> Sequence[bytes]:
    """As few of the items as still fail, by leaving out ever smaller parts."""
    size = len(items) // 2
    while size:
        parts = ([*items[:start], *items[start + size :]] for start in range(0, len(items), size))
        found = next(filter(fails, parts), None)
        if found is None:
            size //= 2
        else:
            items, size = found, min(size, len(found) // 2)
    return items


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--inputs", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    for name, run in (("parser", parser), ("ingest", ingestion)):
        begun = time.monotonic()
        counts = run(chosen.inputs // 2, chosen.seed)
        told = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()))
        print(f"{name}: {chosen.inputs // 2:,} inputs in {time.monotonic() - begun:.0f} s: {told}", flush=True)


if __name__ == "__main__":
    main()
