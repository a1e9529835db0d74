"""A run that is stopped, killed, out of room or joined by another ends in the bytes of one that was left alone."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kill
import pyarrow.parquet as pq
import pytest
from kill import RUN, Drive, Driven, Ended

from builder import rows
from builder.judges import wim as judge

Wim = Callable[..., int]
Changed = Callable[..., dict[str, int]]
ECHO = ("--set", "engine.name=echo")
COMPLETE = ("complete", RUN, *ECHO)
GOES_ON = "wim: complete was stopped; finished rows are kept: the same command goes on from there\n"
PROMPTS = [{"prompt": f"Tell me about thing number {i} in some more words please"} for i in range(22)]
ROWS = 20 * 4


@pytest.fixture
def folder(wim: Wim, write_jsonl: Any, tmp_path: Path) -> Path:
    """The working folder, with 20 prompts."""
    write_jsonl(PROMPTS[:20], "prompts.jsonl")
    assert wim("prompts", "runs", "--set", "prompts.source=prompts.jsonl") == 0
    return tmp_path


@pytest.fixture
def whole(folder: Path, wim: Wim) -> bytes:
    """The table of a run that was left alone; nothing else of it is left."""
    assert wim(*COMPLETE) == 0
    table = (folder / RUN / "completions.parquet").read_bytes()
    shutil.rmtree(folder / ".wim")
    shutil.rmtree(folder / RUN)
    return table


def driven(folder: Path, arguments: Sequence[str] = COMPLETE, **how: Any) -> Driven:
    return Driven(folder, arguments, Drive(**how))


def kept(kind: str = "complete") -> int:
    """Rows under .wim/, from the working folder."""
    return sum(pq.read_metadata(part).num_rows for part in Path(".wim").glob(f"{kind}/*/*.parquet"))


def left_behind() -> list[Path]:
    return list(Path().rglob(".*.tmp"))


def goes_on(folder: Path, wim: Wim, whole: bytes) -> bool:
    """Whether the same command, now undisturbed, ends in the same bytes and leaves nothing behind."""
    assert wim(*COMPLETE) == 0
    assert left_behind() == []
    return (folder / RUN / "completions.parquet").read_bytes() == whole


# Kill -9 -----------------------------------------------------------------------------------------------------------


def test_killed_at_random_moments_both_stages_end_in_the_same_bytes(tmp_path: Path) -> None:
    account = kill.compare(tmp_path, engine="echo", kills=4, seed=3, prompts=6)
    assert account.when.total() == 4
    assert (account.different, account.kept_and_done_again, account.complaints) == ([], 0, [])


def test_a_kill_while_the_table_is_written_leaves_the_old_one_and_nothing_after_the_next_run(
    folder: Path, wim: Wim, whole: bytes
) -> None:
    assert wim(*COMPLETE) == 0
    with driven(folder, hold="table 1") as process:
        assert process.until("holding")
        process.process.kill()
    assert len(left_behind()) == 1
    assert (folder / RUN / "completions.parquet").read_bytes() == whole
    assert goes_on(folder, wim, whole)


# Ctrl-C and SIGTERM ------------------------------------------------------------------------------------------------


def stopped(folder: Path, hold: str, *signals: signal.Signals, settings: Sequence[str] = ()) -> Ended:
    with driven(folder, [*COMPLETE, *settings], hold=hold) as process:
        assert process.until("holding"), process.end()
        for number in signals:
            process.process.send_signal(number)
        return process.end()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_keeps_every_finished_row(
    number: signal.Signals, code: int, folder: Path, wim: Wim, whole: bytes
) -> None:
    ended = stopped(folder, "row 13", number)  # two parts of 5, and 3 rows on their way to the third
    assert (ended.code, ended.said, len(ended.rows())) == (code, GOES_ON, 13)
    assert kept() == 13
    assert not (folder / RUN / "completions.parquet").exists()
    assert goes_on(folder, wim, whole)
    assert kept() == ROWS


def test_signals_that_follow_the_first_do_not_disturb_the_keeping(folder: Path, wim: Wim, whole: bytes) -> None:
    ended = stopped(folder, "row 13", signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    # Whichever is delivered first counts; one that finds Python on its last steps ends it there, in silence.
    assert ended.code in (130, 143, -signal.SIGINT, -signal.SIGTERM)
    assert (ended.said, kept()) == (GOES_ON, 13)
    assert goes_on(folder, wim, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_an_import_is_told_in_the_same_words(number: signal.Signals, folder: Path) -> None:
    ended = stopped(folder, "import transformers", number, settings=["--set", "engine.name=transformers"])
    assert (ended.code, ended.said, ended.rows()) == (128 + number, GOES_ON, [])


def test_a_stop_while_the_table_is_written_leaves_no_half_of_it(folder: Path, wim: Wim, whole: bytes) -> None:
    ended = stopped(folder, "table 1", signal.SIGINT)
    assert (ended.code, ended.said, kept()) == (130, GOES_ON, ROWS)
    assert list((folder / RUN).iterdir()) == []
    assert goes_on(folder, wim, whole)


def test_a_stop_while_a_part_is_written_comes_after_it(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        written_while_stopped(folder / "part")
    assert (folder / "part").read_text() == "whole"


def test_an_error_while_a_part_is_written_is_told_rather_than_the_stop(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        written_while_stopped(folder / "nowhere" / "part")


def written_while_stopped(part: Path) -> None:
    with rows.undisturbed():
        signal.raise_signal(signal.SIGINT)
        part.write_text("whole")


# No room -----------------------------------------------------------------------------------------------------------

FULL = """
mount -t tmpfs -o size={size} none {where}
"$@"; echo "code $?"
find . -name '.*.tmp' -type f | sed 's/^/left /'
mount -o remount,size=64m {where}
"$@"; echo "code $?"
find . -name '.*.tmp' -type f | sed 's/^/left /'
cp {run}/completions.parquet after.parquet
"""


def can_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    attempt = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(attempt, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs in a namespace of its own")
@pytest.mark.parametrize(("where", "size", "named"), [(".wim", "48k", ".wim/complete/"), ("runs/a", "4k", RUN)])
def test_a_full_disk_is_one_line_and_with_room_the_same_command_goes_on(
    where: str, size: str, named: str, folder: Path, whole: bytes
) -> None:
    (folder / where).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, kill.__file__, "drive", "{}", *COMPLETE]
    script = FULL.format(size=size, where=where, run=RUN)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(kill.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    first, second = done.stdout.split("code 1\n")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"wim: {named}")
    assert "cannot be written" in done.stderr
    assert "No space left on device" in done.stderr
    assert second.endswith("code 0\n")  # and no file is left
    assert (folder / "after.parquet").read_bytes() == whole
    again = first.count("row ") + second.count("row ") - ROWS
    assert 0 <= again <= kill.PART  # the part for which there was no room
    assert second.count("row ") < ROWS


@pytest.mark.parametrize(("size", "named"), [(1_000, ".wim/complete/"), (5_000, RUN)])
def test_a_file_that_may_not_grow_is_one_line_and_the_same_command_goes_on(
    size: int, named: str, folder: Path, wim: Wim, whole: bytes
) -> None:
    with driven(folder, file_size=size) as process:
        ended = process.end()
    assert (ended.code, ended.said.count("\n")) == (1, 1)
    assert ended.said.startswith(f"wim: {named}")
    assert "cannot be written" in ended.said
    assert left_behind() == []
    assert kept() == (ROWS if named == RUN else 0)
    assert goes_on(folder, wim, whole)


# Damage ------------------------------------------------------------------------------------------------------------


def damage(part: Path) -> int:
    """Cut a part off; the rows it held."""
    held = int(pq.read_metadata(part).num_rows)
    part.write_bytes(part.read_bytes()[:-9])
    return held


def test_a_damaged_part_is_named_and_only_its_rows_are_generated_again(folder: Path, whole: bytes) -> None:
    with driven(folder) as process:
        assert process.end().code == 0
    part = sorted(Path(".wim").glob("complete/*/*.parquet"))[2]
    lost = damage(part)
    with driven(folder) as process:
        ended = process.end()
    assert (ended.code, ended.said.count("\n"), len(ended.rows())) == (0, 1, lost)
    assert ended.said.startswith(f"{part}: damaged, its rows are done again")
    assert (folder / RUN / "completions.parquet").read_bytes() == whole


def test_damage_between_computing_and_reading_is_one_line_and_mended_by_the_next_run(
    folder: Path, wim: Wim, whole: bytes
) -> None:
    with driven(folder, hold="computed") as process:
        assert process.until("holding")
        part = min(Path(".wim").glob("complete/*/*.parquet"))
        damage(part)
        process.release()
        ended = process.end()
    assert (ended.code, ended.said.count("\n")) == (1, 1)
    assert ended.said.startswith(f"wim: {part}: damaged")
    assert list((folder / RUN).iterdir()) == []
    assert goes_on(folder, wim, whole)


# Two at once -------------------------------------------------------------------------------------------------------


WAITS = "another process works on the same rows"


def held(folder: Path) -> Driven:
    """A process in the middle of its work."""
    process = driven(folder, hold="row 6")
    assert process.until("holding"), process.end()
    return process


def test_two_processes_at_once_share_the_work(folder: Path, whole: bytes) -> None:
    with held(folder) as first, driven(folder, ["complete", "runs/b/0", *ECHO]) as second:
        assert WAITS in second.says()
        first.release()
        ended = first.end(), second.end()
    assert [(each.code, each.said) for each in ended] == [(0, ""), (0, "")]
    assert [len(each.rows()) for each in ended] == [ROWS, 0]
    assert [(folder / run / "completions.parquet").read_bytes() for run in (RUN, "runs/b/0")] == [whole, whole]


def test_clean_leaves_alone_what_a_process_works_on(
    folder: Path, wim: Wim, whole: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(folder) as first, driven(folder) as second:
        assert WAITS in second.says()
        capsys.readouterr()
        assert wim("clean", "--all") == 0
        assert "in use, left alone" in capsys.readouterr().out
        first.release()
        ended = first.end(), second.end()
    assert [(each.code, len(each.rows())) for each in ended] == [(0, ROWS), (0, 0)]
    assert kept() == ROWS
    assert (folder / RUN / "completions.parquet").read_bytes() == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_waits_can_be_stopped(number: signal.Signals, folder: Path) -> None:
    with held(folder), driven(folder) as second:
        assert WAITS in second.says()
        second.process.send_signal(number)
        ended = second.end()
    assert (ended.code, ended.said, ended.rows()) == (128 + number, GOES_ON, [])


def test_whoever_waited_for_rows_that_are_then_removed_starts_anew(folder: Path, whole: bytes) -> None:
    with driven(folder) as process:
        assert process.end().code == 0
    (settings,) = Path(".wim/complete").iterdir()
    with rows.lock(settings):
        process = driven(folder, hold="row 6")
        assert WAITS in process.says()
        shutil.rmtree(settings)  # as `wim clean` does, which holds the lock
    with process:
        assert process.until("holding")
        with rows.lock(settings, wait=False) as free:
            assert not free  # what it holds now is the lock that others see
        process.release()
        ended = process.end()
    assert (ended.code, len(ended.rows()), kept()) == (0, ROWS, ROWS)
    assert (folder / RUN / "completions.parquet").read_bytes() == whole


# What a change regenerates -----------------------------------------------------------------------------------------


@pytest.fixture
def changed(folder: Path, wim: Wim) -> Changed:
    """Runs both stages with further arguments and tells how many rows each generated; once was run before."""
    del folder

    def run(*arguments: str, run: str = RUN) -> dict[str, int]:
        before = {kind: kept(kind) for kind in ("complete", "judge")}
        for stage in ("complete", "judge"):
            assert wim(stage, run, *ECHO, *arguments) == 0
        return {kind: kept(kind) - rows for kind, rows in before.items()}

    assert run() == {"complete": ROWS, "judge": ROWS}
    return run


def sets(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.mark.parametrize(
    ("settings", "generated"),
    [
        ([], {"complete": 0, "judge": 0}),
        (["seed=7"], {"complete": ROWS, "judge": ROWS}),
        (["complete.n=5"], {"complete": 20, "judge": 20}),
        (["complete.temperature=0.5"], {"complete": ROWS, "judge": 0}),  # the echo engine's texts stay the same
        (["judge.temperature=0.5"], {"complete": 0, "judge": ROWS}),
        (["judge.max_tokens=50"], {"complete": 0, "judge": ROWS}),
        (["rating.scale=[1,5]"], {"complete": 0, "judge": ROWS}),
        (["engine.transformers.batch_size=3", "pair.min_gap=0.5", "embed.batch_size=7"], {"complete": 0, "judge": 0}),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_a_setting_regenerates_what_depends_on_it(
    settings: list[str], generated: dict[str, int], changed: Changed
) -> None:
    assert changed(*sets(*settings)) == generated
    assert changed() == {"complete": 0, "judge": 0}  # what was there before is there still


def test_a_tenth_more_prompts_generates_their_rows_and_no_other(wim: Wim, write_jsonl: Any, changed: Changed) -> None:
    write_jsonl([*PROMPTS[20:], *PROMPTS[:20]], "prompts.jsonl")  # wherever they stand
    assert wim("prompts", "runs", "--set", "prompts.source=prompts.jsonl") == 0
    assert changed() == {"complete": 8, "judge": 8}


def test_other_words_of_the_judge_leave_the_completions_alone(
    changed: Changed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "SYSTEM", judge.SYSTEM + " Be strict.")
    assert changed() == {"complete": 0, "judge": ROWS}


def test_an_adapter_is_known_by_its_weights(folder: Path, wim: Wim, changed: Changed) -> None:
    """The echo engine's texts stay the same, and so do their judgements by the base model."""
    for name, weights in (("one", b"1"), ("same", b"1"), ("other", b"2")):
        policy = folder / name
        policy.mkdir()
        (policy / "adapter_model.safetensors").write_bytes(weights)
        (policy / "adapter_config.json").write_text('{"r": 4}')
        (policy / "policy.json").write_text('{"model": "data/demo/model", "adapter": "."}')
    generated = [changed("--policy", name) for name in ("one", "same", "other")]
    assert generated == [{"complete": count, "judge": 0} for count in (ROWS, 0, ROWS)]
    before = kept("judge")
    assert wim("judge", RUN, *ECHO, "--policy", "one", "--set", "judged_by=current") == 0
    assert kept("judge") == before + ROWS


def test_what_arms_and_runs_have_in_common_is_generated_once(folder: Path, changed: Changed) -> None:
    arms = "".join(f"  {name}: {{rate: {{method: {name}}}, judged_by: base}}\n" for name in ("wim", "random"))
    (folder / "params.yaml").write_text("arm:\n" + arms)
    for arm, run in (("wim", "runs/wim/0"), ("random", "runs/random/0"), ("random", "elsewhere/../runs/random/1")):
        assert changed("--arm", arm, "--round", run[-1], run=run) == {"complete": 0, "judge": 0}
    names = ("wim/0", "random/0", "random/1")
    assert len({(folder / "runs" / name / "feedback.parquet").read_bytes() for name in names}) == 1
