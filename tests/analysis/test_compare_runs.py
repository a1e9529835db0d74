"""Two runs that differ in one known thing: every reason is that thing, and every prompt is counted once."""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.compare import assemble, compare, rules
from analysis.compare import made as made_by
from analysis.compare.side import Rule, Side
from builder import embed, ingest, pair, params, publish, rate, tables
from builder.errors import WimError
from builder.params import Pair

Wim = Callable[..., int]
Record = dict[str, Any]
ANIMALS = ("heron", "otter", "badger", "lynx")
SAID = ("where it lives", "what it eats in the winter months", "how large it grows and how long it lives")
NUMBERS = (8, 6, 3)


def records() -> list[Record]:
    """Four prompts of three completions, whose numbers leave no tie; the judge is called critic."""
    return [
        {
            "prompt": f"Describe the {animal}.",
            "completion": f"The {animal}: this tells {told}.",
            "feedback": f"The description of the {animal} leaves out {SAID[(place + 1) % 3]}.",
            "rating": NUMBERS[place],
            "judge": "critic",
        }
        for animal in ANIMALS
        for place, told in enumerate(SAID)
    ]


def changed(which: Callable[[Record], bool], **fields: Any) -> list[Record]:
    return [{**each, **fields} if which(each) else each for each in records()]


def of(animal: str, place: int | None = None) -> Callable[[Record], bool]:
    told = "" if place is None else SAID[place]
    return lambda each: animal in each["prompt"] and told in each["completion"]


def build(folder: Path, rows: Sequence[Record], *sets: str, arm: str = "", index: int = 0) -> Path:
    """A run of the records, as `wim build` makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f"{folder.name}.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    made = params.load(None, sets, "", 0)
    ingest.run([file], folder, made, {}, False)
    embed.run(folder, made)
    return rated(folder, *sets, arm=arm, index=index)


def rated(folder: Path, *sets: str, arm: str = "", index: int = 0) -> Path:
    made = params.load(None, sets, "", 0)
    rate.run(folder, made)
    pair.run(folder, made, arm, index)
    return folder


def middle(run: Path) -> float:
    """Two of the four pairs have a smaller delta."""
    deltas = pl.read_parquet(run / "pairs.parquet")["delta"].sort()
    return float(deltas[1] + deltas[2]) / 2


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``records`` by wim; not to be changed."""
    return build(tmp_path_factory.mktemp("compare") / "base", records())


@pytest.fixture
def again(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the run, rated and paired by other parameters."""

    def copy(*sets: str, name: str = "again", arm: str = "", index: int = 0) -> Path:
        return rated(shutil.copytree(base, tmp_path / name), *sets, arm=arm, index=index)

    return copy


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., str]:
    """A dataset of the runs."""

    def write(*runs: Path, name: str = "dataset") -> str:
        publish.run(list(runs), tmp_path / name, params.load(None, [], "", 0))
        return str(tmp_path / name)

    return write


def told(a: object, b: object) -> dict[str, Any]:
    """The account of the only comparison, which adds up."""
    result = assemble.run(str(a), str(b))
    assert len(result["runs"]) == 1
    account: dict[str, Any] = result["runs"][0]
    add_up(account)
    return account


def add_up(account: Mapping[str, Any]) -> None:
    prompts, pairs = account["prompts"], account["pairs"]
    for counts in (prompts, pairs):
        assert counts["total"] == sum(number for name, number in counts.items() if name != "total")
    assert sum(each["prompts"] for each in account["statuses"]) == prompts["total"]
    kept = pairs["unchanged"] + pairs["changed"] + pairs["flipped"]
    assert kept + pairs["vanished"] == account["a"]["pairs"]
    assert kept + pairs["new"] == account["b"]["pairs"]
    for what, counts in (("prompt", prompts), ("pair", pairs)):
        reasons = account[f"{what}_reasons"]
        for fate in {each["fate"] for each in reasons}:
            assert sum(each[f"{what}s"] for each in reasons if each["fate"] == fate) == counts[fate]


def causes(account: Mapping[str, Any]) -> set[str]:
    return {each["cause"] for each in account["pair_reasons"]}


def reasons(account: Mapping[str, Any]) -> dict[tuple[str, str | None, str], int]:
    return {(each["fate"], each["how"], each["cause"]): each["pairs"] for each in account["pair_reasons"]}


def test_a_run_is_as_itself(base: Path) -> None:
    account = told(base, base)
    assert account["prompts"]["unchanged"] == account["prompts"]["total"] == len(ANIMALS)
    assert account["settings"] == account["pair_reasons"] == account["notes"] == []
    assert account["orders"] == {
        "judged": 12, "alike": 12, "opposite": 0, "tied_a": 0, "tied_b": 0, "tied_both": 0
    }  # fmt: skip


def test_another_rating(base: Path, again: Callable[..., Path]) -> None:
    account = told(base, again("rate.method=numerical"))
    assert causes(account) == {"rating"}
    assert {"name": "rate.method", "a": "wim", "b": "numerical"} in account["settings"]
    best = account["examples"][0]
    assert [best["b_chosen_id"][-3:], best["b_rejected_id"][-3:]] in (["-00", "-02"], [None, None])


def test_a_number_that_changes_the_order(again: Callable[..., Path], tmp_path: Path) -> None:
    one = again("rate.method=numerical")
    rows = changed(of("otter", 0), rating=1)
    account = told(one, build(tmp_path / "b", rows, "rate.method=numerical"))
    assert reasons(account) == {
        ("vanished", "another_pair", "number"): 1,  # 8 over 3
        ("new", "another_pair", "number"): 1,  # 6 over 1
    }
    assert account["prompts"] == {"total": 4, "unchanged": 3, "changed": 0, "flipped": 0, "replaced": 1, "vanished": 0,
                                  "new": 0, "unpaired": 0}  # fmt: skip
    assert account["completions"]["number"] == 1


def test_numbers_that_change_places_flip_the_pair(again: Callable[..., Path], tmp_path: Path) -> None:
    rows = changed(of("otter", 0), rating=3)
    rows = [{**each, "rating": 8} if of("otter", 2)(each) else each for each in rows]
    account = told(again("rate.method=numerical"), build(tmp_path / "b", rows, "rate.method=numerical"))
    assert reasons(account) == {("flipped", None, "number"): 1}
    assert account["prompts"]["flipped"] == 1
    [pair] = account["examples"]
    assert (pair["a_chosen_id"], pair["a_rejected_id"]) == (pair["b_rejected_id"], pair["b_chosen_id"])
    assert pair["a_delta"] == pytest.approx(5 / 5.5)


def test_a_number_changes_nothing_for_a_rating_that_reads_words(base: Path, tmp_path: Path) -> None:
    account = told(base, build(tmp_path / "b", changed(of("otter"), rating=5)))
    assert account["prompts"]["unchanged"] == 4
    assert account["completions"]["number"] == 3


def test_other_words(base: Path, tmp_path: Path) -> None:
    account = told(base, build(tmp_path / "b", changed(of("lynx", 1), feedback="")))
    assert causes(account) == {"words"}
    assert account["prompts"]["unchanged"] == 3
    assert account["completions"]["words"] == 1


def test_words_about_a_third_completion_are_told_though_the_numbers_of_the_two_differ(
    base: Path, tmp_path: Path
) -> None:
    rows = changed(of("lynx"), rating=5)
    pair = tables.read(base / "pairs.parquet", "pairs").filter(prompt_id=lynx(base)).row(0, named=True)
    third = ({0, 1, 2} - {int(pair[f"{end}_id"][-1]) for end in ("chosen", "rejected")}).pop()
    rows = [{**each, "feedback": ""} if of("lynx", third)(each) else each for each in rows]
    account = told(base, build(tmp_path / "b", rows))
    assert reasons(account) == {
        ("vanished", "another_pair", "words"): 1,
        ("new", "another_pair", "words"): 1,
    }


def test_what_the_tables_cannot_tell_apart_is_told_together(again: Callable[..., Path], tmp_path: Path) -> None:
    """B holds no column of the mixture that A rates by."""
    one = again("rate.method=mixed", "rate.zeta=0.5")
    account = told(one, build(tmp_path / "b", changed(of("lynx"), feedback="")))
    by_prompt = {each["cause"] for each in account["examples"] if each["prompt_id"] == lynx(one)}
    assert by_prompt == {"words + rating"}
    assert causes(account) == {"words + rating", "rating"}


def lynx(run: Path) -> str:
    prompts = tables.read(run / "prompts.parquet", "prompts")
    return str(
        prompts.filter(pl.col("messages").list.get(0).struct.field("content").str.contains("lynx"))["prompt_id"][0]
    )


def test_words_that_are_gone_make_a_completion_not_ratable(base: Path, tmp_path: Path) -> None:
    account = told(base, build(tmp_path / "b", changed(of("lynx"), feedback=None)))
    assert reasons(account) == {("vanished", "not_ratable: not_judged", "words"): 1}
    assert {"a": "paired", "b": "too_few", "prompts": 1} in account["statuses"]


def test_another_embedder(base: Path, tmp_path: Path) -> None:
    account = told(base, build(tmp_path / "b", records(), "embed.prompt=a search on tax law "))
    assert causes(account) == {"embedder"}
    assert account["completions"] == {"both": 12, "only_a": 0, "only_b": 0, "number": 0, "words": 0, "embedder": 12}
    assert [each["name"] for each in account["settings"]] == ["embed.prompt"]


def test_a_wider_gap(base: Path, again: Callable[..., Path]) -> None:
    gap = middle(base)
    account = told(base, again(f"pair.min_gap={gap}"))
    assert reasons(account) == {("vanished", "tied", "tie_rule"): 2}
    assert {"a": "paired", "b": "tied", "prompts": 2} in account["statuses"]
    back = told(again(f"pair.min_gap={gap}", name="wide"), base)
    assert reasons(back) == {("new", "tied", "tie_rule"): 2}


def test_ties_that_are_kept(again: Callable[..., Path]) -> None:
    gap, method = "pair.min_gap=0.6", "rate.method=numerical"
    account = told(again(method, gap), again(method, gap, "pair.ties=keep", "pair.strategy=best_worst", name="b"))
    assert causes(account) <= {"tie_rule"}


def test_another_strategy(base: Path, again: Callable[..., Path]) -> None:
    account = told(base, again("pair.strategy=all"))
    assert reasons(account) == {("new", "another_pair", "strategy"): 8}
    assert account["pairs"]["unchanged"] == 4
    assert account["prompts"]["replaced"] == 4


def test_a_better_completion_in_b(again: Callable[..., Path], tmp_path: Path) -> None:
    more = {
        "prompt": "Describe the heron.",
        "completion": "All of it.",
        "feedback": "",
        "rating": 10,
        "judge": "critic",
    }
    other = build(tmp_path / "b", [*records(), more], "rate.method=numerical")
    account = told(again("rate.method=numerical"), other)
    assert reasons(account) == {
        ("vanished", "another_pair", "completions"): 1,
        ("new", "completion_absent", "completions"): 1,
    }
    assert account["completions"]["only_b"] == 1


def test_a_completion_that_is_gone(again: Callable[..., Path], tmp_path: Path) -> None:
    rows = [each for each in records() if not of("heron", 2)(each)]
    account = told(again("rate.method=numerical"), build(tmp_path / "b", rows, "rate.method=numerical"))
    assert reasons(account) == {
        ("vanished", "completion_absent", "completions"): 1,
        ("new", "another_pair", "completions"): 1,
    }


def test_completions_are_known_by_their_text_whatever_their_ids(base: Path, tmp_path: Path) -> None:
    account = told(base, build(tmp_path / "b", records()[::-1]))
    assert account["prompts"]["unchanged"] == 4


def test_a_prompt_that_is_gone(base: Path, tmp_path: Path) -> None:
    rows = [each for each in records() if not of("heron")(each)]
    account = told(base, build(tmp_path / "b", rows))
    assert reasons(account) == {("vanished", "prompt_absent", "prompts"): 1}
    assert {"a": "paired", "b": "absent", "prompts": 1} in account["statuses"]


def test_whose_judgements_count(tmp_path: Path) -> None:
    second = [{**each, "judge": "other", "rating": 11 - each["rating"]} for each in records()]
    rows = [*records(), *second]
    one = build(tmp_path / "a", rows, "rate.method=numerical", "pair.judge=critic")
    shutil.copytree(one, tmp_path / "b")
    account = told(one, rated(tmp_path / "b", "rate.method=numerical", "pair.judge=other"))
    assert reasons(account) == {("flipped", None, "judges"): 4}


def test_a_rating_that_learns_from_other_judgements(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Question {i}?",
            "completion": f"Answer {j} to {i}.",
            "feedback": f"lacks {word}",
            "rating": 4 + 2 * j,
        }
        for i in range(30)
        for j, word in enumerate(("everything", "little"))
    ]
    other = deepcopy(rows)
    for each in other[:10]:
        each["rating"] = 5
    sets = ["rate.method=calibrated"]
    account = told(build(tmp_path / "a", rows, *sets), build(tmp_path / "b", other, *sets))
    assert causes(account) == {"others"}


def test_two_things_are_told_apart(tmp_path: Path) -> None:
    """The otter's numbers change places, and the gap ties what is 2 apart: the heron's best two are the only pair."""
    rows = [each for each in records() if not of("heron", 2)(each)]
    one = build(tmp_path / "a", rows, "rate.method=numerical")
    other = deepcopy(rows)
    for each in other:
        each["rating"] = 11 - each["rating"] if of("otter")(each) else each["rating"]
    account = told(one, build(tmp_path / "b", other, "rate.method=numerical", "pair.min_gap=0.5"))
    assert reasons(account)["vanished", "tied", "tie_rule"] == 1
    assert reasons(account)["flipped", None, "number"] == 1


def test_a_dataset_tells_as_its_run_does(base: Path, again: Callable[..., Path], published: Callable[..., str]) -> None:
    other = again("rate.method=numerical")
    runs, data = told(base, other), told(published(base, name="one"), published(other, name="two"))
    for part in ("prompts", "pairs", "statuses", "pair_reasons", "prompt_reasons", "completions", "orders"):
        assert data[part] == runs[part]
    assert [data[side]["methods"] for side in "ab"] == [runs[side]["methods"] for side in "ab"]
    assert told(base, published(base, name="three"))["prompts"]["unchanged"] == 4


def test_a_dataset_tells_its_parameters(base: Path, again: Callable[..., Path], published: Callable[..., str]) -> None:
    """The gap that is told, and not the narrowest one that gives the same pairs."""
    gap = middle(base)
    account = told(published(base, name="one"), published(again(f"pair.min_gap={gap}"), name="two"))
    assert reasons(account) == {("vanished", "tied", "tie_rule"): 2}
    assert account["settings"] == [{"name": "pair.min_gap", "a": 0.0, "b": gap}]
    assert account["notes"] == []
    assert told(base, published(base, name="same"))["settings"] == []
    mixed = published(again("rate.method=mixed", "rate.zeta=0.25", name="mixed"), name="three")
    other = published(again("rate.method=mixed", "rate.zeta=0.75", name="other"), name="four")
    account = told(mixed, other)
    assert account["settings"] == [{"name": "rate.zeta", "a": 0.25, "b": 0.75}]
    assert causes(account) == {"rating"}


def test_the_engine_of_a_stage_is_not_the_engine_that_a_judge_was_set_to() -> None:
    told = made_by.settings("judge", {"judge": {"engine": None}, "engine": "echo", "seed": 1, "method": "wim"})
    assert told == {"judge.engine": None, "judge.engine.name": "echo", "judge.seed": 1}
    facts = made_by.settings("judge", {"engine": "echo"}, {"engine": {"name": "echo", "versions": {}}})
    assert facts == {"judge.engine.name": "echo"}


def test_the_rule_of_an_older_dataset_is_inferred_and_told(
    base: Path, again: Callable[..., Path], published: Callable[..., str]
) -> None:
    def older(run: Path, name: str) -> str:
        dataset = published(run, name=name)
        (Path(dataset) / "parameters.json").unlink()
        return dataset

    gap = middle(base)
    account = told(older(base, "one"), older(again(f"pair.min_gap={gap}"), "two"))
    assert reasons(account) == {("vanished", "tied", "tie_rule"): 2}
    assert len(account["notes"]) == 2
    assert all("does not say by which rule" in note for note in account["notes"])
    account = told(older(base, "three"), older(again("pair.strategy=all", name="all"), "four"))
    assert reasons(account) == {("new", "another_pair", "strategy"): 8}


def test_runs_that_a_dataset_does_not_tell_apart_are_refused(tmp_path: Path, published: Callable[..., str]) -> None:
    """Without an arm both are round 0, of other prompts."""
    rows = records()
    halves = [build(tmp_path / name, part) for name, part in (("mine", rows[:6]), ("yours", rows[6:]))]
    with pytest.raises(WimError, match="several runs whose judgements cannot be told apart"):
        assemble.run(published(*halves), str(halves[0]))


def test_runs_of_a_dataset_are_compared_by_arm_and_round(
    again: Callable[..., Path], published: Callable[..., str], wim: Wim, capsys: pytest.CaptureFixture[str]
) -> None:
    first = again(name="0", arm="wim")
    second = again("rate.method=numerical", name="1", arm="wim", index=1)
    both, one = published(first, second, name="both"), published(second, name="one")
    result = assemble.run(both, one)
    assert [account["b"]["run"] for account in result["runs"]] == ["wim-round1"]
    assert result["alone"] == {"a": ["wim-round0"], "b": []}
    assert result["prompts"]["unchanged"] == 4
    named = assemble.run(f"{both}:wim-round0", f"{both}:wim-round1")["runs"][0]
    assert causes(named) == {"rating"}
    capsys.readouterr()
    assert wim("compare", f"{both}:wim-round7", one) == 1
    assert "there are wim-round0, wim-round1" in capsys.readouterr().err
    assert wim("compare", f"{both}:wim-round0", one) == 0  # there is one run on either side
    assert wim("compare", first, published(again(name="2", arm="other"), second, name="others")) == 1
    assert "no run of the same arm and round" in capsys.readouterr().err


def test_the_rule_of_tables_by_others_is_inferred(base: Path, again: Callable[..., Path]) -> None:
    other = again(f"pair.min_gap={middle(base)}")
    for name in ("ratings", "pairs"):
        file = other / f"{name}.parquet"
        tables.write(file, name, tables.read(file, name), {})
    account = told(base, other)
    assert reasons(account) == {("vanished", "tied", "tie_rule"): 2}
    assert ["does not say by which rule" in note for note in account["notes"]] == [True]


def test_the_command_tells_the_reasons(
    base: Path, again: Callable[..., Path], wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = again("rate.method=numerical")
    assert wim("compare", base, other) == 0
    printed = capsys.readouterr().out
    assert re.search(r"rate.method +wim +numerical", printed)
    assert ": the rating" in printed
    assert wim("compare", base, other, "--json", "--table", "pairs.parquet") == 0
    result = json.loads(capsys.readouterr().out)
    table = pl.read_parquet(tmp_path / "pairs.parquet")
    assert len(table) == result["pairs"]["total"]
    counted = dict(table.group_by("fate").len().iter_rows())
    assert counted == {fate: n for fate, n in result["pairs"].items() if n and fate != "total"}


def test_the_page_loads_nothing_and_takes_text_as_text(built: Path, run: Path, hostile: str, tmp_path: Path) -> None:
    rated(run, "rate.method=numerical")
    assemble.run(str(built), str(run), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert hostile not in text
    assert "&lt;img src=x onerror=" in text
    assert not re.search(r'(?:src|href)="http', text)


def test_what_is_no_run_is_one_clear_line(
    base: Path, wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(base, tmp_path / "half")
    (tmp_path / "half" / "pairs.parquet").unlink()
    shutil.copytree(base, tmp_path / "stale")
    rate.run(tmp_path / "stale", params.load(None, ["rate.method=numerical"], "", 0))
    for name, expected in (
        ("empty", "neither a run folder nor a dataset"),
        ("no/such/folder", "there is no such folder"),
        ("half", "run `wim pair"),
        ("stale", "was made from another ratings.parquet"),
    ):
        assert wim("compare", base, name) == 1
        error = capsys.readouterr().err
        assert expected in error
        assert len(error.splitlines()) == 1


def test_pairs_that_name_strange_completions_are_refused(base: Path, again: Callable[..., Path]) -> None:
    other = again()
    file = other / "pairs.parquet"
    pairs, about = tables.read(file, "pairs"), tables.read_metadata(file)
    tables.write(file, "pairs", pairs.with_columns(chosen_id=pl.lit("nobody")), about)
    with pytest.raises(WimError, match="pairs name 4 completions that are not there, nobody first"):
        assemble.run(str(base), str(other))


VALUES = st.one_of(st.none(), st.integers(-2, 2).map(float))
SIDES = st.lists(st.lists(VALUES, min_size=0, max_size=4), min_size=1, max_size=4)


def made(values: Sequence[Sequence[float | None]], pair_block: Pair) -> Side:
    """A side by numbers alone: the completions of a prompt are told apart by their place."""
    rows = [(f"p{i}", f"p{i}-{j}", j, value) for i, each in enumerate(values) for j, value in enumerate(each)]
    schema = {"prompt_id": pl.String, "completion_id": pl.String, "text": pl.UInt64, "reward": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    judgements = frame.drop("text").with_columns(
        pl.lit("j").alias("judge"),
        pl.col("reward").alias("rating"),
        pl.col("reward").alias("R"),
        pl.lit(None, pl.Float64).alias("wim"),
        pl.when(pl.col("reward").is_null()).then(pl.lit("no_rating")).alias("reason"),
        pl.lit(0, pl.UInt64).alias("words"),
    )
    completions, rule = frame.select("completion_id", "prompt_id", "text"), Rule(pair_block, 42)
    pairs = rules.taken(rules.judged(judgements, completions, "reward", "mean"), rule)
    pairs = pairs.with_columns(pair_id=pl.lit("x"))
    prompts = pl.Series("prompt_id", [f"p{i}" for i in range(len(values))])
    return Side("made", "made", prompts, completions, judgements, pairs, "mean", "numerical", None, rule, {}, None, (),
                lambda ids: pl.DataFrame({"completion_id": list(ids)}))  # fmt: skip


BLOCKS = st.builds(
    Pair,
    strategy=st.sampled_from(["best_worst", "all", "adjacent"]),
    min_gap=st.sampled_from([0.0, 1.0]),
    ties=st.sampled_from(["drop", "keep"]),
)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, BLOCKS, BLOCKS)
def test_counts_add_up_and_mirror(one: Any, other: Any, rule: Pair, other_rule: Pair) -> None:
    a, b = made(one, rule), made(other, other_rule)
    forth, back = compare.account(compare.compare(a, b)), compare.account(compare.compare(b, a))
    for account in (forth, back):
        add_up(account)
        assert not {"unknown", "table"} & causes(account)
        assert sum(each["prompts"] for each in account["statuses"] if each["a"] == "paired") == len(
            {"a": a, "b": b}["a" if account is forth else "b"].pairs["prompt_id"].unique()
        )
    mirrored = {"vanished": "new", "new": "vanished"}
    for what in ("prompts", "pairs"):
        assert {mirrored.get(fate, fate): n for fate, n in back[what].items()} == forth[what]
    possible = {"number", "completions", "prompts", "tie_rule", "strategy"}
    assert causes(forth) <= possible
    if rule == other_rule:
        assert not causes(forth) & {"tie_rule", "strategy"}
    if one == other:
        assert causes(forth) <= {"tie_rule", "strategy"}
    assert np.isfinite(forth["orders"]["judged"])
