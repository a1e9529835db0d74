"""The schemas of the tables, and their reading and writing.

schemas.py  the columns of each table
reading.py  tables by path and name, whole or block by block
writing.py  tables that appear whole, with the same bytes from the same inputs
making.py   what a table says of its making
files.py    any file, written all or not at all
"""

from builder.tables.files import (
    damaged,
    first_line,
    publish_file,
    read_json,
    temporary_of,
    told,
    write_bytes,
    write_json,
    write_text,
)
from builder.tables.making import LIBRARIES, check_made_from, check_unchanged, fingerprints, metadata, read_metadata
from builder.tables.reading import (
    as_frame,
    batches,
    check_prompted,
    detached,
    find,
    open_parquet,
    path,
    read,
    read_nothing,
    uncompressed,
)
from builder.tables.schemas import MESSAGES, ROW_GROUP, SCHEMAS, embeddings_schema
from builder.tables.writing import write, write_blocks, writer

__all__ = [
    "LIBRARIES", "MESSAGES", "ROW_GROUP", "SCHEMAS", "as_frame", "batches", "check_made_from", "check_prompted",
    "check_unchanged", "damaged", "detached", "embeddings_schema", "find", "fingerprints", "first_line", "metadata",
    "open_parquet", "path", "publish_file", "read", "read_json", "read_metadata", "read_nothing", "temporary_of",
    "told", "uncompressed", "write", "write_blocks", "write_bytes", "write_json", "write_text", "writer",
]  # fmt: skip
