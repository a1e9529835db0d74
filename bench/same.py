"""Whether two ways came to the same: prints one JSON object.

python -m bench.same vectors EMBEDDINGS.parquet RUN VECTORS.npy    the largest difference of two numbers
python -m bench.same pairs PAIRS.parquet THEIRS.parquet            the share of their pairs that are ours, too
"""

import json
import sys
from pathlib import Path


def vectors(ours: Path, run: Path, theirs: Path) -> dict[str, float]:
    """``difference`` of numbers, ``angle`` as 1 - cosine, both the largest over all texts."""
    import numpy as np
    import pyarrow.parquet as pq

    from builder.ids import text_id

    table = pq.read_table(ours)
    place = {name: i for i, name in enumerate(table["text_id"].to_pylist())}
    flat = table["embedding"].combine_chunks().flatten().to_numpy()
    wanted = [place[text_id(text)] for text in texts_of(run)]
    left = flat.reshape(len(table), -1)[wanted].astype(np.float64)
    right = np.load(theirs).astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    angle = 1 - (left * right).sum(axis=1) / lengths
    return {"difference": float(np.abs(left - right).max()), "angle": float(angle.max())}


def texts_of(run: Path) -> list[str]:
    """All texts of a run: the completions, then what is missing."""
    import polars as pl

    completions = pl.read_parquet(run / "completions.parquet", columns=["text"])["text"]
    return [*completions, *pl.read_parquet(run / "feedback.parquet", columns=["wim"])["wim"]]


def pairs(ours: Path, theirs: Path) -> dict[str, float]:
    import polars as pl

    columns = ["prompt_id", "chosen_id", "rejected_id"]
    wanted = pl.read_parquet(theirs, columns=columns)
    found = wanted.join(pl.read_parquet(ours, columns=columns), on=columns, how="semi")
    return {"pairs": len(wanted), "same": len(found) / len(wanted)}


if __name__ == "__main__":
    kind, *files = sys.argv[1:]
    found = vectors(*map(Path, files)) if kind == "vectors" else pairs(*map(Path, files))
    print(json.dumps(found))
