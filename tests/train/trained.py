"""What the tests of training share: pairs to train on, and what a training leaves."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from safetensors.torch import load_file

from builder import ids, tables

SMALL = ("--set", "train.batch=8", "--set", "train.device_batch=4", "--set", "train.learning_rate=1e-3")


def make_pairs(folder: Path, count: int = 24, prompted: bool = True) -> None:
    rows = []
    for i in range(count):
        prompt = [{"role": "user", "content": f"Describe the thing number {i}."}]
        rows.append(
            {"pair_id": f"{i:016d}", "prompt_id": ids.prompt_id(prompt), "prompt": prompt if prompted else []}  # type: ignore[arg-type]
            | {"chosen": [{"role": "assistant", "content": f"It is grey. It has {i} legs. It lives in the water."}]}
            | {
                "rejected": [{"role": "assistant", "content": "It is grey."}],
                "chosen_id": f"{i}-00",
                "rejected_id": f"{i}-01",
            }
            | {"score_chosen": 0.9, "score_rejected": 0.1, "delta": 0.8, "chosen_status": "missing"}
            | {"rejected_status": "missing", "judge": "mean", "method": "wim", "round": 0, "arm": ""}
        )
    empty = pl.from_arrow(tables.SCHEMAS["pairs"].empty_table())
    assert isinstance(empty, pl.DataFrame)
    tables.write(folder / "pairs.parquet", "pairs", pl.concat([empty, pl.DataFrame(rows)], how="diagonal_relaxed"), {})


def metric(run: Path, name: str) -> list[float]:
    return pl.read_parquet(run / "training.parquet").filter(pl.col("name") == name).sort("step")["value"].to_list()


def weights(run: Path) -> dict[str, Any]:
    return load_file(run / "policy/adapter_model.safetensors")


def is_written(state: Path) -> bool:
    """Whether a checkpoint's state is, to its end: one that is cut there is no checkpoint."""
    try:
        json.loads(state.read_text())
    except (OSError, ValueError):
        return False
    return True
