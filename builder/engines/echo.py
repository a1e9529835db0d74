"""An engine without a model: deterministic text out of the request itself, for tests and dry runs.

It answers a request with a part of its words, and a request for a judgement in the judge's own
format, so that a whole pipeline runs through it.
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from builder.engines import Completion, Request
from builder.errors import EngineError
from builder.language.policy import Policy
from builder.params import Params


def identity(params: Params) -> dict[str, Any]:
    """Nothing can be set."""
    del params
    return {}


class Engine:
    """Echoes: the row's seed decides which words; temperature 0 echoes all of them."""

    def __init__(self, params: Params, policies: Sequence[Policy]) -> None:
        del params, policies

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            yield place, _echo(request)


def _echo(request: Request) -> Completion:
    sampling = request.sampling
    if sampling.contrastive is not None:
        raise EngineError("the engine echo has no contrastive search; set judge.contrastive to null")
    if sampling.top_p != 1:
        raise EngineError("the engine echo has no top_p; set complete.top_p to 1")
    if sampling.pattern is not None:
        raise EngineError("the engine echo has no structured output; set judge.structured to false")
    draw = random.Random(request.seed)
    asked = request.messages[-1]["content"].split()
    words = asked if sampling.temperature == 0 else [word for word in asked if draw.random() < 0.6]
    if request.messages[0]["role"] == "system":
        words = _judgement(request.messages[0]["content"], asked) or words
    text = " ".join(words[: sampling.max_tokens])
    for stop in sampling.stop:
        text = text.split(stop)[0]
    cut = len(words) > sampling.max_tokens
    read = sum(len(message["content"].split()) for message in request.messages)
    return Completion(text, "length" if cut else "stop", min(len(words), sampling.max_tokens), prompt_tokens=read)


def _judgement(system: str, asked: Sequence[str]) -> list[str]:
    """An answer in the format that a judge is told, if it is told one: the same to the same question."""
    draw = random.Random(" ".join(asked))
    text = _missing(asked, draw) if "WIM:" in system else ""
    criteria = [name for name in re.findall(r"^(.+): \[\[number\]\]$", system, re.MULTILINE) if name != "Rating"]
    if criteria:
        return " ".join([*(f"{name}: [[{draw.randint(1, 4)}]]" for name in criteria), text]).split()
    if text:
        return f"Rating: [[{draw.randint(5, 9)}]] {text}".split()
    verdicts = re.findall(r"\[\[([^\[\]]+)\]\]", system)
    return f"Verdict: [[{draw.choice(verdicts)}]]".split() if "Verdict:" in system else []


def _missing(asked: Sequence[str], draw: random.Random) -> str:
    missing = draw.sample(asked, k=min(len(asked), draw.randint(0, 4)))
    text = f"The answer leaves out {' '.join(missing)}." if missing else ""
    text = text.replace("[", "(").replace("]", ")")
    return f"WIM: [[[{text}]]]"
