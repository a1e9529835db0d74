"""A training as a program: processes, machine, checkpoints, progress, and what is logged."""
