"""Statistics as a table on the screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from builder import screen_health

COLUMNS = {
    "judged_pairs": ("judged pairs", "{:,}"),
    "ties": ("ties", "{:,}"),
    "tie_rate": ("tie rate", "{:.2%}"),
    "average_delta": ("avg delta", "{:.3f}"),
    "normalised_delta": ("normalised", "{:.4f}"),
    "effect_delta": ("effect", "{:.3f}"),
    "mean": ("mean", "{:.3f}"),
    "std": ("std", "{:.3f}"),
    "skewness": ("skew", "{:+.2f}"),
}


def page(stats: Mapping[str, Any], evaluated: Mapping[str, Any]) -> str:
    """``stats`` in full and, for runs whose policy was evaluated, what it covers of the truth."""
    health = screen_health.rows(stats)
    told = [*aligned(health), screen_health.LEGEND] if health else []
    return _parts(_ties(stats), _accounts(stats), told, _evaluated(evaluated), screen_health.warned(stats))


def table(stats: Mapping[str, Any]) -> str:
    """Tie statistics by run and method, the accounting of each run, and what speaks against trusting it."""
    return _parts(_ties(stats), _accounts(stats), screen_health.warned(stats))


def _parts(*parts: Sequence[str]) -> str:
    return printable("\n\n".join("\n".join(lines) for lines in parts if lines))


def _ties(stats: Mapping[str, Any]) -> list[str]:
    header = ["run", "method", *(title for title, _ in COLUMNS.values())]
    rows = [
        [run if i == 0 else "", method, *(_cell(entry[name], form) for name, (_, form) in COLUMNS.items())]
        for run, summary in stats.items()
        for i, (method, entry) in enumerate(summary["methods"].items())
    ]
    return aligned([header, *rows])


def _accounts(stats: Mapping[str, Any]) -> list[str]:
    return [line for run, summary in stats.items() for line in (f"{run}: {account(summary)}", *_pairless(summary))]


def _pairless(summary: Mapping[str, Any]) -> list[str]:
    """Why there is nothing to train on."""
    prompts = summary["prompts"]
    if summary["pairs"] or not prompts["total"]:
        return []
    if prompts["too_few"] == prompts["total"]:
        return ["no pairs: a pair is two ratable completions of one prompt with different texts, and no prompt has two"]
    return [
        "no pairs: all that could be compared is tied; pair.ties: keep keeps ties, another rate.method may have fewer"
    ]


def _evaluated(evaluated: Mapping[str, Any]) -> list[str]:
    rows = [["run", "", "coverage", "base", "difference", "95% interval", "n"]]
    for run, e in evaluated.items():
        interval = f"[{e['difference_low']:+.4f}, {e['difference_high']:+.4f}]"
        rows.append(
            [run, "", f"{e['mean']:.4f}", f"{e['base_mean']:.4f}", f"{e['difference']:+.4f}", interval, str(e["n"])]
        )
    return aligned(rows) if evaluated else []


def account(summary: Mapping[str, Any]) -> str:
    """The way from prompts to pairs, in one line."""
    prompts, said, completions = summary["prompts"], summary["judgements"], summary["completions"]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in said["reasons"].items())
    return (
        f"{prompts['total']:,} prompts = {prompts['paired']:,} paired + {prompts['tied']:,} tied + "
        f"{prompts['too_few']:,} too few; {completions['total']:,} completions; {said['total']:,} judgements = "
        f"{said['missing']:,} missing + {said['nothing']:,} nothing + {said['unreadable']:,} unreadable + "
        f"{said['absent']:,} absent; {said['ratable']:,} ratable"
        + (f" (not: {reasons})" if reasons else "")
        + f"; {summary['pairs']:,} pairs"
        + "".join(f"; {stage} took {took(usage)}" for stage, usage in summary.get("usage", {}).items())
    )


def took(usage: Mapping[str, float]) -> str:
    """Tokens and cost in words."""
    told = [f"{usage['prompt_tokens']:,} + {usage['tokens']:,} tokens"]
    told += [f"cost {usage['cost']:,.4f}"] if "cost" in usage else []
    told += [f"{usage['escaped']:,} control strings escaped"] if usage["escaped"] else []
    return ", ".join(told)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines; the first two columns to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def printable(text: str) -> str:
    """The text with codes that a terminal would obey, spelled out."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
