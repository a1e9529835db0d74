"""Each warning is drawn by a run that has its fault, and none by a run that has no fault."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from builder import cli, neighbours, screen, tables
from builder.health import generic, limits, measure, quotes

PROMPTS, EACH = 40, 4
WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("arn", "ell", "ist", "ock", "umb", "ane", "orp", "ith")]
Frame = pl.DataFrame
Wim = Callable[..., int]


def made(judges: tuple[str, ...] = ("j",), noise: float = 0.3) -> tuple[Frame, Frame, Frame]:
    """Completions, feedback and ratings of a healthy run: number and WIM follow quality, and nothing else does."""
    draw = np.random.default_rng(7)

    def words(least: int, most: int) -> list[str]:
        return [" ".join(draw.choice(WORDS, draw.integers(least, most))) for _ in range(PROMPTS * EACH)]

    prompts = [f"p{i // EACH:03d}" for i in range(PROMPTS * EACH)]
    ids = [f"{prompt}-{i % EACH:02d}" for i, prompt in enumerate(prompts)]
    quality = draw.normal(0, 1, len(ids))
    completions = Frame({"completion_id": ids, "prompt_id": prompts, "text": words(20, 60)})
    feedback, ratings = [], []
    for judge in judges:
        said = {"completion_id": ids, "judge": judge, "attempt": 0, "wim": words(10, 30), "wim_status": "missing"}
        feedback.append(Frame(said | {"rating_status": "ok", "reason": pl.Series([None] * len(ids), dtype=pl.String)}))
        number = np.clip(np.round(6 + 2 * (quality + draw.normal(0, noise, len(ids)))), 1, 10)
        wim = 0.3 + 0.1 * (quality + draw.normal(0, noise, len(ids)))
        rated = {"completion_id": ids, "prompt_id": prompts, "judge": judge, "rating": number, "wim": wim}
        ratings.append(Frame(rated | {"reward": wim, "reason": pl.Series([None] * len(ids), dtype=pl.String)}))
    return completions, pl.concat(feedback), pl.concat(ratings)


def summary(completions: Frame, feedback: Frame, ratings: Frame, truncated: int = 0) -> dict[str, Any]:
    """As stats.json; a text's vector counts its words."""
    said = feedback.filter(wim_status="missing").join(completions, on="completion_id", maintain_order="left")
    place = {word: i for i, word in enumerate(sorted({w for text in said["wim"] for w in text.split()}))}
    vectors = np.zeros((len(said), len(place)), np.float32)
    for row, text in enumerate(said["wim"]):
        for word in text.split():
            vectors[row, place[word]] += 1
    near = generic.near_duplicates(said["wim"], said["prompt_id"], vectors)
    found = measure.measure(completions, feedback, ratings, near)
    return {"health": found, "completions": {"total": len(completions), "truncated_for_embedding": truncated}}


def warned(*frames: Frame, **more: Any) -> list[str]:
    return limits.warnings(summary(*frames, **more))


def test_a_healthy_run_draws_no_warning() -> None:
    assert warned(*made()) == []
    assert warned(*made(("j#0", "j#1", "other"))) == []


def test_a_rating_that_counts_letters_is_named() -> None:
    completions, feedback, ratings = made()
    letters = completions["text"].str.len_chars().cast(pl.Float64)
    (warning,) = warned(completions, feedback, ratings.with_columns(reward=letters))
    assert warning.startswith("The run's reward is higher for a longer completion (rank correlation +1.00 within")
    assert "160 judgements; limit 0.5" in warning
    said = -feedback["wim"].str.len_chars().cast(pl.Float64)
    found = warned(completions, feedback, ratings.with_columns(wim=said, reward=said))
    assert found[0].startswith("WIM is lower for a longer feedback (rank correlation -1.00")
    assert not [warning for warning in found if "reward" in warning]  # it is WIM, and has been told


def test_a_length_that_differs_between_prompts_only_is_no_fault() -> None:
    completions, feedback, ratings = made()
    prompt = completions["prompt_id"].str.tail(3).cast(pl.Int64)
    long = Frame({"text": [f"{'word ' * (5 + n)}{'a' * (i % EACH)}" for i, n in enumerate(prompt)]})
    number = prompt.cast(pl.Float64) + ratings["rating"] / 10
    found = summary(completions.with_columns(long), feedback, ratings.with_columns(rating=number, reward=number))
    length = found["health"]["length"]["completion"]["numerical"]
    assert length["overall"] > 0.9
    assert abs(length["within"]) < 0.3
    assert limits.warnings(found) == []


@pytest.mark.parametrize(("sign", "words"), [(0, "knows next to nothing of"), (-1, "orders completions against")])
def test_words_that_know_nothing_of_the_number_are_named(sign: int, words: str) -> None:
    completions, feedback, ratings = made()
    wim = np.random.default_rng(1).permutation(ratings["wim"]) if sign == 0 else -ratings["wim"].to_numpy()
    (warning,) = warned(completions, feedback, ratings.with_columns(wim=pl.Series(wim)))
    assert warning.startswith(f"WIM {words} the same judge's number")


def test_feedback_that_fits_every_prompt_is_named_with_its_words() -> None:
    completions, feedback, ratings = made()
    phrase = "The answer could use more details and a few concrete examples."
    every_third = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit(phrase)).otherwise("wim").alias("wim")
    found = summary(completions, feedback.with_columns(every_third), ratings)
    assert found["health"]["generic"] == {
        "share": pytest.approx(54 / 160),
        "n": 160,
        "texts": [{"words": phrase, "judgements": 54, "prompts": 40}],
    }
    (warning,) = limits.warnings(found)
    assert warning.startswith("Feedback is generic: 34% of 160 texts")
    assert phrase in warning


def test_texts_repeated_within_a_prompt_are_not_generic() -> None:
    vectors = np.repeat(np.eye(5, dtype=np.float32), 4, axis=0)
    texts, prompts = pl.Series([f"t{i}" for i in range(20)]), pl.Series([f"p{i // 4}" for i in range(20)])
    assert generic.near_duplicates(texts, prompts, vectors) == {"share": 0.0, "n": 20, "texts": []}


def test_near_duplicates_are_those_of_all_cosines() -> None:
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(1200, 3)).astype(np.float32) * draw.uniform(0.1, 9, (1200, 1)).astype(np.float32)
    vectors[5] = 0
    prompts = draw.integers(0, 300, 1200)
    found = generic.near_duplicates(pl.Series(["t"] * 1200), pl.Series([f"p{p}" for p in prompts]), vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    near = (units @ units.T > neighbours.NEAR) & (prompts[:, None] != prompts[None, :])
    assert found["share"] == pytest.approx(near.any(1).mean(), abs=1e-6)
    assert found["texts"][0]["judgements"] == pytest.approx(near.sum(1).max() + 1, abs=3)


def test_without_faiss_the_share_is_said_to_be_unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    found = summary(*made())
    assert "FAISS is not installed" in found["health"]["generic"]["unmeasured"]
    assert limits.warnings(found) == []


def test_feedback_that_quotes_is_named() -> None:
    completions, feedback, ratings = made()
    quoted = "It says: " + completions["text"].str.split(" ").list.head(9).list.join(" ").str.to_uppercase()
    quoting = pl.when(pl.int_range(pl.len()) % 2 == 0).then(quoted).otherwise("wim").alias("wim")
    found = summary(completions, feedback.with_columns(quoting), ratings)
    assert found["health"]["quotes"] == {"share": 0.5, "words": pytest.approx(9 / 11, abs=1e-6), "n": 160}
    (warning,) = limits.warnings(found)
    assert warning.startswith("Feedback quotes: 50% of 160 texts repeat eight words")


def test_seven_words_in_a_row_are_no_quotation() -> None:
    completion = pl.Series(["a b c d e f g h i"])
    shares = [
        quotes.quoting(pl.Series([text]), completion)["share"] for text in ("x b c d e f g h", "b, C d e f g h i!")
    ]
    assert shares == [0.0, 1.0]
    assert quotes.quoting(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String))["share"] is None


def test_a_judge_that_does_not_repeat_itself_is_named() -> None:
    completions, feedback, ratings = made(("j#0", "j#1", "j#2", "k"), noise=0.0)
    draw = np.random.default_rng(5)
    shuffled = {name: pl.Series(draw.permutation(ratings[name])) for name in ("rating", "wim")}
    again = [pl.when(judge="j#1").then(column).otherwise(name).alias(name) for name, column in shuffled.items()]
    found = summary(completions, feedback, ratings.with_columns(again))
    retest = found["health"]["retest"]
    assert list(retest) == ["j"]
    assert (retest["j"]["completions"], retest["j"]["askings"], retest["j"]["wim"]["n"]) == (160, 3, 160)
    number, text = limits.warnings(found)
    assert number.startswith("Asked again, judge j does not repeat its number: Krippendorff's alpha 0.3")
    assert text.startswith("Asked again, judge j does not repeat its WIM")


def test_an_order_that_does_not_come_again_is_named_though_prompts_differ() -> None:
    completions, feedback, ratings = made(("j#0", "j#1"))
    prompt = ratings["prompt_id"].str.tail(3).cast(pl.Int64)
    draw = np.random.default_rng(5).normal(0, 1, len(ratings))
    found = summary(completions, feedback, ratings.with_columns(rating=prompt + pl.Series(draw)))
    figures = found["health"]["retest"]["j"]["rating"]
    assert figures["alpha"] > 0.9
    assert abs(figures["within"]) < 0.4
    assert any("orders a prompt's completions otherwise by its number" in w for w in limits.warnings(found))


def test_attempts_are_no_repetition() -> None:
    completions, feedback, ratings = made()
    found = summary(completions, feedback.with_columns(attempt=pl.lit(1)), ratings)
    assert found["health"]["retest"] == {}
    assert found["health"]["judges"]["j"]["asked_again"] == 160


def test_what_could_not_be_read_is_told_by_judge() -> None:
    completions, feedback, ratings = made(("bad", "good#0", "good#1"))
    first = pl.int_range(pl.len()).over("judge")
    unread = (pl.col("judge") == "bad") & (first < 40)
    feedback = feedback.with_columns(
        wim=pl.when(~unread).then("wim"),
        wim_status=pl.when(unread).then(pl.lit("unreadable")).otherwise("wim_status"),
        reason=pl.when(unread & (first < 10)).then(pl.lit("placeholder")),
        rating_status=pl.when((pl.col("judge") == "good#1") & (first < 64))
        .then(pl.lit("unreadable"))
        .otherwise("rating_status"),
    )
    found = summary(completions, feedback, ratings)
    assert found["health"]["judges"] == {
        "good": {"judgements": 320, "unreadable": 0, "placeholder": 0, "rating_unreadable": 64, "asked_again": 0},
        "bad": {"judgements": 160, "unreadable": 40, "placeholder": 10, "rating_unreadable": 0, "asked_again": 0},
    }
    assert limits.warnings(found) == [
        "Of judge good, 20% of 320 numbers could not be read (limit 10%).",
        "Of judge bad, 25% of 160 texts could not be read (limit 10%).",
        "Of judge bad, 6% of 160 texts repeat the placeholder of the format (limit 5%).",
    ]


def test_many_judges_stay_few_lines() -> None:
    feedback = made()[1].with_columns(judge=pl.format("annotator {}", pl.int_range(pl.len())))
    found = measure.judges(feedback)
    assert len(found) == 21
    assert found[measure.OTHERS]["judgements"] == 140


def test_completions_that_the_embedder_cuts_are_named() -> None:
    (warning,) = warned(*made(), truncated=48)
    assert warning.startswith("The embedder has not read the end of 30% of 160 completions")


def test_an_embedder_that_orders_otherwise_is_named() -> None:
    found = summary(*made())
    found["health"]["embedders"] = {"tiny": {"within": 0.31, "overall": 0.9, "n": 200}, "few": {"within": 0, "n": 9}}
    (warning,) = limits.warnings(found)
    assert warning.startswith("WIM depends on the embedder: with tiny it orders the same texts otherwise")


def test_runs_with_the_same_fault_are_told_together() -> None:
    first, second = (summary(*made(), truncated=cut) for cut in (48, 80))
    assert limits.told({"a": first, "b": summary(*made()), "c": second, "d": second}) == [
        f"a: {limits.warnings(first)[0]} Likewise: c; d."
    ]
    assert limits.told({"a": first, "c": second, "d": second}) == [
        f"a: {limits.warnings(first)[0]} Likewise in all others."
    ]
    assert limits.told({"a": first}) == limits.warnings(first)


def test_a_small_or_empty_run_warns_of_nothing() -> None:
    completions, feedback, ratings = made()
    unread = feedback.with_columns(wim=pl.lit(None, pl.String), wim_status=pl.lit("unreadable"))[:20]
    bad = ratings.with_columns(wim=-pl.col("wim"))[:20]
    small = measure.measure(completions, unread, bad, None)
    assert limits.warnings({"health": small, "completions": {"total": 20, "truncated_for_embedding": 20}}) == []
    nothing = measure.measure(completions[:0], feedback[:0], ratings[:0], None)
    assert limits.warnings({"health": nothing, "completions": {"total": 0, "truncated_for_embedding": None}}) == []
    assert limits.warnings({"completions": {}}) == []


PHRASE = "The answer leaves out a few details and some examples."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported run of the real embedder, a quarter of whose feedback is generic; not to be changed."""
    folder = tmp_path_factory.mktemp("built")
    completions, feedback, ratings = made()
    rows = completions.join(feedback.drop("reason"), on="completion_id").join(ratings, on="completion_id").to_dicts()
    records = [
        {"prompt_id": row["prompt_id"], "completion": row["text"], "rating": row["rating"], "judge": "j\x1b[31m"}
        | {"feedback": PHRASE if row["completion_id"].endswith("0") else row["wim"]}
        for row in rows[:64]
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, records)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cli.main(["build", "in.jsonl", "--out", "run", "--json"])
    return folder / "run"


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A copy of the run to work on."""
    return shutil.copytree(built, tmp_path / "run")


def test_stats_shows_the_figures_and_says_the_warnings(run: Path, wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    assert wim("pair", "run") == 0
    assert "warning: Feedback is generic: 25% of 64 texts" in capsys.readouterr().out
    assert wim("stats", "run") == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("health"))
    assert "generic" in lines[head]
    assert "25.0%" in lines[head + 1].split()
    assert "warning: Feedback is generic: 25% of 64 texts" in page
    assert "\x1b" not in page
    assert wim("stats", "run", "--json") == 0
    said = json.loads(capsys.readouterr().out)["run"]["health"]
    assert any(PHRASE in warning for warning in said["warnings"])
    assert said["generic"]["texts"] == [{"judgements": 16, "prompts": 16, "words": PHRASE}]
    kept = tables.read_json(run / "stats.json")["health"]
    assert kept == {name: value for name, value in said.items() if name not in ("embedders", "warnings")}


def test_a_run_without_health_is_shown_as_before(run: Path, wim: Wim, capsys: pytest.CaptureFixture[str]) -> None:
    stats = tables.read_json(run / "stats.json")
    del stats["health"]
    tables.write_json(run / "stats.json", stats)
    capsys.readouterr()
    assert wim("stats", "run") == 0
    page = capsys.readouterr().out
    assert page.strip() == screen.table({"run": stats}).strip()
    assert "warning" not in page


def tiny(folder: Path) -> Path:
    """A sentence-transformers model that knows letters only: character tokens, random weights, no training."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir()
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,"]
    letters += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(letters))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    import torch

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    word = Transformer(str(folder), max_seq_length=64)
    model = SentenceTransformer(modules=[word, Pooling(word.get_embedding_dimension())])
    model.save(str(folder.parent / "tiny"))
    return folder.parent / "tiny"


def test_another_embedder_is_compared_kept_and_forgotten_with_the_ratings(
    run: Path, wim: Wim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny(tmp_path / "parts")
    capsys.readouterr()
    assert wim("stats", "run", "--embedder", "minilm", "--set", "embed.truncation=chunk", "--json") == 0
    assert wim("stats", "run", "--embedder", other, "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["run"]["health"]
    assert set(found["embedders"]) == {"minilm, chunk", "tiny, truncate"}
    same = found["embedders"]["minilm, chunk"]
    assert (same["n"], same["within"]) == (64, pytest.approx(1, abs=1e-3))
    assert abs(found["embedders"]["tiny, truncate"]["within"]) < 0.7
    assert any("with tiny, truncate it orders the same texts otherwise" in warning for warning in found["warnings"])
    assert str(tmp_path) not in (run / "embedders.json").read_text()
    assert wim("stats", "run", "--embedder", tmp_path / "nowhere") == 1
    assert wim("rate", "run", "--set", "rating.rescale=true") == 0
    capsys.readouterr()
    assert wim("stats", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"]["health"]["embedders"] == {}
