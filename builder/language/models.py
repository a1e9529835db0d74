"""Language models by name or folder: what they are, and how they are loaded."""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.errors import EngineError
from builder.ids import file_sha256
from builder.tables import first_line

ROOT = Path(__file__).parents[2]
SMALL = 20_000_000


def resolve(name: str) -> str:
    """A model's name on the Hub, or its folder; what ships with the project is found from anywhere."""
    shipped = ROOT / name
    return str(shipped) if not Path(name).exists() and shipped.is_dir() else name


def label(name: str) -> str:
    """A model's name for a table's metadata, in which no path may stand."""
    folder = Path(resolve(name))
    return folder.name if folder.is_dir() or folder.is_absolute() else name


def identity(name: str, revision: str | None) -> dict[str, Any]:
    """What tells two models apart: the content of a folder, or the name and revision on the Hub."""
    folder = Path(resolve(name))
    if not folder.is_dir():
        return {"name": name, "revision": revision}
    kinds = (".json", ".safetensors", ".jinja")
    files = sorted(file for file in folder.iterdir() if file.suffix in kinds)
    return {"files": {file.name: file_sha256(file)[:32] for file in files}}


def load(name: str, revision: str | None, dtype: str, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """Tokenizer and causal language model, on the GPU if there is one. Weights load from safetensors only.

    ``dtype`` is a name in torch. Raises EngineError if it cannot be loaded or has no chat template.
    """
    with lean():
        return _load(name, {"revision": revision, "trust_remote_code": trust_remote_code}, dtype)


def load_scoring(name: str, revision: str | None, dtype: str, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """As ``load``, with a new layer ``score`` of one output in the place of the language model's head."""
    with lean(), _silent():
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        tokenizer, model = _load(name, options, dtype, "AutoModelForSequenceClassification", num_labels=1)
    if not hasattr(model, "score"):
        raise EngineError(f"model {name}: has no layer 'score' as a decoder's sequence classification has")
    return tokenizer, model


def tokenizer(name: str, revision: str | None, trust_remote_code: bool = False) -> Any:
    """The model's tokenizer. Raises EngineError if it cannot be loaded or has no chat template."""
    from transformers import AutoTokenizer

    with _told(name):
        loaded = AutoTokenizer.from_pretrained(resolve(name), revision=revision, trust_remote_code=trust_remote_code)
    if loaded.chat_template is None:
        raise EngineError(f"model {name}: its tokenizer has no chat template")
    return loaded


def _load(
    name: str, options: dict[str, Any], dtype: str, kind: str = "AutoModelForCausalLM", **more: Any
) -> tuple[Any, Any]:
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    chats = tokenizer(name, options["revision"], options["trust_remote_code"])
    with _told(name):
        model = getattr(transformers, kind).from_pretrained(
            resolve(name), dtype=getattr(torch, dtype), use_safetensors=True, **options, **more
        )
    if not torch.cuda.is_available() and sum(p.numel() for p in model.parameters()) < SMALL:
        # More threads would wait for each other longer than they work, and spin while they wait.
        torch.set_num_threads(1)
    return chats, model.to("cuda" if torch.cuda.is_available() else "cpu")


def context(model: Any) -> int:
    """How many tokens the model reads at most."""
    return int(getattr(model.config, "max_position_embeddings", None) or 1 << 30)


def add_adapter(model: Any, folder: Path, name: str = "default") -> None:
    """Load an adapter into ``model`` and turn it on. Raises EngineError if it does not fit."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.set_verbosity_error()  # it tells a misfit on twenty lines before it raises
    try:
        model.load_adapter(str(folder), adapter_name=name)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EngineError(f"adapter {folder}: does not fit the model: {first_line(error)}") from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the report that a new layer's weights are not in the file, which is as it should be."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What keeps a model from loading, in one line."""
    from jinja2 import TemplateError
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError, TemplateError) as error:
        raise EngineError(f"model {name}: cannot be loaded: {first_line(error)}") from error


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """For imports around transformers: a third of their time goes elsewhere.

    Left out: the garbage collector's walks through what is being loaded, and scikit-learn and scipy,
    which transformers imports where it finds them, for assisted generation and object detection.
    """
    import transformers.utils

    transformers.utils.is_sklearn_available = lambda: False
    transformers.utils.is_scipy_available = lambda: False
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
