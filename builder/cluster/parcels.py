"""Folders that a node may not have: an adapter, a small model. They travel through Ray's object store."""

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import EngineError
from builder.ids import file_sha256, fingerprint

LARGEST = 1 << 30
"""Bytes of a folder that travels. A larger one has to lie at the same path on every node."""


@dataclass(frozen=True)
class Parcel:
    """A folder of this machine. ``files``: a reference to their bytes by name, None where they do not travel."""

    path: Path
    content: str
    files: Any

    def here(self) -> Path:
        """The folder on the node that asks: the same path, or what was sent. Raises EngineError if it is neither."""
        if self.path.is_dir() and _content(self.path, self.files is not None) == self.content:
            return self.path
        if self.files is None:
            raise EngineError(
                f"{self.path} is on the machine that sends the work, and not on a node that is to do it: put it on a "
                "disk that all nodes share, or name a model on the Hub"
            )
        folder = _session() / self.content
        if not folder.is_dir():
            _unpack(self.files, folder)
        return folder


def pack(folder: Path, travels: bool) -> Parcel:
    """A parcel of the files in ``folder``, of which the bytes travel if they are wanted and not too many."""
    import ray

    folder = folder.resolve()
    files = _files(folder)
    travels = travels and sum(file.stat().st_size for file in files) <= LARGEST
    sent = ray.put({file.name: file.read_bytes() for file in files}) if travels else None
    return Parcel(folder, _content(folder, travels), sent)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _content(folder: Path, read: bool) -> str:
    """What is in a folder: names and bytes, or, of what would take long to read, names and sizes."""
    files = _files(folder)
    return fingerprint({file.name: file_sha256(file) if read else file.stat().st_size for file in files})


def _session() -> Path:
    """The node's folder for files of this session of Ray, with which they go."""
    import ray

    about = ray.get_runtime_context()
    return Path(str(about.get_temp_dir()), str(about.get_session_name()), "wim")


def _unpack(files: Any, folder: Path) -> None:
    """Several actors of a node may do it at once: the first to be ready gives the folder."""
    import ray

    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent))
    for name, content in ray.get(files).items():
        (making / name).write_bytes(content)
    with contextlib.suppress(OSError):  # another's is there
        making.rename(folder)
    shutil.rmtree(making, ignore_errors=True)
