"""Train and test by prompt: decided by the prompt's hash, and near duplicates stay together."""

import random
import sys
from pathlib import Path

import polars as pl
import pytest
from published import is_drawn, prompts

from builder import embed, ids, tables
from builder.errors import WimError
from builder.hub import split as splits
from builder.hub.duplicates import beside_others
from builder.hub.split import Split, split
from builder.language.chat import Message
from builder.neighbours import NEAR, Floats, units
from builder.params import Embed


def write(file: Path, texts: list[str | None], system: str | None = None) -> Path:
    """A prompts table; a text that is not known has messages that are empty, and an id of its own."""
    turns: list[list[Message]] = []
    for text in texts:
        told: list[Message] = [{"role": "system", "content": system}] if system else []
        turns.append([*told, {"role": "user", "content": text}] if text else [])
    names = [ids.prompt_id(each) if each else f"bare{i:03d}" for i, each in enumerate(turns)]
    frame = pl.DataFrame({"prompt_id": names, "messages": turns}, schema_overrides=_TYPES).with_columns(
        source=pl.lit("")
    )
    tables.write(file, "prompts", frame.with_columns(reference=pl.lit(None, pl.String)).sort("prompt_id"), {})
    return file


_TYPES = {"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String}))}


def id_of(text: str) -> str:
    return ids.prompt_id([{"role": "user", "content": text}])


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings are kept below the working folder."""
    monkeypatch.chdir(tmp_path)


def made(texts: list[str | None], share: float = 0.2, name: str = "prompts.parquet") -> Split:
    return split([write(Path(name), texts)], share, Embed())


def test_the_hash_of_a_prompt_decides_whatever_else_there_is() -> None:
    texts = prompts()
    drawn = {id_of(text) for text in texts if is_drawn(text, 0.2)}
    assert 10 < len(drawn) < 40
    assert set(made(list(texts)).test) == drawn
    fewer = texts[::2]
    assert set(made(list(fewer)).test) == drawn & {id_of(text) for text in fewer}


@pytest.mark.parametrize("near", ["{} Please.", "{}\n", "Hello, {}", "{}!"])
def test_a_near_duplicate_of_a_prompt_of_train_is_no_prompt_of_test(near: str) -> None:
    texts = prompts()
    tests = [text for text in texts if is_drawn(text, 0.2)]
    twins = {text: near.format(text) for text in tests if not is_drawn(near.format(text), 0.2)}
    found = made([*texts, *twins.values()])
    assert len(twins) > 10
    assert set(found.test) == {id_of(text) for text in tests if text not in twins}
    assert found.moved == len(twins)


def test_near_duplicates_that_are_all_drawn_stay_in_test() -> None:
    texts = prompts()
    tests = [text for text in texts if is_drawn(text, 0.2)]
    twin = next(t for text in tests for t in (f"{text} Please.", f"{text}.", f"{text} ") if is_drawn(t, 0.2))
    found = made([*texts, twin])
    assert id_of(twin) in set(found.test)
    assert found.moved == 0


def test_what_hangs_on_a_chain_that_reaches_train_goes_there_with_it() -> None:
    words = "list the capital cities of all european countries and describe their harbours in detail".split()
    chain = [" ".join(words[n:]) for n in range(4)]
    vectors = units(_vectors(chain))
    near = vectors @ vectors.T >= NEAR
    reached = {0}
    for _ in chain:
        reached |= {i for i in range(len(chain)) for j in reached if near[i, j]}
    frame = pl.DataFrame({"prompt_id": [f"p{i}" for i in range(len(chain))], "text": chain})
    few = frame["prompt_id"][1:]
    assert set(beside_others(lambda: frame.iter_slices(2), few, Embed())) == {f"p{i}" for i in reached - {0}}
    assert len(reached) > 2
    assert not near[0, max(reached)]


def _vectors(texts: list[str]) -> Floats:
    table = embed.embed(texts, Embed())
    column = table["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(texts), -1)


def test_a_system_turn_that_all_share_does_not_make_them_alike() -> None:
    texts = prompts()
    long = "You are a careful assistant who answers politely and in full sentences. " * 6
    found = split([write(Path("p.parquet"), list(texts), long)], 0.2, Embed())
    assert len(found.test) > 10
    assert found.moved == 0


def test_prompts_known_by_their_id_are_split_by_it() -> None:
    found = made([None] * 200)
    assert set(found.test) == {f"bare{i:03d}" for i in range(200) if ids.uniform_of(0, f"bare{i:03d}") < 0.2}
    assert not found.prompts["known"].any()


def test_a_prompt_of_several_tables_is_on_one_side() -> None:
    texts = prompts()
    files = [write(Path("a.parquet"), list(texts[:80])), write(Path("b.parquet"), list(texts[40:]))]
    assert set(split(files, 0.2, Embed()).test) == {id_of(text) for text in texts if is_drawn(text, 0.2)}


def test_test_is_no_larger_than_it_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MOST", 5)
    texts = prompts()
    assert set(made(list(texts)).test) == {id_of(text) for text in texts if is_drawn(text, 5 / len(texts))}


def test_a_few_prompts_are_all_trained_on() -> None:
    one = next(text for text in prompts() if is_drawn(text, 0.2))
    assert made([one]).test.is_empty()


def test_without_a_share_there_is_no_test_and_nothing_is_embedded(tmp_path: Path) -> None:
    assert made(list(prompts()), 0.0).test.is_empty()
    assert not (tmp_path / ".wim").exists()


def test_without_faiss_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(WimError, match=r"pip install faiss-cpu\); publish.test: 0 makes no split"):
        made(list(prompts()))


def test_the_order_of_the_prompts_changes_nothing() -> None:
    texts: list[str | None] = list(prompts())
    first = made(texts)
    random.Random(1).shuffle(texts)
    second = made(texts, name="other.parquet")
    assert first.test.equals(second.test)
