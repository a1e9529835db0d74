"""How many threads torch computes with."""

from typing import Any

SMALL = 20_000_000


def suit(model: Any) -> None:
    """One thread for a small model on the CPU: more of them wait for each other longer than they work.

    On a machine that is shared the difference is tenfold, since waiting threads spin.
    """
    import torch

    if model.device.type == "cpu" and sum(p.numel() for p in model.parameters()) < SMALL:
        torch.set_num_threads(1)
