"""The themes on the screen."""

import os
from collections.abc import Mapping
from typing import Any

from builder.screen import aligned, printable

TEASER = 100


def text(result: Mapping[str, Any]) -> str:
    """What is asked for, run by run; what it decides; how well a few themes foretell the labels."""
    parts = [_themes(result), _examples(result), _decided(result), _foretold(result)]
    return printable("\n\n".join("\n".join(part) for part in parts if part))


def _themes(result: Mapping[str, Any]) -> list[str]:
    runs = result["runs"]
    above = os.path.commonpath([os.path.abspath(run) for run in runs]) if len(runs) > 1 else ""
    names = [os.path.relpath(run, above) if above else run for run in runs]
    rows = [
        [theme["name"], f"{theme['judgements']:,}", *(f"{theme['shares'][run]:.1%}" for run in runs)]
        for theme in result["themes"]
    ]
    return aligned([["what is missing", "judgements", *names], *rows])


def _examples(result: Mapping[str, Any]) -> list[str]:
    told = [(theme["name"], " ".join(theme["examples"][0].split())) for theme in result["themes"]]
    return ["for example", *(f"  {name}: {said[:TEASER]}{' …' * (len(said) > TEASER)}" for name, said in told)]


def _decided(result: Mapping[str, Any]) -> list[str]:
    if not result["pairs"]:
        return ["no pairs: `wim pair` makes them"]
    rows = [
        [each["name"], f"{found['pairs']:,}", _estimate(found, "rejected"), f"{found['weight']:+.2f}"]
        for each in (*result["themes"], result["nothing"])
        if (found := each["decides"])["pairs"]
    ]
    head = ["said of one side alone", "pairs", "that side rejected", "weight"]
    return [*aligned([head, *rows]), "weight: log-odds of being rejected, all else that is said held equal"]


def _foretold(result: Mapping[str, Any]) -> list[str]:
    rows = [[f"{each['themes']}", _estimate(each, "accuracy")] for each in result.get("foretold", [])]
    told = f"of {result['pairs']:,} pairs of {result.get('prompts', 0):,} prompts, held out by prompt; chance is 0.5"
    return [*aligned([["themes", "labels foretold"], *rows]), told] if rows else []


def _estimate(found: Mapping[str, float], name: str) -> str:
    return f"{found[name]:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
