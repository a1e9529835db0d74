"""Two completions at a time, and how much better one is: ordinal labels, from much better to much worse."""

from builder.judges import pairwise


class Judge(pairwise.Judge):
    """``judge.compare.grades`` 5 (or 4 without a tie): grades from -2 to 2; 7 (or 6): from -3 to 3."""

    def steps(self) -> int:
        return (self.compare.grades or 5) // 2
