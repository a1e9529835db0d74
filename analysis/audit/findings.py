"""What the numbers say, in sentences; first of all where a rating is not worth its name."""

from collections.abc import Mapping
from typing import Any

from analysis.audit.truth import APART


def warnings(ratings: Mapping[str, Any], left_out: Mapping[str, str], method: str) -> list[str]:
    """On wim and on the run's own method: a wrong sign, chance, the swapped-text control, length."""
    found = []
    for name in dict.fromkeys(("wim", method)):
        if name in ratings:
            found += _of_rating(name, ratings, name == method)
        else:
            found.append(f"{name} could not be measured: {left_out.get(name, 'it is no rating of this run')}.")
    return found


def _of_rating(name: str, ratings: Mapping[str, Any], own: bool) -> list[str]:
    r = ratings[name]
    told = interval(r, "agreement")
    found = []
    if r["high"] is not None and r["high"] < 0.5:
        found.append(f"{name} has the wrong sign: it prefers the worse completion more often than not ({told}).")
    elif not (r["low"] or 0) > 0.5:
        found.append(f"{name} is not shown to be better than chance: {told} does not lie above 0.5.")
    if control := r["versus"].get("swapped"):
        other = interval(ratings["swapped"], "agreement")
        if not (control["low"] if control["low"] is not None else -1) > 0:
            found.append(
                f"{name} does not beat the swapped-text control: {told} against {other} with what another completion "
                f"of the prompt lacks (difference {interval(control, 'difference', '+')}). Its agreement is not "
                "shown to come from what was said of the completion itself."
            )
    length = r["versus"].get("length") if own else None
    if length and not (length["low"] if length["low"] is not None else -1) > 0:
        found.append(
            f"{name} does not beat the length of the completion ({interval(ratings['length'], 'agreement')}): "
            f"difference {interval(length, 'difference', '+')}."
        )
    if own and (r["low"] or 0) > 0.5 and r["matched"]["low"] is not None and r["matched"]["low"] <= 0.5:
        found.append(
            f"{name} is not shown to be better than chance among completions of about the same length: "
            f"{interval(r['matched'], 'agreement')}."
        )
    return found


def summary(result: Mapping[str, Any]) -> list[str]:
    """What was compared, the ceiling, and what is recommended."""
    truth = result["truth"]
    said = f"{result['pairs']:,} pairs of {result['prompts']:,} prompts are compared"
    more = {"tied": "tied by the truth", "same_text": "of the same text"}
    others = [f"{truth[key]:,} {words}" for key, words in more.items() if truth[key]]
    said += f" (not compared: {', '.join(others)})" if others else ""
    found = [said + f"; the truth is {truth['kind']}."]
    if truth["unmatched"]:
        first = ", ".join(truth["strangers"][:5])
        found.append(f"{truth['unmatched']:,} of {truth['records']:,} records match nothing in the run: {first}.")
    if truth["apart"]:
        found.append(f"Of {truth['apart']:,} of these {APART}.")
    if truth["bad"]:
        found.append(f"{truth['bad']:,} of {truth['records']:,} records cannot be used (named on stderr).")
    if ceiling := result["ceiling"]:
        found.append(
            f"Human ceiling: one annotator agrees with the majority of the others in "
            f"{interval(ceiling, 'agreement')} ({ceiling['pairs']:,} pairs), with another single one in "
            f"{interval(ceiling['two'], 'agreement')}."
        )
    return [*found, recommended(result["recommended"]), *_left(result["recommended"])]


def _left(choice: Mapping[str, Any]) -> list[str]:
    """The ratings that were not considered, in a line."""
    told: dict[str, list[str]] = {}
    for name, why in choice["not_considered"].items():
        told.setdefault(why, []).append(name)
    groups = "; ".join(f"{', '.join(names)} ({why})" for why, names in told.items())
    return [f"Not considered: {groups}."] if groups else []


def recommended(choice: Mapping[str, Any]) -> str:
    told = f" Out of fold: {interval(choice, 'agreement')}." if choice.get("agreement") is not None else ""
    if choice["rating"] is None:
        return f"Nothing is recommended: {choice['why']}.{told}"
    over = choice.get("versus_numerical") if choice["rating"] != "numerical" else None
    gain = f" Over the number alone: {interval(over, 'difference', '+')}." if over else ""
    alike = f" At like lengths: {interval(choice['matched'], 'agreement')}." if choice.get("matched") else ""
    return f"Recommended: {choice['rating']}, {choice['why']}.{told}{alike}{gain}"


def fitted(fit: Mapping[str, Any]) -> list[str]:
    """What --fit has found."""
    wish = fit["wanted"]
    wanted = f"an agreement of {wish['agreement']:g}" if "agreement" in wish else f"{wish['pairs']:,} pairs or more"
    reached = "reached" if fit["reached"] else "NOT reached; this comes nearest"
    found = [
        f"Fitted: {fit['rating']} with pair.min_gap {fit['set']['pair']['min_gap']:g}; wanted: {wanted}, {reached}.",
        f"Expected: {fit['pairs']:,} pairs from this run, agreement {interval(fit['expected'], 'agreement')} "
        f"out of fold, over {fit['expected']['pairs']:,} pairs of the truth with a delta beyond the gap.",
    ]
    if not (fit["expected"]["low"] or 0) > 0.5:
        found.append(f"WARNING: {fit['rating']} is not shown to be better than chance beyond that gap: do not use it.")
    made = fit["expected_of_made"]
    if made["pairs"] >= 30:
        found.append(
            f"Of the very pairs that pair.strategy makes, the truth holds {made['pairs']:,}: "
            f"{interval(made, 'agreement')}."
        )
    return found


def interval(entry: Mapping[str, Any], name: str, sign: str = "") -> str:
    """A number with its 95% interval."""
    if entry.get(name) is None:
        return "not known"
    if entry.get("low") is None:
        return f"{entry[name]:{sign}.3f}"
    return f"{entry[name]:{sign}.3f} [{entry['low']:{sign}.3f}, {entry['high']:{sign}.3f}]"
