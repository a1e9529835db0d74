"""Rating, pairs and tie statistics with pandas, row by row and prompt by prompt.

python -m bench.against.pandas_rows ROWS.parquet FOLDER
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bench.against import clock


def cosine(row: pd.Series) -> float:
    left, right = row["completion_embedding"], row["feedback_embedding"]
    return float(np.dot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right)))


def pair_of(group: pd.DataFrame) -> dict[str, object]:
    best, worst = group.loc[group["wim"].idxmax()], group.loc[group["wim"].idxmin()]
    prompt = [{"role": "user", "content": best["prompt"]}]
    return {
        "prompt_id": best["prompt_id"],
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": best["completion"]}],
        "rejected": [{"role": "assistant", "content": worst["completion"]}],
        "chosen_id": best["completion_id"],
        "rejected_id": worst["completion_id"],
        "chosen_feedback": best["feedback"],
        "rejected_feedback": worst["feedback"],
        "delta": best["wim"] - worst["wim"],
    }


def gaps(group: pd.DataFrame, column: str) -> list[float]:
    return [abs(a - b) for a, b in itertools.combinations(group[column], 2)]


def main(source: Path, folder: Path) -> None:
    frame = pd.read_parquet(source)
    frame["wim"] = frame.apply(cosine, axis=1)
    frame[["completion_id", "prompt_id", "rating", "wim"]].to_parquet(folder / "ratings.parquet")
    pairs, between = [], {"wim": list[float](), "rating": list[float]()}
    for _, group in frame.groupby("prompt_id"):
        pairs.append(pair_of(group))
        for column, found in between.items():
            found += gaps(group, column)
    pd.DataFrame(pairs).to_parquet(folder / "pairs.parquet")
    stats = {
        name: {
            "tie_rate": np.mean(np.array(found) < 1e-9),
            "average_delta": np.mean(found),
            "mean": frame[name].mean(),
            "std": frame[name].std(ddof=0),
            "skewness": frame[name].skew(),
        }
        for name, found in between.items()
    }
    pd.DataFrame(stats).to_json(folder / "stats.json")


if __name__ == "__main__":
    started = clock.start()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    clock.tell(started)
