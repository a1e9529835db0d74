"""Learning while judging: what is asked, read, rated, kept and learned from within a training step."""
