"""Builds preference datasets from what a judge says is missing in completions."""

__version__ = "0.1.0"
