"""Rating, pairs and tie statistics with `datasets.map`: row by row for the rating, four rows at a time for the pairs.

python -m bench.against.datasets_map ROWS.parquet FOLDER
"""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from bench.against import clock

EACH = 4


def cosine(row: dict[str, Any]) -> dict[str, float]:
    left, right = row["completion_embedding"], row["feedback_embedding"]
    return {"wim": float(np.dot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right)))}


def pair_of(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The rows of a prompt stand together."""
    best, worst = int(np.argmax(rows["wim"])), int(np.argmin(rows["wim"]))
    return {
        "prompt_id": [rows["prompt_id"][best]],
        "prompt": [[{"role": "user", "content": rows["prompt"][best]}]],
        "chosen": [[{"role": "assistant", "content": rows["completion"][best]}]],
        "rejected": [[{"role": "assistant", "content": rows["completion"][worst]}]],
        "chosen_id": [rows["completion_id"][best]],
        "rejected_id": [rows["completion_id"][worst]],
        "chosen_feedback": [rows["feedback"][best]],
        "rejected_feedback": [rows["feedback"][worst]],
        "delta": [rows["wim"][best] - rows["wim"][worst]],
        "gaps": [[abs(a - b) for a, b in itertools.combinations(rows["wim"], 2)]],
        "rating_gaps": [[abs(a - b) for a, b in itertools.combinations(rows["rating"], 2)]],
    }


def main(source: Path, folder: Path) -> None:
    rows = datasets.Dataset.from_parquet(str(source), cache_dir=str(folder / "cache"))
    rated = rows.with_format("numpy").map(cosine).with_format(None)
    rated = rated.remove_columns(["completion_embedding", "feedback_embedding"])
    rated.to_parquet(folder / "ratings.parquet")
    pairs = rated.map(pair_of, batched=True, batch_size=EACH, remove_columns=rated.column_names)
    pairs.remove_columns(["gaps", "rating_gaps"]).to_parquet(folder / "pairs.parquet")
    stats = {}
    for name, column in (("wim", "gaps"), ("rating", "rating_gaps")):
        values, between = np.array(rated[name]), np.concatenate(pairs[column])
        stats[name] = {
            "tie_rate": float(np.mean(between < 1e-9)),
            "average_delta": float(np.mean(between)),
            "mean": float(values.mean()),
            "std": float(values.std()),
            "skewness": float(((values - values.mean()) ** 3).mean() / values.std() ** 3),
        }
    (folder / "stats.json").write_text(json.dumps(stats))


if __name__ == "__main__":
    datasets.disable_progress_bars()
    started = clock.start()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    clock.tell(started)
