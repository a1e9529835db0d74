"""The rows of a published dataset: which file they are in, and that none is lost or in both splits."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import ROOT, RUNS, Publish, contents, read, write

from builder import ids, judgements, rows, tables
from builder.hub import judged, runs, shards
from builder.hub.shards import Shards

CONFIGS = ("wim-round0", "wim-round1", "numerical-round1")


def test_the_names_are_stable(folder: Path) -> None:
    parts = [*(f"data/{config}" for config in CONFIGS), "ratings"]
    of_rows = {f"{part}/{split}-00000-of-00001.parquet" for part in parts for split in ("train", "test")}
    others = {"README.md", "stats.json", "parameters.json", "images/ratings.png", "images/deltas.png"}
    assert set(contents(folder)) == of_rows | others


def test_every_pair_of_every_run_is_there_once_and_unchanged(folder: Path, made: Path) -> None:
    for run, config in zip(RUNS, CONFIGS, strict=True):
        parts = read(folder, f"data/{config}")
        assert pl.concat(parts.values()).sort("pair_id").equals(pl.read_parquet(made / run / "pairs.parquet"))
        assert all(part["pair_id"].is_sorted() for part in parts.values())


def test_no_prompt_is_in_both_splits_of_any_configurations(folder: Path) -> None:
    sides: dict[str, set[str]] = {"train": set(), "test": set()}
    for part in [*(f"data/{config}" for config in CONFIGS), "ratings"]:
        for split, frame in read(folder, part).items():
            sides[split] |= set(frame["prompt_id"])
    assert len(sides["test"]) > 2
    assert not sides["train"] & sides["test"]
    assert sides["test"] == {name for name in sides["train"] | sides["test"] if ids.uniform_of(0, name) < 0.05}


def test_every_judgement_is_there_with_its_words(folder: Path, made: Path) -> None:
    parts = pl.concat(read(folder, "ratings").values())
    assert len(parts) == 3 * 360
    one = parts.filter(pl.col("arm") == "wim", pl.col("round") == 1).sort("completion_id")
    run = made / "runs/wim/1"
    assert one.select(tables.SCHEMAS["ratings"].names).equals(pl.read_parquet(run / "ratings.parquet"))
    texts = dict(pl.read_parquet(run / "completions.parquet").select("completion_id", "text").iter_rows())
    assert one["completion"].to_list() == [texts[name] for name in one["completion_id"]]
    said = dict(pl.read_parquet(run / "feedback.parquet").select("completion_id", "wim").iter_rows())
    assert one["feedback"].to_list() == [said[name] for name in one["completion_id"]]


def test_judgements_stream_as_if_they_were_joined_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several judges and attempts, completions nobody judged, and blocks that end anywhere."""
    completions, feedback = [], []
    for i in range(40):
        prompt, name = f"p{i // 4:02d}", f"p{i // 4:02d}-{i % 4:02d}"
        about = {"index": 0, "finish_reason": "stop", "policy": "x"}
        completions.append({"completion_id": name, "prompt_id": prompt, "text": f"text {i}"} | about)
        for judge in ("a", "b", "c")[: i % 4]:
            for attempt in range(1 + (i % 3 == 0)):
                status = "missing" if attempt == i % 2 else "unreadable"
                row = {"completion_id": name, "judge": judge, "attempt": attempt, "wim_status": status}
                feedback.append(row | {"wim": f"{i} {judge} {attempt}", "rating_status": "ok"})
    write(tmp_path, "completions", completions)
    write(tmp_path, "feedback", feedback)
    both = judgements.collect(*(pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("completions", "feedback")))
    rated = both.select("completion_id", "prompt_id", "judge").with_columns(length=0, ratable=True)
    write(tmp_path, "ratings", rated.to_dicts())
    words = ["completion_id", "judge", "feedback"]
    for block in (1, 2, 5, 1000):
        monkeypatch.setattr(rows, "BLOCK", block)
        found = pl.concat(judged.blocks(runs.Run(tmp_path, "arm", 2, "arm round 2", "arm-round2")))
        assert found.columns == judged.SCHEMA.names
        assert found["completion"].to_list() == both["text"].to_list()
        assert found.select(words).equals(both.select(words))


@pytest.mark.parametrize(("count", "number"), [(10, 1), (10, 3), (4_001, 2), (3, 3)])
def test_shards_share_the_rows_evenly_and_in_order(count: int, number: int, tmp_path: Path) -> None:
    with Shards(tmp_path, "data/x", "train", count, number, pa.schema([("n", pa.int64())]), {}) as out:
        for frame in pl.DataFrame({"n": range(count)}).iter_slices(7):
            out.add(frame)
    files = out.written().files
    assert list(files) == [f"data/x/train-{i:05d}-of-{number:05d}.parquet" for i in range(number)]
    parts = {name: pl.read_parquet(tmp_path / name)["n"].to_list() for name in files}
    assert [n for part in parts.values() for n in part] == list(range(count))
    assert max(map(len, parts.values())) - min(map(len, parts.values())) <= 1
    assert files == {name: (len(part), (tmp_path / name).stat().st_size) for name, part in parts.items()}
    assert all(pq.ParquetFile(tmp_path / name).metadata.row_group(0).num_rows <= shards.GROUP for name in files)


def test_a_large_run_makes_several_shards(
    publish: Publish, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BYTES", 10_000)
    monkeypatch.setattr(shards, "GROUP", 16)
    assert publish("runs/wim/0", "--out", tmp_path / "dataset") == 0
    names = sorted(file.name for file in (tmp_path / "dataset/data/wim-round0").glob("train-*"))
    assert len(names) > 1
    assert names == [f"train-{i:05d}-of-{len(names):05d}.parquet" for i in range(len(names))]
    found = pl.concat(read(tmp_path / "dataset", "data/wim-round0").values()).sort("pair_id")
    assert found.equals(pl.read_parquet(made / "runs/wim/0/pairs.parquet"))


PEAK = """
import sys
from pathlib import Path
from builder import params, publish
from builder.streams import spans

spans.ROWS, spans.BATCH = 4_096, 2_000
publish.run([Path(sys.argv[1])], None, params.load(None, ["publish.test=0"]))
# Not ru_maxrss, in which the tests' own process counts.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(folder: Path, count: int, mixed: bool) -> int:
    """Megabytes at most while a run of so many pairs is published, whose texts have 1,000 letters each.

    ``mixed``: the rows of its tables are in no order.
    """
    folder.mkdir()
    names, long = pl.Series([f"{i:016x}" for i in range(count)]), " ".join(["word"] * 200)
    prompt = pl.DataFrame({"prompt_id": names, "text": long + " " + names})
    sides = prompt.with_columns(completion_id=pl.col("prompt_id") + "-00", judge=pl.lit("j"), wim=pl.lit(0.5))
    turns = pl.concat_list(pl.struct(role=pl.lit("user"), content="text"))
    write(folder, "prompts", prompt.select("prompt_id", messages=turns, source=pl.lit("")))
    write(folder, "completions", sides.select("completion_id", "prompt_id", "text", index=0, **MADE))
    write(folder, "feedback", sides.select("completion_id", "judge", wim="text", attempt=0, **SAID))
    write(folder, "ratings", sides.select("completion_id", "prompt_id", "judge", "wim", length=1, ratable=True))
    ids_ = {name: pl.col("prompt_id") for name in ("pair_id", "chosen_id", "rejected_id")}
    scores = {name: pl.lit(0.5) for name in ("score_chosen", "score_rejected", "delta")}
    words = {name: pl.lit("x") for name in ("chosen_status", "rejected_status", "judge", "method", "arm")}
    pairs = prompt.select("prompt_id", **ids_, **scores, **words, prompt=turns, chosen=turns, rejected=turns, round=0)
    write(folder, "pairs", pairs)
    for file in folder.glob("*.parquet") if mixed else ():
        pl.read_parquet(file).sample(fraction=1, shuffle=True, seed=1).write_parquet(file, row_group_size=10_000)
    (folder / "stats.json").write_text('{"pairs": 1, "methods": {}}')
    command = [sys.executable, "-c", PEAK, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


MADE = {"finish_reason": pl.lit("stop"), "policy": pl.lit("x")}
SAID = {"rating_status": pl.lit("absent"), "wim_status": pl.lit("missing")}


@pytest.mark.parametrize("mixed", [False, True])
def test_memory_hardly_grows_with_the_pairs(tmp_path: Path, mixed: bool) -> None:
    """40,000 more pairs and judgements at once would be 200 MB of text, and as much again as they are written."""
    few, many = peak(tmp_path / "few", 5_000, mixed), peak(tmp_path / "many", 45_000, mixed)
    assert many - few < 90, (few, many)


def test_the_same_runs_give_the_same_bytes(folder: Path, publish: Publish, tmp_path: Path) -> None:
    assert publish(*RUNS, "--repo", "me/facts", "--out", tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(folder)


def test_a_prompt_that_is_no_longer_known_is_one_line(
    copy: Path, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copy.parents[1] / "prompts.parquet"
    tables.write(file, "prompts", tables.read(file, "prompts")[:5], {})
    assert publish(copy) == 1
    said = capsys.readouterr().err
    assert "pairs.parquet: prompt " in said
    assert "is not in " in said
    assert said.count("\n") == 1
