"""polars' reader of JSON lines.

python -m bench.against.polars_json FILE
"""

import sys

import polars as pl

if __name__ == "__main__":
    print(pl.read_ndjson(sys.argv[1]).height)
