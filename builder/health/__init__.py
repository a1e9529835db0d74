"""What a run tells of its ratings without any truth: figures, and limits beyond which nothing should be trusted.

``measure`` puts the figures together; ``limits`` says which of them speak against a rating (docs/health.md).
"""
