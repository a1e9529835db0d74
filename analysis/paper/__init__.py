"""The paper's tables and figures from our runs: what it printed, what we measured, and whether they agree."""
