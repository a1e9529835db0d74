"""Tables and vectors that are larger than memory, read and put in order some rows at a time."""
