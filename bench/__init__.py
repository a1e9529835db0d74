"""Speed and memory, as ratios against peers and limits that are measured on the same machine and data.

`python -m bench` does all of it (docs/benchmarks.md); `audit`, `report` and `online` are scripts of their own.
"""
