"""The losses of a reward model side by side, on graded preferences of people and judges and in the demo's world."""
