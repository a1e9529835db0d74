"""All that is told of one rating, as JSON has it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.audit import agreement, curves
from analysis.audit.agreement import Compared
from analysis.audit.pairs import Pairs
from analysis.audit.rated import Rated
from analysis.intervals import Estimate

AGAINST = ("numerical", "swapped", "length")
"""What every rating is compared with, on the pairs that both rate, with the same resamples."""


def measure(rated: Rated, compared: Mapping[str, Compared], pairs: Pairs) -> dict[str, Any]:
    """``compared``: each rating's on the pairs, by name. ``pairs`` in the result: how many it rates."""
    own = compared[rated.name]
    parts = {
        "curve": list(curves.by_delta(own)),
        "by_length": list(curves.by_length(own, pairs)),
        "by_source": list(curves.by_source(own, pairs)),
    }
    found = _means(own, compared, parts, pairs)
    known, matched = own.known, own.known & _kept(pairs.matched, pairs)
    several = known & (_kept(pairs.votes, pairs).sum(axis=1) >= 2)
    rows = {
        name: [about | told(found[f"{name} {i}"]) | {"pairs": count(which)} for i, (about, which) in enumerate(part)]
        for name, part in parts.items()
    }
    return {
        "kind": rated.kind,
        **told(found["all"]),
        "ties": count(known & (own.delta == 0)) / max(count(known), 1),
        "pairs": count(known),
        "uses": sorted(rated.uses),
        "matched": told(found["matched"]) | {"pairs": count(matched)},
        "tau_b": told(agreement.tau_b(rated.values, pairs), "tau_b"),
        "auc": told(agreement.auc(rated.values, pairs), "auc"),
        "versus": _versus(found, own, compared, pairs),
        "safer": told(found["above"] - found["below"], "difference"),
        **rows,
        **({"several": told(found["several"]) | {"pairs": count(several)}} if several.any() else {}),
        "set": dict(rated.set),
    }


def _means(
    own: Compared, compared: Mapping[str, Compared], parts: Mapping[str, list[curves.Part]], pairs: Pairs
) -> dict[str, Estimate]:
    """Everything that is a mean over pairs, in one resampling."""
    matched, several = _kept(pairs.matched, pairs), _kept(pairs.votes, pairs).sum(axis=1) >= 2
    above, below = curves.halves(own)
    masks = {
        "all": own.known,
        "matched": own.known & matched,
        "several": own.known & several,
        "above": above,
        "below": below,
    }
    masks |= {f"{name} {i}": which for name, part in parts.items() for i, (_, which) in enumerate(part)}
    wanted = {name: (own.agree, which) for name, which in masks.items()}
    for name in AGAINST:
        if name in compared:
            both = own.known & compared[name].known
            gain = own.agree - compared[name].agree
            wanted |= {f"over {name}": (gain, both), f"matched over {name}": (gain, both & matched)}
    return agreement.means(wanted, pairs.prompt[pairs.compared], pairs.prompts)


def _versus(
    found: Mapping[str, Estimate], own: Compared, compared: Mapping[str, Compared], pairs: Pairs
) -> dict[str, Any]:
    result = {}
    for name in AGAINST:
        if name in compared and compared[name] is not own:
            both = own.known & compared[name].known
            alike = both & _kept(pairs.matched, pairs)
            result[name] = told(found[f"over {name}"], "difference") | {
                "pairs": count(both),
                "matched": told(found[f"matched over {name}"], "difference") | {"pairs": count(alike)},
            }
    return result


def told(estimate: Estimate, name: str = "agreement") -> dict[str, float | None]:
    """A number and its 95% interval; null for what cannot be told."""
    low, high = estimate.interval
    found = {name: estimate.value, "low": low, "high": high}
    return {key: float(value) if np.isfinite(value) else None for key, value in found.items()}


def count(which: np.ndarray) -> int:
    return int(np.count_nonzero(which))


def _kept(column: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Of the pairs that are compared."""
    kept: np.ndarray = column[pairs.compared]
    return kept
