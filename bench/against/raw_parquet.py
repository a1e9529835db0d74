"""The limit: Parquet in and out, the tables that rate and pair read, in their own encoding, and nothing else.

python -m bench.against.raw_parquet RUN FOLDER
"""

import sys
from pathlib import Path

from builder import tables

READ = ("prompts", "completions", "feedback", "embeddings")


def main(run: Path, folder: Path) -> None:
    for name in READ:
        source = tables.open_parquet(tables.path(run, name), streamed=True)
        with tables.writer(tables.path(folder, name), source.schema_arrow, {}) as out:
            for batch in source.iter_batches(tables.ROW_GROUP):
                out.write_batch(batch)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
