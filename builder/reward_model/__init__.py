"""Reward models: how one is built, stored, loaded, and what it gives a completion. Trained by `wim train reward`."""
