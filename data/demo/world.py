"""A small world of invented animals in which the truth is known.

Every animal has six facts. A completion that describes it holds some of them, so how complete
it is can be counted, and a judge's rating can be compared with that count. Run as a script, it
writes the demo's prompts beside itself: ``prompts.jsonl`` for preference training and
``heldout.jsonl``, other animals, for evaluation. The same code gives the same bytes.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

SEED = 12
PROMPTS, HELDOUT = 200, 120


class Attribute(NamedTuple):
    """A fact about one attribute is ``says`` with one of ``values``, a comma between them. ``weight``
    is the judge's: it cares more about some attributes than about others, as judges do."""

    says: str
    weight: float
    values: str


class Animal(NamedTuple):
    """``facts`` maps an attribute to its fact phrase, ``{"habitat": "lives in salt marshes", ...}``."""

    name: str
    facts: dict[str, str]


ATTRIBUTES = {
    "habitat": Attribute(
        "lives in {}",
        1.3,
        "salt marshes, pine forests, river caves, open grassland, coral reefs, mountain valleys, "
        "peat bogs, palm groves, dry canyons, old orchards, bamboo thickets, coastal dunes",
    ),
    "diet": Attribute(
        "feeds on {}",
        1.2,
        "beetles, wild berries, small crabs, reed shoots, honey, field mice, mushrooms, acorns, "
        "snails, moss, earthworms, water lilies",
    ),
    "coat": Attribute(
        "has {}",
        1.1,
        "striped fur, grey feathers, golden scales, a spotted hide, a woolly coat, green plumes, "
        "black bristles, a silver mane, brown spines, white down, red velvet fur, blue scales",
    ),
    "size": Attribute(
        "is as big as {}",
        0.9,
        "a hen, a pony, a teacup, a barrel, a cow, a walnut, a bicycle, a boot, a piano, a thumb, a goose, a bus",
    ),
    "call": Attribute(
        "makes {}",
        0.8,
        "a low whistle, a sharp bark, a soft hum, a long howl, a dry rattle, a loud croak, a deep drone, "
        "a thin squeak, a clear trill, a hoarse grunt, a faint click, a gentle purr",
    ),
    "enemies": Attribute(
        "fears {}",
        0.7,
        "owls, foxes, pythons, wolves, eagles, lynxes, crocodiles, leopards, weasels, hornets, jackals, vultures",
    ),
}

# Sampled answers vary from one fact to six; a greedy answer stops after the third, where stopping
# is the likeliest next step by a clear margin (0.42 / 0.70) but not by one that training cannot move.
FACTS_PER_ANSWER = {1: 0.07, 2: 0.23, 3: 0.42, 4: 0.19, 5: 0.07, 6: 0.02}

_ONSETS = ["b", "br", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n"]
_ONSETS += ["p", "pl", "qu", "r", "s", "sh", "st", "t", "tr", "v", "w", "z"]
_VOWELS = ["a", "e", "i", "o", "u"]
_CODAS = ["", "", "", "l", "m", "n", "r", "s"]


def animals() -> list[Animal]:
    """All animals, those of ``prompts.jsonl`` first."""
    random = Random(SEED)
    made: dict[str, Animal] = {}
    while len(made) < PROMPTS + HELDOUT:
        name = _syllable(random) + _syllable(random)
        facts = {key: a.says.format(random.choice(a.values.split(", "))) for key, a in ATTRIBUTES.items()}
        made.setdefault(name, Animal(name, facts))
    return list(made.values())


def _syllable(random: Random) -> str:
    return random.choice(_ONSETS) + random.choice(_VOWELS) + random.choice(_CODAS)


def prompt(animal: Animal) -> str:
    return f"Describe the {animal.name}: its {enumeration(list(ATTRIBUTES))}."


def reference(animal: Animal) -> str:
    return "\n".join(animal.facts.values())


def choose_attributes(random: Random) -> list[str]:
    """What one incomplete answer tells, in the order it tells it."""
    (count,) = random.choices(list(FACTS_PER_ANSWER), list(FACTS_PER_ANSWER.values()))
    return random.sample(list(ATTRIBUTES), count)


def completion(animal: Animal, attributes: Sequence[str], article: str = "The") -> str:
    """Short sentences, one per attribute, each holding its fact phrase word for word."""
    if not attributes:
        return f"{article} {animal.name} is an animal."
    subjects = [f"{article} {animal.name}"] + ["It"] * (len(attributes) - 1)
    sentences = [f"{who} {animal.facts[key]}." for who, key in zip(subjects, attributes, strict=True)]
    return " ".join(sentences)


def coverage(text: str, facts: str) -> float:
    """The truth: the share of the lines of ``facts`` (a reference) that ``text`` contains."""
    lines = facts.casefold().splitlines()
    return sum(line in text.casefold() for line in lines) / len(lines)


def feedback(told: Iterable[str]) -> str:
    """What the judge says is missing from an answer that tells ``told``; "" if nothing is."""
    missing = [key for key in ATTRIBUTES if key not in set(told)]
    return f"The description of the animal leaves out its {enumeration(missing)}." if missing else ""


def rating(told: Iterable[str], noise: float = 0.0) -> int:
    """A coarse number from 1 to 10 that crowds on 7 and 8, as judges' numbers do."""
    weight = sum(ATTRIBUTES[key].weight for key in set(told))
    return round(5.6 + 0.55 * weight + noise)


def judgement(told: Iterable[str], noise: float = 0.0) -> str:
    """The judge's whole answer in the format of ``builder.judges.wim``."""
    told = list(told)
    return f"Rating: [[{rating(told, noise)}]]\nWIM: [[[{feedback(told)}]]]"


def enumeration(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + list(words[-1:]))


def write(folder: Path) -> None:
    """Writes prompts.jsonl and heldout.jsonl into ``folder``."""
    everyone = animals()
    for name, part in [("prompts", everyone[:PROMPTS]), ("heldout", everyone[PROMPTS:])]:
        records = [{"prompt": prompt(a), "reference": reference(a), "source": "demo"} for a in part]
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
