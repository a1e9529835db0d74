"""The columns of each table, and their types."""

from collections.abc import Mapping

import pyarrow as pa

ROW_GROUP = 65_536
"""Rows that are written, and read, at once."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def _schema(required: Mapping[str, pa.DataType], optional: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=False) for name, kind in required.items()]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in (optional or {}).items()])


def _ordered(order: str, schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in order.split()])


_TEXT, _NUMBER = pa.string(), pa.float64()

SCHEMAS: dict[str, pa.Schema] = {
    "prompts": _schema({"prompt_id": _TEXT, "messages": MESSAGES, "source": _TEXT}, {"reference": _TEXT}),
    "completions": _ordered(
        "completion_id prompt_id index text finish_reason tokens policy",
        _schema(
            {"completion_id": _TEXT, "prompt_id": _TEXT, "index": pa.int16(), "text": _TEXT}
            | {"finish_reason": _TEXT, "policy": _TEXT},
            {"tokens": pa.int32()},
        ),
    ),
    "feedback": _ordered(
        "completion_id judge attempt raw rating rating_status wim wim_status reason scale_min scale_max",
        _schema(
            {"completion_id": _TEXT, "judge": _TEXT, "attempt": pa.int16()}
            | {"rating_status": _TEXT, "wim_status": _TEXT},
            {"raw": _TEXT, "rating": _NUMBER, "wim": _TEXT, "reason": _TEXT}
            | {"scale_min": _NUMBER, "scale_max": _NUMBER},
        ),
    ),
    "comparisons": _ordered(
        "prompt_id a b judge order attempt raw verdict grade most reason",
        _schema(
            {"prompt_id": _TEXT, "a": _TEXT, "b": _TEXT, "judge": _TEXT}
            | {"order": pa.int8(), "attempt": pa.int16(), "most": pa.int8()},
            {"raw": _TEXT, "verdict": _TEXT, "grade": pa.int8(), "reason": _TEXT},
        ),
    ),
    "ratings": _ordered(
        "completion_id prompt_id judge rating R wim wim_10 missingness length reward ratable reason",
        _schema(
            {"completion_id": _TEXT, "prompt_id": _TEXT, "judge": _TEXT}
            | {"length": pa.int32(), "ratable": pa.bool_()},
            dict.fromkeys(("rating", "R", "wim", "wim_10", "missingness", "reward"), _NUMBER) | {"reason": _TEXT},
        ),
    ),
    "pairs": _ordered(
        "pair_id prompt_id prompt chosen rejected score_chosen score_rejected delta chosen_id rejected_id "
        "chosen_rating rejected_rating chosen_wim rejected_wim chosen_feedback rejected_feedback "
        "chosen_status rejected_status judge method round arm",
        _schema(
            {"pair_id": _TEXT, "prompt_id": _TEXT, "prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES}
            | dict.fromkeys(("score_chosen", "score_rejected", "delta"), _NUMBER)
            | dict.fromkeys(("chosen_id", "rejected_id", "chosen_status", "rejected_status"), _TEXT)
            | {"judge": _TEXT, "method": _TEXT, "round": pa.int32(), "arm": _TEXT},
            dict.fromkeys(("chosen_rating", "rejected_rating", "chosen_wim", "rejected_wim"), _NUMBER)
            | {"chosen_feedback": _TEXT, "rejected_feedback": _TEXT},
        ),
    ),
    "sft": _schema(
        {"row_id": _TEXT, "prompt": MESSAGES, "completion": MESSAGES, "prompt_id": _TEXT, "completion_id": _TEXT}
        | {"other_id": _TEXT, "feedback": _TEXT},
        {"score": _NUMBER},
    ),
    "evaluation": _schema({"prompt_id": _TEXT, "completion_id": _TEXT}, {"value": _NUMBER}),
    "route": _schema(
        dict.fromkeys(("prompt_id", "chosen_id", "rejected_id"), _TEXT) | {"delta": _NUMBER, "uncertainty": _NUMBER},
        dict.fromkeys(("small", "readings", "judges"), _NUMBER),
    ),
    "training": _schema({"step": pa.int32(), "name": _TEXT, "value": _NUMBER}),
    "throughput": _schema({"step": pa.int32(), "tokens": pa.int64(), "seconds": _NUMBER, "tokens_per_second": _NUMBER}),
}
SCHEMAS["heldout"] = SCHEMAS["prompts"]


def embeddings_schema(dimensions: int) -> pa.Schema:
    """The embeddings table for vectors of ``dimensions`` float32 numbers."""
    return _schema(
        {"text_id": _TEXT, "embedding": pa.list_(pa.float32(), dimensions)}
        | {"tokens": pa.int32(), "truncated": pa.bool_()}
    )
