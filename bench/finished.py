"""Makes the pipeline in the working directory look finished to DVC, without a stage being run.

python -m bench.finished
"""

from pathlib import Path

from dvc.repo import Repo

FOLDERS = {"policy": ("policy.json", "adapter.safetensors"), "dataset": ("README.md", "train.parquet")}
"""Outputs that are folders, and what stands in for their files."""


def main() -> None:
    with Repo(".") as repo:
        for out in (out for stage in repo.index.stages for out in stage.outs):
            stand_in(Path(out.fs_path))
        repo.commit(force=True)


def stand_in(out: Path) -> None:
    files = [out / name for name in FOLDERS[out.name]] if out.name in FOLDERS else [out]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}" if file.suffix == ".json" else str(file))


if __name__ == "__main__":
    main()
