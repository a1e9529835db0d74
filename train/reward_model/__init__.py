"""What a reward model learns from, and by which loss. train/reward.py puts it together."""
