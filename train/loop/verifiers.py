"""Verifiable rewards: a completion against the prompt's reference, without a judge. Functions for TRL's trainers."""

from collections.abc import Callable, Sequence
from typing import Any

from builder.evaluate import coverage

Verifier = Callable[[str, str], float]
"""Completion and reference to a number in [0, 1]."""


def exact(text: str, reference: str) -> float:
    """1.0 if all lines of the reference are in ``text``, case and white space aside; else 0.0."""
    return float(coverage(text, reference) == 1.0)


VERIFIERS: dict[str, Verifier] = {"coverage": coverage, "exact": exact}


def coverage_reward(completions: Sequence[Any], reference: Sequence[str | None], **columns: Any) -> list[float | None]:
    """The share of the reference's lines that each completion contains; None where there is no reference."""
    del columns
    return verified(completions, reference, coverage)


def exact_reward(completions: Sequence[Any], reference: Sequence[str | None], **columns: Any) -> list[float | None]:
    """1.0 for a completion that contains all lines of its reference, else 0.0; None where there is no reference."""
    del columns
    return verified(completions, reference, exact)


def verified(completions: Sequence[Any], references: Sequence[str | None], verifier: Verifier) -> list[float | None]:
    """One number for each completion, by any verifier."""
    pairs = zip(completions, references, strict=True)
    return [None if wanted is None else verifier(text_of(made), wanted) for made, wanted in pairs]


def text_of(completion: Any) -> str:
    """The text of a completion as TRL hands it over: plain, or as messages."""
    if isinstance(completion, str):
        return completion
    return "\n\n".join(message["content"] or "" for message in completion)
