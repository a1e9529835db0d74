"""Training in two processes on this CPU, by the real torchrun: the same losses, one voice, nobody left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from trained import is_written, make_pairs, metric, weights

from builder import cli, params
from builder.errors import ParamsError, WimError
from builder.language import policy
from builder.params import Train
from train import dpo
from train.running import launch, workers

TWO = "launch.processes=2"
SMALL = ("batch=8", "device_batch=2", "learning_rate=1e-3", "max_steps=6", "save_steps=1", "throughput=true")
LATER = ("reference=base", "weight=delta", "offset=0.5")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}

Wim = Callable[..., int]


def words(run: str, *sets: str, policy: str | None = None) -> list[str]:
    given = [word for setting in (*SMALL, *sets) for word in ("--set", f"train.{setting}")]
    return ["train", "dpo", run, "--json", *given, *(["--policy", policy] if policy else [])]


def command(*given: str) -> list[str]:
    return [sys.executable, "-m", "builder.cli", *given]


def trained(folder: Path, *given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*given), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two rounds by two processes and by one, the second from the first one's policy; what two wrote to stdout."""
    folder = tmp_path_factory.mktemp("rounds")
    for run in ("two", "one", "two-later", "one-later"):
        make_pairs(folder / run)
        file = folder / run / "pairs.parquet"  # no two pairs alike, so that it shows if some are taken twice
        pl.read_parquet(file).with_columns(delta=pl.row_index() / 24 + 0.1).write_parquet(file)
    start = "one/policy"
    done = trained(folder, *words("two", TWO))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cli.main(words("one"))
        cli.main(words("one-later", *LATER, policy=start))
        # As if there were GPUs, so that `accelerate launch` starts the workers; these see that there are none.
        patch.setattr("torch.cuda.is_available", lambda: True)
        patch.setattr("torch.cuda.device_count", lambda: 2)
        patch.setattr("accelerate.commands.launch.check_cuda_p2p_ib_support", lambda: True)
        cli.main(words("two-later", TWO, *LATER, policy=start))
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.parametrize("which", ["", "-later"])
def test_two_processes_train_as_one(rounds: Any, which: str) -> None:
    folder, _ = rounds
    one, two = folder / f"one{which}", folder / f"two{which}"
    assert len(metric(two, "loss")) == 6
    assert metric(two, "loss") == pytest.approx(metric(one, "loss"), abs=1e-5)
    for name in ("rewards/chosen", "rewards/margins", "rewards/accuracies", "grad_norm", "num_tokens", "logps/chosen"):
        assert metric(two, name) == pytest.approx(metric(one, name), abs=1e-4), name
    ours, theirs = weights(two), weights(one)
    assert max((ours[name] - theirs[name]).abs().max().item() for name in theirs) < 1e-4


def test_the_result_and_the_files_come_from_one_of_them(rounds: Any) -> None:
    folder, done = rounds
    made = json.loads(done.stdout)  # one object and no more
    assert (made["pairs"], made["steps"]) == (24, 6)
    assert made["first_loss"] == pytest.approx(metric(folder / "two", "loss")[0])
    told = done.stderr.splitlines()
    assert len(told) == len(set(told))
    files = sorted(str(f.relative_to(folder / "two")) for f in (folder / "two").rglob("*") if f.is_file())
    policy = [f"policy/{name}" for name in ("adapter_config.json", "adapter_model.safetensors", "policy.json")]
    assert files == ["pairs.parquet", *policy, "throughput.parquet", "training.parquet"]
    assert not list((folder / ".wim/train").glob("*/checkpoint-*"))
    assert (
        pl.read_parquet(folder / "two/throughput.parquet")["tokens"].sum() == metric(folder / "two", "num_tokens")[-1]
    )


def test_the_reference_is_kept_once_whatever_the_number_of_processes(rounds: Any) -> None:
    folder, _ = rounds
    kept = list((folder / ".wim/train").glob("*/*.parquet"))
    assert len(kept) == 1  # the base model's log-probabilities serve all four runs
    assert len(pl.read_parquet(kept[0])) == 12


def test_what_main_makes_is_made_by_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    assert workers.by_main(lambda: made.append(1) or "made") == "made"
    monkeypatch.setenv("RANK", "1")  # as some clusters set it where there is but one process
    workers.by_main(lambda: made.append(1))
    assert made == [1, 1]
    monkeypatch.setenv("LOCAL_RANK", "1")
    workers.by_main(lambda: made.append(2))
    assert made == [1, 1]


def test_after_kill_9_no_worker_is_left_and_the_same_command_goes_on(rounds: Any, tmp_path: Path) -> None:
    whole, _ = rounds
    (tmp_path / "two").mkdir()
    (tmp_path / "two/pairs.parquet").write_bytes((whole / "two/pairs.parquet").read_bytes())
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen(command(*words("two", TWO)), cwd=tmp_path, env=ENVIRONMENT, stdout=told, stderr=told)
        while process.poll() is None and not whole_checkpoints(tmp_path):
            time.sleep(0.01)
        started = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(started) == 2
    deadline = time.monotonic() + 10 * workers.LOOK
    while (left := [pid for pid in started if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    done = trained(tmp_path, *words("two", TWO))
    assert done.returncode == 0, done.stderr
    assert "resumed from step" in done.stderr
    assert done.stderr.count("resumed") == 1
    assert len(pl.read_parquet(tmp_path / "two/throughput.parquet")) == 6
    again, before = weights(tmp_path / "two"), weights(whole / "two")
    assert all((again[name] == before[name]).all() for name in before)


def whole_checkpoints(folder: Path) -> list[Path]:
    found = folder.glob(".wim/train/*/checkpoint-*/trainer_state.json")
    return [file for file in found if is_written(file) and len(list(file.parent.glob("rng_state*"))) == 2]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_goes_wrong_in_the_workers_is_one_line(tmp_path: Path) -> None:
    make_pairs(tmp_path / "run", count=4, prompted=False)
    done = trained(tmp_path, *words("run", TWO))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "wim: run: 4 of 4 pairs hold no prompt text (only its id), so no model can be trained on them"
    ]


def test_the_cause_is_told_and_not_what_came_of_it(tmp_path: Path) -> None:
    def report(rank: int, known: bool, at: float, line: str) -> None:
        error = {"known": known, "time": at, "line": line, "trace": ""}
        (tmp_path / f"error-{rank}.json").write_text(json.dumps(error))

    report(0, False, 1.0, "RuntimeError: connection closed by peer")
    assert str(launch._cause(tmp_path, {0: 1})) == "RuntimeError: connection closed by peer"
    assert "process 2 of the training was ended by SIGKILL" in str(launch._cause(tmp_path, {0: 1, 1: -9}))
    report(1, True, 2.0, "the disk is full")
    assert str(launch._cause(tmp_path, {0: 1, 1: 1})) == "the disk is full"
    (tmp_path / "id/attempt_0/2").mkdir(parents=True)
    (tmp_path / "id/attempt_0/2/stderr.log").write_text("one\nno module named torch\n")
    for file in tmp_path.glob("error-*"):
        file.unlink()
    assert str(launch._cause(tmp_path, {2: 1})).endswith("ended with exit code 1: no module named torch")


def test_the_number_of_processes_is_checked_where_the_training_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_pairs(tmp_path / "run", count=4)
    with pytest.raises(WimError, match=r"train\.launch\.processes is 2, but 1 train together"):
        dpo.run(Path("run"), params.load(None, ["train.launch.processes=2"]))


def test_a_batch_that_cannot_be_shared_evenly_is_refused_before_anything_starts(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pairs(tmp_path / "run", count=4)
    sets = ("--set", "train.batch=9", "--set", "train.device_batch=2", "--set", "train.launch.processes=2")
    assert wim("train", "dpo", "run", *sets) == 1
    assert "train.batch (9) must be a multiple of train.device_batch (2) x train.launch.processes (2)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("batch", "device_batch", "processes", "at_once", "parts"),
    [(64, 16, 1, 16, 4), (64, 16, 2, 16, 2), (8, 16, 2, 4, 1), (6, 16, 3, 2, 1)],
)
def test_a_step_takes_the_batch_whatever_the_number_of_processes(
    batch: int, device_batch: int, processes: int, at_once: int, parts: int
) -> None:
    settings = Train(batch=batch, device_batch=device_batch, launch=params.Launch(processes))
    assert workers.share(settings) == (at_once, parts)


def test_pairs_that_fill_up_an_epochs_last_batch_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Train(batch=8, device_batch=2, launch=params.Launch(2))
    workers.tell_filled(24, settings)
    assert capsys.readouterr().err == ""
    workers.tell_filled(21, settings)
    assert "at the end of an epoch 3 of 21 pairs are taken once more" in capsys.readouterr().err
    workers.tell_filled(21, Train(batch=8, device_batch=2))
    assert capsys.readouterr().err == ""


def test_no_training_goes_on_from_another_number_of_processes(rounds: Any) -> None:
    folder, _ = rounds

    def fingerprint(*sets: str) -> str:
        given = params.load(None, [f"train.{setting}" for setting in sets])
        return dpo._fingerprint({"pairs": folder / "one/pairs.parquet"}, policy.base(given.model), given)

    assert fingerprint(TWO) != fingerprint()
    assert fingerprint("save_steps=3") == fingerprint()


def test_more_processes_than_gpus_are_refused(
    wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    make_pairs(tmp_path / "run", count=4)
    assert wim(*words("run", TWO)) == 1
    assert "train.launch.processes is 2, but the GPUs of this machine are 1" in capsys.readouterr().err


def test_there_is_at_least_one_process() -> None:
    with pytest.raises(ParamsError, match=r"train\.launch\.processes must be at least 1"):
        params.load(None, ["train.launch.processes=0"])
