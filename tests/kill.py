"""Kill -9 at random moments: `wim complete` and `wim judge` end in the same bytes, and nothing kept is done twice.

    python tests/kill.py --kills 50

A run that is left alone gives the reference. Then each stage is started from nothing, killed, started
again, and so on; the last start of a stage may finish. Exit code 1 if a byte differs.
"""

import argparse
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
TABLES = {"complete": "completions.parquet", "judge": "feedback.parquet"}
RUN = "runs/a/0"
PART = 5
"""Rows in a part: a few, so that there are many moments between parts."""
PAUSE = 0.03
"""Seconds before each row, so that generation is long beside the time in which a kill takes effect."""


# The process that is killed --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drive:
    """How `wim` is driven: ``pause`` seconds before each row, and a ``hold`` at one event until stdin is read.

    Events are told on stdout: ``row KEY`` as soon as an engine gave the row, ``table`` when the first
    frame of a table was made, ``written`` when the table is there. A hold is named by its event and number,
    as in ``row 10``; ``import NAME`` holds where a module is imported. ``file_size`` limits all files.
    """

    part: int = PART
    pause: float = 0.0
    hold: str = ""
    file_size: int = 0


def drive(how: Drive, arguments: Sequence[str]) -> None:
    """`wim ARGUMENTS` in this process."""
    if how.file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (how.file_size, how.file_size))
    tell("started")
    from builder import cli, generate, tables
    from builder.engines import Completion, Request

    class Told(generate.Lazy):
        def generate(self, requests: Iterator[Request]) -> Iterator[tuple[int, Completion]]:
            asked: list[str] = []

            def noted() -> Iterator[Request]:
                for request in requests:
                    asked.append(generate.key(request).hex())
                    yield request

            for number, (place, completion) in enumerate(super().generate(noted()), 1):
                time.sleep(how.pause)
                tell(f"row {asked[place]}")
                yield place, completion
                hold_at(f"row {number}", how)

    write_blocks = tables.write_blocks

    def told(file: Path, name: str, frames: Iterable[Any], about: Mapping[str, Any], more: Sequence[Any] = ()) -> None:
        def seen() -> Iterator[Any]:
            hold_at("computed", how)
            for number, frame in enumerate(frames, 1):
                tell("table")
                yield frame
                hold_at(f"table {number}", how)

        write_blocks(file, name, seen(), about, more)
        tell("written")

    generate.PART, generate.Lazy, tables.write_blocks = how.part, Told, told  # type: ignore[misc]
    sys.meta_path.insert(0, HoldingFinder(how))
    cli.main(arguments)


class HoldingFinder(MetaPathFinder):
    """Holds where a module is imported, inside of an exec() of text, which dataclasses, say, also call."""

    def __init__(self, how: Drive) -> None:
        self.how = how

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        del path, target
        exec("hold_at(event, how)", {"hold_at": hold_at, "event": f"import {name}", "how": self.how})


def hold_at(event: str, how: Drive) -> None:
    if event == how.hold:
        tell("holding")
        while not select.select([0], [], [], 0.1)[0]:
            pass  # a blocking read would not see a signal that comes just before it


def tell(event: str) -> None:
    os.write(1, f"{event}\n".encode())


# What watches and kills it ---------------------------------------------------------------------------------------


class Driven:
    """A driven `wim` in ``folder``; ends with the block."""

    def __init__(self, folder: Path, arguments: Sequence[str], how: Drive) -> None:
        command = [sys.executable, "-m", "kill", "drive", json.dumps(vars(how)), *arguments]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1
        )
        self.events: list[str] = []
        self.begun = time.monotonic()
        self.seconds: dict[str, float] = {}
        """From the start to the first event of each kind and to the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def until(self, event: str, count: int = 1) -> bool:
        """Whether the event came so many times before the end."""
        assert self.process.stdout
        while count and (line := self.process.stdout.readline()):
            self._note(line)
            count -= line.startswith(event)
        return not count

    def says(self) -> str:
        """The next line on stderr."""
        assert self.process.stderr
        return self.process.stderr.readline()

    def release(self) -> None:
        """Go on after a hold."""
        assert self.process.stdin
        self.process.stdin.write("\n")

    def end(self) -> "Ended":
        """Wait for the end."""
        assert self.process.stdout
        assert self.process.stderr
        for line in self.process.stdout:
            self._note(line)
        self.seconds["end"] = time.monotonic() - self.begun
        said = self.process.stderr.read()
        return Ended(self.process.wait(), self.events, said, self.seconds)

    def _note(self, line: str) -> None:
        self.events.append(line.strip())
        self.seconds.setdefault(line.split()[0], time.monotonic() - self.begun)


@dataclass(frozen=True)
class Ended:
    """A start of a stage that is over."""

    code: int
    events: list[str]
    said: str
    seconds: dict[str, float]

    def rows(self) -> list[str]:
        """The keys of the rows that were generated."""
        return [event.split()[1] for event in self.events if event.startswith("row ")]


@dataclass(frozen=True)
class Plan:
    """Kill ``delay`` seconds after the ``count``-th event of a kind; without a kind, after the start."""

    event: str = ""
    count: int = 1
    delay: float = 0.0


@dataclass(frozen=True)
class Stage:
    """A stage in its folder, with its settings."""

    name: str
    folder: Path
    settings: Sequence[str]
    how: Drive

    def start(self, plan: Plan | None = None) -> Ended:
        """Run it; kill it as planned, unless it has ended before."""
        with Driven(self.folder, [self.name, RUN, *self.settings], self.how) as driven:
            if plan and (not plan.event or driven.until(plan.event, plan.count)):
                time.sleep(plan.delay)
                driven.process.kill()
            return driven.end()

    def kept(self) -> set[str]:
        """The keys of the rows that are kept."""
        parts = self.folder.glob(f".wim/{self.name}/*/*.parquet")
        return {key.hex() for part in parts for key in pq.read_table(part, columns=["key"])["key"].to_pylist()}

    def table(self) -> bytes:
        return (self.folder / RUN / TABLES[self.name]).read_bytes()


@dataclass
class Account:
    """What the kills hit, and which rows were generated how often."""

    hit: Counter[str] = field(default_factory=Counter)
    when: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    kept_and_done_again: int = 0
    complaints: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def add(self, done: Ended, before: set[str], after: set[str], total: int) -> bool:
        """Whether it was a kill."""
        rows = done.rows()
        self.rows.update(rows)
        self.kept_and_done_again += len(before & set(rows))
        if done.code == 0:
            self.finished += 1
            return False
        if done.code != -9 or done.said:
            self.complaints.append(f"exit code {done.code}: {done.said.strip()[-300:]}")
        self.when["before the first part" if not after else "between parts" if len(after) < total else "after"] += 1
        moment = "generation" if rows else "import and loading"
        if "table" in done.events:
            moment = "the end" if "written" in done.events else "the table's writing"
        self.hit[moment] += 1
        return True

    def line(self) -> str:
        """All of it in one line."""
        when, hit = (", ".join(f"{n} {name}" for name, n in counts.items()) for counts in (self.when, self.hit))
        again = self.rows.total() - len(self.rows)
        return (
            f"kills {self.when.total()} ({when}; during {hit})  rows {len(self.rows)}  "
            f"regenerated {again}, of these kept before {self.kept_and_done_again}  "
            f"temporary files left {len(self.left)}  identical {'no' if self.different else 'yes'}"
        )


def killed(stage: Stage, kills: int, reference: Ended, draw: random.Random, account: Account) -> None:
    """Start, kill, and start again until there were so many kills; then let it finish."""
    total, done = len(set(reference.rows())), 0
    while done < kills:
        before = stage.kept()
        start = stage.start(drawn(reference, len(before) < total, total, kills, draw))
        done += account.add(start, before, stage.kept(), total)
    before = stage.kept()
    account.add(stage.start(), before, stage.kept(), total)


def drawn(reference: Ended, generating: bool, total: int, kills: int, draw: random.Random) -> Plan:
    """A moment out of the whole life of the process: most of them while rows are generated, as long as any are missing.

    Once all are kept, a process does little but write its table, and that is aimed at.
    """
    at = reference.seconds
    kind = draw.choices(["anywhere", "row", "table"], [1, 4, 0] if generating else [1, 0, 4])[0]
    if kind == "anywhere":
        return Plan(delay=draw.uniform(0, at["row"] * 1.2))
    if kind == "table":
        return Plan("table", delay=draw.uniform(0, (at["written"] - at["table"]) / 2))
    a_row = (at["table"] - at["row"]) / total
    return Plan("row", draw.randint(1, max(2, min(total - 1, 3 * total // kills))), draw.uniform(0, 2 * a_row))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default="transformers")
    parser.add_argument("--prompts", type=int, default=40)
    with tempfile.TemporaryDirectory() as name:
        account = compare(Path(name), **vars(parser.parse_args()))
    print(account.line())
    for complaint in account.complaints + account.left:
        print(complaint, file=sys.stderr)
    return 1 if account.different or account.kept_and_done_again or account.complaints or account.left else 0


def compare(folder: Path, kills: int, seed: int, engine: str, prompts: int) -> Account:
    """A run that is left alone, one that is not, and what they differ in."""
    settings = ["--set", f"engine.name={engine}", "--set", "engine.transformers.batch_size=8"]
    settings += ["--set", "complete.n=4", "--set", "complete.max_tokens=96"]
    how = Drive(pause=PAUSE)
    alone, hunted = folder / "alone", folder / "hunted"
    with_prompts(alone, prompts)
    shutil.copytree(alone, hunted)
    account, draw = Account(), random.Random(seed)
    for name, count in (("complete", kills // 2), ("judge", kills - kills // 2)):
        left_alone, victim = (Stage(name, place, settings, how) for place in (alone, hunted))
        reference = left_alone.start()
        assert reference.code == 0, reference.said
        killed(victim, count, reference, draw, account)
        if victim.table() != left_alone.table() or victim.kept() != left_alone.kept():
            account.different.append(TABLES[name])
    account.left = [str(file.relative_to(hunted)) for file in hunted.rglob(".*.tmp")]
    return account


def with_prompts(folder: Path, limit: int) -> None:
    """runs/prompts.parquet, from the first prompts of the demo."""
    folder.mkdir()
    command = [sys.executable, "-m", "builder.cli", "prompts", "runs", "--set", f"prompts.limit={limit}"]
    command += ["--set", f"prompts.source={ROOT}/data/demo/prompts.jsonl"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if sys.argv[1:2] == ["drive"]:
        drive(Drive(**json.loads(sys.argv[2])), sys.argv[3:])
    else:
        sys.exit(main())
