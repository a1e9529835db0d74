"""Pairs and stats.json of a run that is read in small parts, against a plain count over whole tables."""

import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import skew

from builder import ids, pair, params, tables
from builder.errors import TableError
from builder.health import measure
from builder.params import Params
from builder.streams import by_hash, spans

ROOT = Path(__file__).parents[2]
JUDGES = ("anna", "ben#0", "ben#1")
WORDS = "river stone market engine winter garden".split()
Record = dict[str, Any]


def made(seed: int, named: str) -> dict[str, list[Record]]:
    """Tables with ties, equal, empty and unjudged completions, later attempts, and prompts without a completion."""
    draw = random.Random(seed)
    found: dict[str, list[Record]] = {"prompts": [], "completions": [], "feedback": [], "ratings": []}
    for number in range(40):
        prompt = f"{number:04x}"
        found["prompts"].append(
            {"prompt_id": prompt, "messages": [{"role": "user", "content": f"q{number}"}], "source": "s"}
        )
        for index in range(draw.choice([0, 1, 2, 4, 4, 5])):
            name = {"ours": f"{prompt}-{index:02d}", "own": f"c{draw.random()}"}[named]
            text = draw.choice(["", " ", "same", *(f"{draw.choice(WORDS)} {draw.random()}" for _ in range(9))])
            found["completions"].append(
                {"completion_id": name, "prompt_id": prompt, "index": index, "text": text}
                | {"finish_reason": "stop", "policy": "strong" if index < 2 else "weak"}
            )
            asked = JUDGES if number < 30 else JUDGES[:1]  # so that there are parts with one judge
            judges = [judge for judge in asked if draw.random() < 0.9] if draw.random() < 0.9 else []
            for judge in judges:
                attempts, rating = judged(draw, name, prompt, judge, text)
                found["feedback"] += attempts
                found["ratings"].append(rating)
            if not judges:
                found["ratings"].append(rated(name, prompt, "", text, reason="not_judged"))
    return found


def judged(draw: random.Random, name: str, prompt: str, judge: str, text: str) -> tuple[list[Record], Record]:
    """The attempts of a judgement, the last of which counts, and its rating."""
    status = draw.choice(["missing"] * 7 + ["nothing", "absent", "unreadable"])
    wim = {"missing": f"leaves out {draw.choice(WORDS)} {draw.random()}", "nothing": ""}.get(status)
    number = draw.choice([None, 5.0, 6.0, 7.0, 8.0])
    said = {"completion_id": name, "judge": judge, "attempt": 0, "wim": wim, "wim_status": status, "rating": number}
    said |= {"rating_status": "unreadable" if number is None else "ok"}
    said |= {"reason": "no_brackets" if status == "unreadable" else None}
    cosine = draw.choice([-0.25, 0.0, 0.25, 0.5]) if status in ("missing", "nothing") else None
    reason = None if cosine is not None else {"absent": "not_judged", "unreadable": "no_brackets"}[status]
    rating = rated(name, prompt, judge, text, number, cosine, reason)
    if status == "unreadable" or draw.random() < 0.8:
        return [said], rating
    bad = {"wim": None, "wim_status": "unreadable", "reason": "placeholder"}
    return [said | bad, said | {"attempt": 1}], rating


def rated(
    name: str,
    prompt: str,
    judge: str,
    text: str,
    number: float | None = None,
    cosine: float | None = None,
    reason: str | None = None,
) -> Record:
    reason = reason if text.strip() else "empty_completion"
    return {
        "completion_id": name,
        "prompt_id": prompt,
        "judge": judge,
        "rating": number,
        "R": None if number is None else (number - 5.5) / 5.5,
        "wim": cosine,
        "length": len(text),
        "reward": cosine if reason is None else None,
        "ratable": reason is None,
        "reason": reason,
    }


def write(run: Path, found: dict[str, list[Record]], mixed: bool) -> None:
    run.mkdir(exist_ok=True)
    for name, records in found.items():
        schema = tables.SCHEMAS[name]
        frame = pl.DataFrame(pl.from_arrow(schema.empty_table()))
        frame = pl.concat([frame, pl.DataFrame(records, schema=frame.schema)])
        frame = frame.sample(fraction=1, shuffle=True, seed=1) if mixed else frame.sort(frame.columns[0])
        tables.write(run / f"{name}.parquet", name, frame, {})


def together(values: dict[str, dict[str, float]], judge: str) -> dict[str, float]:
    """One value for each completion of a prompt, of the values by judge."""
    if judge in JUDGES:
        return {name: by[judge] for name, by in values.items() if judge in by}
    judges = {judge for by in values.values() for judge in by}
    full = {name: by for name, by in values.items() if set(by) == judges}
    if judge != "majority":
        middle = statistics.fmean if judge == "mean" else statistics.median
        return {name: middle(by.values()) for name, by in full.items()}

    def won(one: dict[str, float], other: dict[str, float]) -> float:
        return float(np.sign(sum(np.sign(round(one[judge] - other[judge], 9)) for judge in judges)))

    others = max(len(full) - 1, 1)
    return {name: sum(won(by, other) for other in full.values()) / others for name, by in full.items()}


class Expected:
    """What `wim pair` should find, prompt by prompt."""

    def __init__(self, found: dict[str, list[Record]], settings: Params) -> None:
        self.found, self.settings = found, settings
        self.texts = {c["completion_id"]: c["text"] for c in found["completions"]}
        self.reward = self.by_prompt("reward", settings.pair.judge)
        self.taken = [taken for values in self.reward.values() for taken in self.strategy(self.pairs(values))]

    def by_prompt(self, column: str, judge: str) -> dict[str, dict[str, float]]:
        values: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for row in self.found["ratings"]:
            if row[column] is not None and row["reason"] != "empty_completion":
                values[row["prompt_id"]][row["completion_id"]][row["judge"]] = row[column]
        return {prompt: together(dict(by), judge) for prompt, by in sorted(values.items())}

    def pairs(self, values: dict[str, float]) -> list[tuple[str, str, float, int]]:
        """Better, worse, delta, how far apart in the ranking."""
        ranked = sorted(values, key=lambda name: (-values[name], name))
        both = itertools.combinations(enumerate(ranked), 2)
        return [(a, b, values[a] - values[b], j - i) for (i, a), (j, b) in both if self.texts[a] != self.texts[b]]

    def tied(self, delta: float) -> bool:
        return round(delta, 9) <= self.settings.pair.min_gap

    def strategy(self, pairs: list[tuple[str, str, float, int]]) -> list[tuple[str, str, float]]:
        ties = self.settings.pair.ties == "keep"
        allowed = [(a, b, delta, apart) for a, b, delta, apart in pairs if ties or not self.tied(delta)]
        match self.settings.pair.strategy:
            case "adjacent":
                allowed = [one for one in allowed if one[3] == 1]
            case "best_worst":
                allowed = sorted(allowed, key=lambda one: -one[2])[:1]
            case "cross_policy":
                policy = {c["completion_id"]: c["policy"] for c in self.found["completions"]}
                crossing = [one for one in allowed if policy[one[0]] != policy[one[1]]]
                allowed = sorted(crossing, key=lambda one: -one[2])[:1]
            case "best_random":
                first = pairs and min(one[0] for one in pairs if one[0] == self.best(pairs))
                mine = [one for one in allowed if one[0] == first]
                allowed = sorted(mine, key=lambda one: ids.uniform_of(self.settings.seed, one[1]))[:1]
        return [one[:3] for one in allowed]

    def best(self, pairs: list[tuple[str, str, float, int]]) -> str:
        names = {name for one in pairs for name in one[:2]}
        (values,) = [values for values in self.reward.values() if names <= set(values)]
        return min(values, key=lambda name: (-values[name], name))

    def rows(self) -> list[Record]:
        judge, prompt_of = (
            self.settings.pair.judge,
            {c["completion_id"]: c["prompt_id"] for c in self.found["completions"]},
        )
        asked = {p["prompt_id"]: p["messages"] for p in self.found["prompts"]}
        rows = []
        for better, worse, delta in self.taken:
            prompt = prompt_of[better]
            row = {"pair_id": ids.pair_id("a", 2, better, worse, judge, "wim"), "prompt_id": prompt}
            row |= {"prompt": asked[prompt], "delta": delta, "round": 2, "arm": "a", "judge": judge, "method": "wim"}
            for side, name in (("chosen", better), ("rejected", worse)):
                row |= {f"{side}_{what}": value for what, value in self.side(name).items()}
                row |= {f"{side}_id": name, f"score_{side}": self.reward[prompt][name]}
                row[side] = [{"role": "assistant", "content": self.texts[name]}]
            if judge not in JUDGES:
                row["dissent"] = self.dissent(better, worse)
            rows.append(row)
        return sorted(rows, key=lambda row: str(row["pair_id"]))

    def side(self, name: str) -> Record:
        last = {(f["completion_id"], f["judge"]): f for f in self.found["feedback"]}  # the attempt that counts
        judge = self.settings.pair.judge
        own = [r for r in self.found["ratings"] if r["completion_id"] == name and judge in (r["judge"], *pair.TOGETHER)]
        said = [last[name, r["judge"]] for r in sorted(own, key=lambda r: str(r["judge"]))]
        middle = statistics.fmean if judge == "mean" else statistics.median
        numbers = {what: [r[what] for r in own if r[what] is not None] for what in ("rating", "wim")}
        told = [f["wim"] if judge in JUDGES else f"{f['judge']}: {f['wim']}" for f in said if f["wim"] is not None]
        order = ("missing", "nothing", "unreadable", "absent")
        return {
            **{what: middle(values) if values else None for what, values in numbers.items()},
            "feedback": "\n\n".join(told) if told else None,
            "status": min((f["wim_status"] for f in said), key=order.index),
        }

    def dissent(self, better: str, worse: str) -> float:
        rewards: dict[str, dict[str, float]] = defaultdict(dict)
        for row in self.found["ratings"]:
            if row["ratable"]:
                rewards[row["completion_id"]][row["judge"]] = row["reward"]
        both = [
            round(rewards[better][j] - rewards[worse][j], 9) for j in rewards[better].keys() & rewards[worse].keys()
        ]
        return statistics.fmean(0.5 - 0.5 * np.sign(apart) for apart in both)

    def method(self, column: str, factor: float, middle: float, width: float) -> Record:
        judge = self.settings.pair.judge
        if column != "reward" and judge == "majority":
            judge = "median"
        values = self.by_prompt(column, judge)
        deltas = [delta for by in values.values() for _, _, delta, _ in self.pairs(by)]
        flat = np.array([middle + factor * value for by in values.values() for value in by.values()])
        delta = factor * float(np.mean(deltas))
        return {
            "judged_pairs": len(deltas),
            "ties": sum(map(self.tied, deltas)),
            "tie_rate": sum(map(self.tied, deltas)) / len(deltas),
            "average_delta": delta,
            "normalised_delta": delta / width,
            "effect_delta": delta / flat.std(),
            "mean": flat.mean(),
            "std": flat.std(),
            "skewness": skew(flat),
        }

    def summary(self) -> Record:
        found, last = self.found, {(f["completion_id"], f["judge"]): f for f in self.found["feedback"]}
        several = sum(bool(self.pairs(values)) for values in self.reward.values())
        paired = sum(bool(self.strategy(self.pairs(values))) for values in self.reward.values())
        total, judged = len(found["prompts"]), [r for r in found["ratings"] if r["judge"]]
        reasons = [r["reason"] for r in judged if not r["ratable"]]
        said = [f["wim_status"] for f in last.values()]
        return {
            "prompts": {"total": total, "paired": paired, "tied": several - paired, "too_few": total - several},
            "completions": {
                "total": len(self.texts),
                "empty": sum(not text.strip() for text in self.texts.values()),
                "truncated_for_embedding": None,
                "compared": sum(map(len, self.reward.values())),
            },
            "judgements": {
                "total": len(last),
                **{status: said.count(status) for status in ("missing", "nothing", "unreadable", "absent")},
                "rating_unreadable": sum(f["rating_status"] == "unreadable" for f in last.values()),
                "ratable": sum(r["ratable"] for r in judged),
                "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
            },
            "pairs": len(self.taken),
        }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few completions, whose pairs are scattered to a file one by one; samples of a few prompts."""
    monkeypatch.setattr(spans, "ROWS", 16)
    monkeypatch.setattr(by_hash, "HELD", 0)
    monkeypatch.setattr(measure, "CORRELATED", 60)
    monkeypatch.setattr(measure, "QUOTED", 20)


ORDERS = [("ours", False), ("ours", True), ("own", False), ("own", True)]


@pytest.mark.parametrize("strategy", ["best_worst", "all", "best_random", "adjacent", "cross_policy"])
@pytest.mark.parametrize("judge", ["mean", "median", "majority", "anna"])
@pytest.mark.parametrize(("named", "mixed"), ORDERS, ids=["ours", "mixed", "own ids", "own ids, mixed"])
@pytest.mark.parametrize("ties", ["drop", "keep"])
@pytest.mark.usefixtures("small")
def test_parts_give_the_pairs_and_counts_of_the_whole(
    tmp_path: Path, strategy: str, judge: str, named: str, mixed: bool, ties: str
) -> None:
    found = made(ORDERS.index((named, mixed)), named)
    write(tmp_path, found, mixed)
    settings = params.load(None, [f"pair.strategy={strategy}", f"pair.judge={judge}", f"pair.ties={ties}"])
    expected = Expected(found, settings)
    said = pair.run(tmp_path, settings, "a", 2)
    pairs = pl.read_parquet(tmp_path / "pairs.parquet").to_dicts()
    wanted = expected.rows()
    assert [row["pair_id"] for row in pairs] == [row["pair_id"] for row in wanted]
    for row, want in zip(pairs, wanted, strict=True):
        assert row.keys() == want.keys()
        for column, value in want.items():
            assert row[column] == (pytest.approx(value) if isinstance(value, float) else value), column
    for block, value in expected.summary().items():
        assert said[block] == value, block
    displays = {"numerical": ("R", 5.5, 5.5, 9), "wim": ("wim", 5, 5, 10), "reward": ("reward", 1, 0, 2)}
    for name, display in displays.items():
        assert said["methods"][name] == pytest.approx(expected.method(*display), rel=1e-9, abs=1e-12), name
    assert json.loads((tmp_path / "stats.json").read_text()) == said


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("named", "mixed"), ORDERS, ids=["ours", "mixed", "own ids", "own ids, mixed"])
def test_parts_change_no_byte_of_the_pairs_and_no_figure_of_health(tmp_path: Path, named: str, mixed: bool) -> None:
    found = made(7, named)
    settings = params.load(None, ["pair.strategy=all"])
    write(tmp_path / "parts", found, mixed)
    parted = pair.run(tmp_path / "parts", settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "ROWS", 1 << 20)
        patch.setattr(by_hash, "HELD", 1 << 30)
        write(tmp_path / "whole", found, mixed)
        whole = pair.run(tmp_path / "whole", settings)
    one, other = (tmp_path / folder / "pairs.parquet" for folder in ("parts", "whole"))
    assert one.read_bytes() == other.read_bytes()
    assert parted["health"] == whole["health"]
    assert parted["health"]["quotes"]["n"] < whole["judgements"]["missing"]
    read = {
        name: pl.read_parquet(tmp_path / "whole" / f"{name}.parquet") for name in ("completions", "feedback", "ratings")
    }
    counted = read["feedback"].sort("attempt").unique(["completion_id", "judge"], keep="last")
    direct = measure.measure(read["completions"], counted, read["ratings"], None)
    assert parted["health"] == direct


@pytest.mark.usefixtures("small")
def test_truncated_texts_are_counted_in_completions_only(tmp_path: Path) -> None:
    found = made(3, "ours")
    write(tmp_path, found, mixed=False)
    texts = sorted({c["text"] for c in found["completions"]} | {f["wim"] for f in found["feedback"] if f["wim"]})
    cut = set(texts[::3])
    embeddings = pl.DataFrame(
        {"text_id": [ids.text_id(t) for t in texts], "truncated": [t in cut for t in texts]}
        | {"embedding": [[0.0]] * len(texts), "tokens": 1}
    )
    embeddings.write_parquet(tmp_path / "embeddings.parquet")
    said = pair.run(tmp_path, params.load(None))["completions"]["truncated_for_embedding"]
    assert said == sum(c["text"] in cut for c in found["completions"]) > 0
    embeddings.with_columns(truncated=False).write_parquet(tmp_path / "embeddings.parquet")
    assert pair.run(tmp_path, params.load(None))["completions"]["truncated_for_embedding"] == 0


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("named", ["ours", "own"])
def test_what_does_not_belong_together_is_refused(tmp_path: Path, named: str) -> None:
    found = made(4, named)

    def refused(match: str, **changed: list[Record]) -> None:
        write(tmp_path, found | changed, mixed=False)
        with pytest.raises(TableError, match=match):
            pair.run(tmp_path, params.load(None))
        assert not (tmp_path / "pairs.parquet").exists()
        assert {file.suffix for file in tmp_path.iterdir()} == {".parquet"}  # nothing is left behind

    stranger = {**found["feedback"][0], "completion_id": "0010-99"}
    refused("every judgement is of a completion|every judgement is ratable", feedback=[*found["feedback"], stranger])
    refused("every completion is judged", ratings=found["ratings"][:-1])
    answered = found["completions"][-1]["prompt_id"]
    refused("no row in the prompts table", prompts=[p for p in found["prompts"] if p["prompt_id"] != answered])
    refused("two rows for completion", feedback=[*found["feedback"], found["feedback"][-1]])
    last = {**found["ratings"][-1], "judge": "mean"}
    refused("a judge is called 'mean'", ratings=[*found["ratings"][:-1], last])


def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, made(5, "ours"), mixed=False)
    summary = measure.Figures.summary

    def disturbed(figures: measure.Figures, generic: dict[str, Any] | None) -> dict[str, Any]:
        write(tmp_path, made(6, "ours"), mixed=False)
        return summary(figures, generic)

    monkeypatch.setattr(measure.Figures, "summary", disturbed)
    with pytest.raises(TableError, match="changed while it was worked on"):
        pair.run(tmp_path, params.load(None))
    assert not (tmp_path / "pairs.parquet").exists()


def test_moments_of_parts_are_those_of_the_whole() -> None:
    from builder.stats import Moments

    values = np.random.default_rng(1).gamma(2.0, 3.0, 1000) + 100
    parts = [Moments.of(part) for part in np.split(values, [0, 1, 10, 400])]
    whole = sum(parts, Moments())
    assert whole.n == 1000
    assert whole.mean == pytest.approx(values.mean(), rel=1e-14)
    assert whole.std() == pytest.approx(values.std(), rel=1e-12)
    assert whole.skewness() == pytest.approx(skew(values), rel=1e-9)
    equal = Moments.of(np.full(5, 0.1)) + Moments.of(np.full(9, 0.1))
    assert equal.skewness() is None
    assert math.isclose(equal.mean, 0.1)


PEAK = """
import sys
from pathlib import Path
from builder import pair, params
from builder.streams import by_hash, parts, spans

spans.ROWS, by_hash.HELD, parts.PAIRED = 16384, 16 << 20, 4 << 20
pair.run(Path(sys.argv[1]), params.load(None))
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(run: Path, prompts: int) -> int:
    """Megabytes at most while a run of so many prompts is paired, whose texts have 300 letters each."""
    run.mkdir()
    ask = pl.DataFrame({"prompt_id": [f"{i:016x}" for i in range(prompts)]}).with_columns(source=pl.lit("s"))
    turn = pl.struct(role=pl.lit("user"), content=pl.lit("long question " * 20) + pl.col("prompt_id"))
    name = pl.format("{}-{}", "prompt_id", pl.col("index").cast(pl.String).str.zfill(2))
    answers = ask.join(pl.DataFrame({"index": [0, 1]}), how="cross").with_columns(completion_id=name)
    # Texts that do not compress: a file of compressed ones could be held whole without being seen.
    letters = random.Random(1).randbytes(150 * len(answers)).hex()
    noise = pl.Series([letters[i : i + 300] for i in range(0, len(letters), 300)])
    answers = answers.with_columns(text=noise, finish_reason=pl.lit("stop"), policy=pl.lit("p"))
    said = answers.select("completion_id", "prompt_id", judge=pl.lit("j"), wim=pl.col("text").str.reverse())
    said = said.with_columns(attempt=0, rating_status=pl.lit("absent"), wim_status=pl.lit("missing"))
    number = pl.int_range(pl.len()).cast(pl.Float64)
    rated = said.select("completion_id", "prompt_id", "judge", wim=number, reward=number, length=300, ratable=True)
    made = {"prompts": ask.with_columns(messages=pl.concat_list(turn)), "completions": answers, "feedback": said}
    for table, frame in (made | {"ratings": rated}).items():
        schema = tables.SCHEMAS[table]
        absent = [pl.lit(None).alias(column) for column in schema.names if column not in frame.columns]
        frame.with_columns(absent).select(schema.names).write_parquet(run / f"{table}.parquet", row_group_size=2048)
    command = [sys.executable, "-c", PEAK, str(run)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    """160,000 completions more have 96 MB of texts of their own, and their pairs 120 MB; parts hold a few of them."""
    few, many = peak(tmp_path / "few", 60_000), peak(tmp_path / "many", 140_000)
    assert many < few + 100
