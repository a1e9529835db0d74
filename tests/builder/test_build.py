"""`wim build` on made-up records: pairs and stats.json against an independent count in plain Python."""

import collections
import itertools
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import skew

from builder import cli, explain, stats, tables
from builder.errors import TableError
from builder.ids import pair_id

WORDS = "river stone market engine winter garden signal copper violin harbor ledger comet".split()


def make_records(seed: int, judges: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)

    def words(count: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(count))

    records = []
    for prompt in range(25):
        for index in range(draw.randint(1, 4)):
            completion = words(draw.randint(3, 30)) if draw.random() > 0.05 else ""
            for judge in range(judges):
                if draw.random() < 0.1:
                    continue
                feedback = draw.choice(["leaves out " + words(4)] * 6 + ["", None])
                rating = draw.choice([5, 6, 7, 7, 8, 8, 8, None, 11])
                record = {
                    "prompt": f"question {prompt}",
                    "completion": f"{completion} {index}".strip() if completion else "",
                }
                records.append(record | {"feedback": feedback, "rating": rating, "judge": f"j{judge}"})
    return records


@pytest.fixture(scope="module", params=[1, 2], ids=["one judge", "two judges"])
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("built")
    records = make_records(request.param, request.param)
    (folder / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cli.main(["build", "in.jsonl", "--out", "run", "--arm", "a", "--round", "3", "--json"])
    return folder / "run", records


def independent(run: Path, column: str) -> dict[str, dict[str, float]]:
    """Values by prompt and text: the mean over judges where every judge of the prompt has one."""
    texts = dict(tables.read(run / "completions.parquet", "completions", ["completion_id", "text"]).iter_rows())
    said: dict[str, dict[str, dict[str, float]]] = collections.defaultdict(lambda: collections.defaultdict(dict))
    for row in pl.read_parquet(run / "ratings.parquet").to_dicts():
        if row[column] is not None and texts[row["completion_id"]].strip():
            said[row["prompt_id"]][row["completion_id"]][row["judge"]] = row[column]
    values: dict[str, dict[str, float]] = {}
    for prompt, completions in said.items():
        judges = {judge for by in completions.values() for judge in by}
        full = {c: by for c, by in completions.items() if set(by) == judges}
        values[prompt] = {c: math.fsum(by.values()) / len(by) for c, by in full.items()}
    return values


@pytest.mark.parametrize(
    ("method", "column", "scale", "width"),
    [("wim", "wim", 5, 10), ("numerical", "R", 5.5, 9), ("reward", "reward", 1, 2)],
)
def test_method_statistics_equal_an_independent_count(
    built: tuple[Path, list[dict[str, Any]]], method: str, column: str, scale: float, width: float
) -> None:
    run, _ = built
    values = independent(run, column)
    deltas = [abs(a - b) for group in values.values() for a, b in itertools.combinations(group.values(), 2)]
    flat = np.array([v for group in values.values() for v in group.values()])
    said = json.loads((run / "stats.json").read_text())["methods"][method]
    assert said["judged_pairs"] == len(deltas)
    assert said["ties"] == sum(round(delta, 9) <= 0 for delta in deltas)
    assert said["tie_rate"] == pytest.approx(said["ties"] / len(deltas))
    assert said["average_delta"] == pytest.approx(scale * np.mean(deltas))
    assert said["normalised_delta"] == pytest.approx(scale * np.mean(deltas) / width)
    assert said["effect_delta"] == pytest.approx(np.mean(deltas) / flat.std())
    assert said["std"] == pytest.approx(scale * flat.std())
    assert said["skewness"] == pytest.approx(skew(flat))


def test_the_accounting_adds_up_and_equals_the_input(built: tuple[Path, list[dict[str, Any]]]) -> None:
    run, records = built
    said = json.loads((run / "stats.json").read_text())
    judgements, prompts = said["judgements"], said["prompts"]
    distinct = {(r["prompt"], r["completion"], r["judge"], r["feedback"], r["rating"]) for r in records}
    assert judgements["total"] == len(distinct)
    assert judgements["nothing"] == sum(feedback == "" for *_, feedback, _ in distinct)
    assert judgements["absent"] == sum(feedback is None for *_, feedback, _ in distinct)
    assert judgements["rating_unreadable"] == sum(rating == 11 for *_, rating in distinct)
    assert judgements["total"] == judgements["ratable"] + sum(judgements["reasons"].values())
    assert prompts["total"] == len({r["prompt"] for r in records})
    assert prompts["total"] == prompts["paired"] + prompts["tied"] + prompts["too_few"]
    values = independent(run, "wim")
    untied = sum(len(g) > 1 and round(max(g.values()) - min(g.values()), 9) > 0 for g in values.values())
    assert said["pairs"] == prompts["paired"] == untied
    assert prompts["too_few"] == prompts["total"] - sum(len(group) > 1 for group in values.values())


def test_pairs_hold_the_columns_that_trainers_read_and_the_words_behind_them(
    built: tuple[Path, list[dict[str, Any]]],
) -> None:
    run, _ = built
    pairs = pl.read_parquet(run / "pairs.parquet")
    assert pairs["pair_id"].is_sorted()
    texts = dict(tables.read(run / "completions.parquet", "completions", ["completion_id", "text"]).iter_rows())
    feedback = pl.read_parquet(run / "feedback.parquet").filter(pl.col("wim").is_not_null()).sort("judge")
    for pair in pairs.to_dicts():
        assert pair["prompt"][-1]["role"] == "user"
        assert pair["chosen"] == [{"role": "assistant", "content": texts[pair["chosen_id"]]}]
        assert pair["score_chosen"] - pair["score_rejected"] == pytest.approx(pair["delta"])
        assert pair["delta"] > 0
        names = (pair["arm"], pair["round"], pair["chosen_id"], pair["rejected_id"], "mean", "wim")
        assert pair["pair_id"] == pair_id(*names)
        said = feedback.filter(pl.col("completion_id") == pair["rejected_id"]).select("judge", "wim").rows()
        assert pair["rejected_feedback"] == "\n\n".join(f"{judge}: {text}" for judge, text in said)
        assert pair["rejected_status"] == ("missing" if any(text for _, text in said) else "nothing")
        assert (pair["arm"], pair["round"], pair["judge"], pair["method"]) == ("a", 3, "mean", "wim")


def test_one_judges_name_selects_its_judgements(built: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    run, _ = built
    copy = tmp_path / "run"
    copy.mkdir()
    for file in run.glob("*.parquet"):
        (copy / file.name).write_bytes(file.read_bytes())
    cli.main(["pair", str(copy), "--set", "pair.judge=j0", "--json"])
    texts = dict(
        pl.read_parquet(run / "feedback.parquet")
        .filter(pl.col("judge") == "j0")
        .select("completion_id", "wim")
        .iter_rows()
    )
    for pair in pl.read_parquet(copy / "pairs.parquet").to_dicts():
        assert pair["chosen_feedback"] == texts[pair["chosen_id"]]
        assert pair["judge"] == "j0"


def test_the_same_inputs_give_the_same_bytes(
    built: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = built
    monkeypatch.chdir(tmp_path)
    cli.main(["build", str(run.parent / "in.jsonl"), "--out", "again", "--arm", "a", "--round", "3", "--json"])
    for file in run.glob("*"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_skewness_is_the_biased_one() -> None:
    values = np.array([1.0, 2.0, 2.5, 9.0])
    assert stats.skewness(values) == pytest.approx(skew(values))
    assert stats.skewness(np.array([3.0, 3.0])) is None
    assert stats.skewness(np.array([])) is None


def test_a_completion_without_its_prompt_is_named(built: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    run, _ = built
    for name in ("completions", "feedback", "ratings"):
        (tmp_path / f"{name}.parquet").write_bytes((run / f"{name}.parquet").read_bytes())
    prompts = pl.read_parquet(run / "prompts.parquet")[1:]
    tables.write(tmp_path / "prompts.parquet", "prompts", prompts, {})
    from builder import pair, params

    with pytest.raises(TableError, match="no row in the prompts table"):
        pair.run(tmp_path, params.load(None))


def test_explain_tells_the_words_behind_a_pair(
    built: tuple[Path, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = built
    largest = pl.read_parquet(run / "pairs.parquet").sort("delta").row(-1, named=True)
    cli.main(["explain", str(run)])
    page = capsys.readouterr().out
    for shown in (
        largest["pair_id"],
        largest["chosen"][0]["content"][:20],
        f"{largest['chosen_wim']:+.4f}",
        "missingness",
    ):
        assert shown in page
    cli.main(["explain", str(run), "--pair", largest["pair_id"][:8], "--json"])
    assert json.loads(capsys.readouterr().out)["pair_id"] == largest["pair_id"]


def test_explain_says_that_several_judges_miss_nothing() -> None:
    pair = {"chosen_status": "nothing", "chosen_feedback": "a: \n\nb: ", "rejected_status": "missing"}
    pair["rejected_feedback"] = "a: the end\n\nb: "
    assert explain._feedback(pair, "chosen") == "(nothing)"
    assert explain._feedback(pair, "rejected") == pair["rejected_feedback"]


def test_a_published_folder_loads_with_datasets(built: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    import datasets

    run, _ = built
    cli.main(["publish", str(run), "--out", str(tmp_path / "dataset"), "--json"])
    pairs = pl.read_parquet(run / "pairs.parquet")
    for loaded in (
        datasets.load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache")),
        datasets.load_dataset("parquet", data_dir=str(tmp_path / "dataset/data"), cache_dir=str(tmp_path / "c2")),
    ):
        assert sorted(name for part in loaded.values() for name in part["pair_id"]) == pairs["pair_id"].to_list()
        assert all(part["pair_id"][:] == sorted(part["pair_id"]) for part in loaded.values())
        assert not set(loaded["train"]["prompt_id"]) & set(loaded["test"]["prompt_id"])
    ratings = datasets.load_dataset(str(tmp_path / "dataset"), "ratings", cache_dir=str(tmp_path / "c3"))
    assert sum(len(part) for part in ratings.values()) == len(pl.read_parquet(run / "ratings.parquet"))
    assert {"completion", "feedback", "wim_status"} <= set(ratings["train"].column_names)
    assert f"{len(pairs)} chosen/rejected pairs" in (tmp_path / "dataset/README.md").read_text()


def test_stats_prints_the_tie_table(
    built: tuple[Path, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = built
    said = json.loads((run / "stats.json").read_text())
    cli.main(["stats", str(run)])
    page = capsys.readouterr().out
    assert f"{said['methods']['numerical']['tie_rate']:.2%}" in page
    assert f"{said['prompts']['paired']} paired" in page


RECORDS = [
    {"prompt_id": "known by id", "completion": "a longer answer", "feedback": "leaves out the dates", "rating": 3},
    {"prompt_id": "known by id", "completion": "another one", "feedback": "leaves out the places", "rating": 4},
]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of pairs whose prompts have no text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS))
    cli.main(["build", "in.jsonl", "--out", "run", "--json"])
    return tmp_path / "run"


def test_pairs_without_prompts_are_published_apart(bare: Path, tmp_path: Path) -> None:
    import datasets

    cli.main(["publish", str(bare), "--out", str(tmp_path / "dataset"), "--json"])
    pairs = datasets.load_dataset(str(tmp_path / "dataset"), "unprompted", split="train", cache_dir=str(tmp_path / "c"))
    assert len(pairs) == 1
    card = (tmp_path / "dataset/README.md").read_text()
    assert 'load_dataset("FOLDER", "unprompted", split="train")' in card
    assert "config_name: default" not in card


def test_pair_follows_what_the_ratings_were_made_with(bare: Path) -> None:
    cli.main(["rate", str(bare), "--set", "rate.method=numerical", "--json"])
    cli.main(["pair", str(bare), "--json"])
    (pair,) = pl.read_parquet(bare / "pairs.parquet").to_dicts()
    assert (pair["method"], pair["chosen_rating"]) == ("numerical", 4)
    assert pair["score_chosen"] == pytest.approx(-1.5 / 5.5)


def test_importing_again_removes_what_was_made_of_the_old_records(bare: Path) -> None:
    cli.main(["ingest", "in.jsonl", "--out", str(bare), "--json"])
    assert {f.name for f in bare.iterdir()} == {
        "prompts.parquet", "completions.parquet", "feedback.parquet", "ingest.json",
    }  # fmt: skip


def change(file: Path, name: str, frame: pl.DataFrame) -> None:
    tables.write(file, name, frame, {})


def test_a_judgement_that_stands_twice_is_refused(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feedback = pl.read_parquet(bare / "feedback.parquet")
    change(bare / "feedback.parquet", "feedback", pl.concat([feedback, feedback[:1]]))
    with pytest.raises(SystemExit, match="1"):
        cli.main(["rate", str(bare)])
    assert "two rows for completion" in capsys.readouterr().err


@pytest.mark.parametrize("number", [math.nan, 99.0])
def test_a_number_outside_the_scale_is_never_rated(bare: Path, number: float) -> None:
    feedback = pl.read_parquet(bare / "feedback.parquet").with_columns(rating=pl.lit(number))
    change(bare / "feedback.parquet", "feedback", feedback)
    cli.main(["rate", str(bare), "--set", "rate.method=numerical", "--json"])
    rated = pl.read_parquet(bare / "ratings.parquet")
    assert rated["R"].null_count() == 2
    assert set(rated["reason"]) == {"out_of_scale"}


def test_terminal_codes_in_the_data_are_shown_as_text(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = pl.read_parquet(bare / "pairs.parquet").with_columns(chosen_feedback=pl.lit("red \x1b[31m alert"))
    change(bare / "pairs.parquet", "pairs", pairs)
    capsys.readouterr()
    cli.main(["explain", str(bare)])
    page = capsys.readouterr().out
    assert "\x1b" not in page
    assert "red \\x1b[31m alert" in page


def test_an_empty_csv_completion_is_an_empty_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("prompt,answer,feedback\nq,,misses all\nq,some,misses dates\n")
    cli.main(["ingest", "in.csv", "--out", "run", "--map", "completion=answer", "--json"])
    assert sorted(pl.read_parquet("run/completions.parquet")["text"]) == ["", "some"]


def test_a_hub_that_cannot_be_reached_is_one_line(bare: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "builder.cli", "publish", str(bare), "--out", "d", "--repo", "a/b", "--push"]
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_TOKEN": "no-token"}
    environment = os.environ | nowhere | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("wim: publish: pushing to a/b failed: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("completions", "told"), [(["a"], "no prompt has two"), (["a", "b"], "all that could be compared is tied")]
)
def test_why_there_are_no_pairs_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    completions: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": "p", "completion": text, "feedback": "", "rating": 5} for text in completions]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cli.main(["build", "in.jsonl", "--out", "run"])
    shown = capsys.readouterr().out
    assert "no pairs: " in shown
    assert told in shown


def test_stats_of_a_run_without_pairs_say_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        cli.main(["stats", str(tmp_path)])
    assert f"stats.json does not exist: run `wim pair {tmp_path}` first" in capsys.readouterr().err
