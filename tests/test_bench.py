"""The harness of bench/, its page, and one small measurement from end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from bench import __main__ as bench
from bench import data, page
from bench.figures import Figure, Measured, losses
from bench.harness import ROOT, BenchError, Cost, Setup, made, python, ratio, run

Paths = dict[str, Path]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Results, recorded ratios and the page in a folder of their own."""
    files = {name: tmp_path / name for name in ("results.json", "recorded.json", "benchmarks.md")}
    files["benchmarks.md"].write_text(f"Before.\n\n{page.BEGIN}\nyesterday\n{page.END}\n\nAfter.\n")
    monkeypatch.setattr(bench, "RESULTS", files["results.json"])
    monkeypatch.setattr(bench, "RECORDED", files["recorded.json"])
    monkeypatch.setattr(page, "PAGE", files["benchmarks.md"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return files


def measure(work: Path, *arguments: str) -> int:
    return bench.main([*arguments, "--work", str(work / "work")])


def test_a_cost_is_of_the_program_and_its_children(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    script = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])\nb = b'x' * 300_000_000\nprint(1)"
    )
    cost = run([sys.executable, "-c", script], tmp_path)
    assert cost.said() == 1
    assert cost.cpu >= 0.3
    assert cost.peak > 286


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"exit code 3\nso it went"):
        run([sys.executable, "-c", "import sys; print('so it went'); sys.exit(3)"], tmp_path)


def test_who_stops_the_bench_stops_what_it_runs(tmp_path: Path) -> None:
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    script = (
        "import signal, sys\nfrom pathlib import Path\nfrom bench.harness import run\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"run([sys.executable, '-c', {child!r}], Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    pid = until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    until(lambda: not running(int(pid)))


def until(true: object, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():  # type: ignore[operator]
            return str(found)
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_ratio_is_taken_turn_by_turn() -> None:
    assert ratio([2, 30, 8], [1, 10, 2]) == 3


def test_a_loss_is_twice_as_bad_as_recorded_and_guarded() -> None:
    faster, slower = Figure("faster", 2, at_least=20, guarded=True), Figure("cost", 5, at_most=2, guarded=True)
    assert losses([faster, slower], {"faster": 3.9, "cost": 2.6}) == []
    assert len(losses([faster, slower], {"faster": 4.1, "cost": 2.4})) == 2
    assert losses([Figure("faster", 2)], {"faster": 100}) == []
    assert losses([faster], {}) == []


@pytest.mark.parametrize(("value", "holds"), [(0.4, False), (0.5, True), (2.0, True), (2.1, False)])
def test_a_bound_holds_up_to_its_end(value: float, holds: bool) -> None:
    assert Figure("", value, at_least=0.5, at_most=2).holds is holds


def test_the_page_shows_each_bound_beside_what_was_measured_and_keeps_its_own_words(files: Paths) -> None:
    figures = [Figure("speed", 0.412, at_least=0.5), Figure("peak", 1234.5, "MiB", at_most=1536), Figure("other", 3)]
    about = {"code": "", "machine": bench.machine(), "versions": bench.versions()}
    measured = Measured(figures, {"rows": 1000}, {"wim": [Cost(1, 2, 3), Cost(3, 4, 5), Cost(2, 3, 4)]})
    page.write({"ingest": measured.as_json() | about})
    text = files["benchmarks.md"].read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "yesterday" not in text
    assert "| ingest | speed | 0.412 times | at least 0.5 | **does not hold** |" in text
    assert "| ingest | peak | 1,234 MiB | at most 1,536 | holds |" in text
    assert "| ingest | other | 3 times |  |  |" in text
    assert "| ingest | wim | 2.00 | 3.00 | 4 |" in text
    assert "rows 1,000" in text


def test_the_page_in_the_repository_has_its_marks() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    assert text.index(page.BEGIN) < text.index(page.END)
    results = ROOT / "bench/results.json"
    if results.is_file():
        assert page.render(json.loads(results.read_text())) in text


def test_a_fifth_of_the_texts_are_copies() -> None:
    texts = data.mixed_texts(500, 0)
    assert len(set(texts)) == 400
    assert texts == data.mixed_texts(500, 0)
    assert {len(text.split()) for text in texts} <= set(range(3, 221))


def test_tables_have_the_rows_asked_for_and_peers_get_the_same_vectors(tmp_path: Path) -> None:
    folder = made(Setup(tmp_path), "tables", 2_400)
    run(python("builder.cli", "rate", "run"), folder)
    ratings = pl.read_parquet(folder / "run/ratings.parquet")
    assert ratings["ratable"].sum() == len(ratings) == 2_400
    rows = pl.read_parquet(folder / "rows.parquet")
    left, right = (rows[f"{side}_embedding"].to_numpy() for side in ("completion", "feedback"))
    by_hand = (left.astype(float) * right).sum(axis=1)
    ours = rows.join(ratings, on="completion_id", maintain_order="left")["wim"].to_numpy()
    assert abs(by_hand - ours).max() < 1e-6


def test_a_measurement_is_kept_with_its_machine_and_not_repeated(
    tmp_path: Path, files: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tmp_path, "growth", "--rows", "2000", "--repeat", "1") == 0
    results = json.loads(files["results.json"].read_text())
    growth = results["growth of 2,000"]
    assert set(growth["costs"]) == {"20 completions", "200 completions", "2,000 completions"}
    assert growth["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert "growth of 2,000" in files["benchmarks.md"].read_text()
    assert not (tmp_path / "work").exists()
    capsys.readouterr()
    assert measure(tmp_path, "growth", "--rows", "2000", "--resume") == 0
    assert "done before" in capsys.readouterr().out
    assert json.loads(files["results.json"].read_text()) == results


def test_the_small_run_fails_on_a_gross_loss_only(
    tmp_path: Path, files: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tmp_path, "ingest", "--small", "--record") == 0
    recorded = json.loads(files["recorded.json"].read_text())["ingest"]
    (what, before), *_ = recorded.items()
    files["recorded.json"].write_text(json.dumps({"ingest": {what: before / 100}}))
    assert measure(tmp_path, "ingest", "--small") == 0
    files["recorded.json"].write_text(json.dumps({"ingest": {what: before * 100}}))
    assert measure(tmp_path, "ingest", "--small") == 1
    assert "a gross loss" in capsys.readouterr().out
    assert not files["results.json"].exists()
