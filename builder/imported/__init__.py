"""What `wim ingest` makes of records: one judgement each, which are sorted to their completions and prompts.

mapped.py     records under our names of fields
judgement.py  what one record says of its completion
collected.py  the prompts, completions and judgements of all records
grouped.py    which of them belong to one prompt_id
frames.py     the tables
"""
