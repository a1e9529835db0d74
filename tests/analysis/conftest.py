"""A small run with the real embedder: eight prompts of three completions, numbers that tie often, words that differ."""

import json
import shutil
from pathlib import Path

import pytest

from builder import embed, ingest, pair, params, rate

HOSTILE = '</script><script src="https://example.org/x.js"></script><img src=x onerror="alert(1)">'
ANIMALS = ("heron", "otter", "badger", "lynx", "marten", "vole", "stoat", "hare")
PARTS = ("where it lives", "what it eats in the winter months", "how large it grows and how long it lives")


def records() -> list[dict[str, object]]:
    """Every third prompt has only equal numbers; the last prompt has a single completion."""
    rows: list[dict[str, object]] = []
    for number, animal in enumerate(ANIMALS):
        for index, part in enumerate(PARTS[: 1 if animal == "hare" else 3]):
            rows.append(
                {
                    "prompt": f"Describe the {animal}. {HOSTILE}",
                    "completion": f"The {animal}: this tells {part}. {HOSTILE}",
                    "feedback": f"The description of the {animal} leaves out {PARTS[(index + 1) % 3]}. {HOSTILE}",
                    "rating": 7 if number % 3 == 0 or index < 2 else 4,
                    "judge": "critic",
                }
            )
    return rows


@pytest.fixture
def hostile() -> str:
    """What every text of the run ends with."""
    return HOSTILE


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``records`` as arm wim, round 0; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "wim" / "0"
    file = folder.parent.parent / "records.jsonl"
    file.write_text("\n".join(map(json.dumps, records())), encoding="utf-8")
    folder.mkdir(parents=True)
    settings = params.load(None, [], "", 0)
    ingest.run([file], folder, settings, {}, False)
    embed.run(folder, settings)
    rate.run(folder, settings)
    pair.run(folder, settings, "wim", 0)
    return folder


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A copy of the run to work on."""
    return shutil.copytree(built, tmp_path / "runs" / "wim" / "0")
