"""Names in params.yaml are file names: ``load("ratings", "wim")`` is builder/ratings/wim.py."""

import importlib
import pkgutil
from types import ModuleType

from builder.errors import ParamsError


def names(kind: str) -> list[str]:
    """The plug-ins of a folder of builder/, sorted."""
    package = importlib.import_module(f"builder.{kind}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(kind: str, name: str) -> ModuleType:
    """The module ``builder/KIND/NAME.py``. Raises ParamsError with the names there are."""
    known = names(kind)
    if name not in known:
        raise ParamsError(f"no file {name!r} in builder/{kind}/; there are: {', '.join(known)}")
    return importlib.import_module(f"builder.{kind}.{name}")
