"""Vectors of the run and of the audit: what lacks one is embedded on demand, and no two models are mixed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.audit.held import Held
from builder import params
from builder.errors import TableError

TEXTS = pl.Series(["Describe the heron.", "Describe the otter.", None, "Describe the heron."])


def held_text(run: Path) -> str:
    return str(pl.read_parquet(run / "completions.parquet")["text"][0])


def test_what_lacks_a_vector_is_embedded_and_the_rest_is_not(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = params.load(None)
    without, with_ = Held(run, given, False), Held(run, given, True)
    known = pl.Series([held_text(run)])
    for held in (without, with_):
        assert held.lacking([known]) == 0
        held.want([TEXTS, known])
    assert without.lacking([TEXTS]) == 2
    assert with_.lacking([TEXTS]) == 0
    assert [len(store.keys) for store in with_.stores][1:] == [2]
    found = with_(pl.concat([TEXTS, known]))
    assert np.isnan(found[2]).all()
    assert np.array_equal(found[0], found[3])
    assert np.linalg.norm(found[[0, 1, 4]], axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.array_equal(found[4], without(known)[0])
    with pytest.raises(TableError, match="no vector for"):
        with_(pl.Series(["nobody said this"]))
    with_.close()


def test_vectors_of_another_model_are_not_mixed_with_new_ones(run: Path) -> None:
    assert Held(run, params.load(None, ["embed.prompt='query: '"]), True).stores == []
    assert len(Held(run, params.load(None, ["embed.prompt='query: '"]), False).stores) == 1
    assert len(Held(run, params.load(None, ["embed.batch_size=8"]), True).stores) == 1


def test_a_run_without_embeddings_lacks_them_all(tmp_path: Path) -> None:
    held = Held(tmp_path, params.load(None), False)
    assert held.lacking([TEXTS]) == 2
    assert held.lacking([]) == 0


def test_prompt_similarity_comes_with_embed(
    run: Path, wim: Callable[..., int], write_jsonl: Callable[..., Path]
) -> None:
    ids = pl.read_parquet(run / "completions.parquet", columns=["prompt_id", "completion_id"])
    gold = [{"prompt_id": p, "completion_id": c, "rating": i % 3} for i, (p, c) in enumerate(ids.iter_rows())]
    truth = write_jsonl(gold, "truth.jsonl")
    assert wim("audit", run, "--truth", truth, "--embed", "-o", "page.html") == 0
    assert "prompt_similarity" in Path("page.html").read_text()
