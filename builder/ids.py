"""Identifiers, fingerprints and seeds: all are SHA-256 of what they stand for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from builder.language.chat import Message

_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_json(value: Any) -> str:
    """UTF-8 JSON with sorted keys and no spaces: equal values give equal text."""
    return _CANONICAL.encode(value)


def sha256(text: str) -> str:
    """64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest(text: str) -> bytes:
    """The first 16 bytes of the SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:16]


def prompt_id(messages: Sequence[Message]) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of the messages."""
    turns = [{"content": m["content"], "role": m["role"]} for m in messages]
    return hashlib.sha256(orjson.dumps(turns)).hexdigest()[:16]  # writes texts as canonical_json does


def completion_id(prompt: str, index: int) -> str:
    """``<prompt_id>-<index as two or more digits>``."""
    return f"{prompt}-{index:02d}"


def text_id(text: str) -> str:
    """First 32 hex digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def pair_id(arm: str, round_index: int, chosen_id: str, rejected_id: str, judge: str, method: str) -> str:
    """First 16 hex digits of the SHA-256 of the six, joined by newlines."""
    return sha256("\n".join([arm, str(round_index), chosen_id, rejected_id, judge, method]))[:16]


def seed_of(run_seed: int, row: str, attempt: int = 0) -> int:
    """The seed of one row in [0, 2**62): hashed, since engines let neighbouring seeds overlap."""
    return int(sha256(f"{run_seed}:{row}:{attempt}")[:16], 16) >> 2


def folded(seed: int) -> int:
    """A row's seed in the range that all servers take, [0, 2**31).

    vLLM and OpenAI take 64 bits, llama.cpp 32, of which 2**32 - 1 means chance, some hosted APIs 32 with a sign.
    """
    return seed % 2**31


def uniform_of(run_seed: int, row: str) -> float:
    """A number in [0, 1) that belongs to the row, whatever else is in the table."""
    return int(sha256(f"{run_seed}:{row}")[:13], 16) / 16**13


def fingerprint(settings: Mapping[str, Any]) -> str:
    """16 hex digits that stand for ``settings``."""
    return sha256(canonical_json(settings))[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
