"""Speed and memory, as ratios against peers and limits that are measured on the same machine and data.

`python -m bench` does all of it (docs/benchmarks.md); `audit`, `report` and `online` are scripts of their own,
`refine` and `learners` too (`python -m bench.learners`): what a round in the demo's world learns.
"""
