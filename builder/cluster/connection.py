"""The connection to Ray: the cluster of RAY_ADDRESS, or one on this machine that ends with this process."""

import atexit
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.errors import EngineError
from builder.language.models import ROOT
from builder.tables import first_line

STORE = 256 << 20
"""Bytes of shared memory for objects on a cluster of our own: it holds what is in flight, no more."""
LONGEST = 24
"""Characters of a folder for temporary files: a path of Ray's sockets is 75 longer, and may have 107."""
ANSWER = 10.0
"""Seconds in which a cluster has to answer."""
PREFIX, LOCK = "wim-ray-", "lock"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What Ray reads from the environment: nothing is sent home, and standard error is the progress line's."""

_ending = contextlib.ExitStack()


def connect() -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine; nothing where this process is connected already.

    Raises EngineError if Ray is not installed or cannot be reached.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        told = f"engine.scale: ray needs Ray ({error}): pip install -e '.[cluster]'"
        raise EngineError(told) from error
    if ray.is_initialized():
        return
    atexit.register(disconnect)  # Ray's own comes after it
    with _our_handlers():
        _start() if is_own() else _join(os.environ["RAY_ADDRESS"])
    _ending.callback(ray.shutdown)


def disconnect() -> None:
    """Leave the cluster; one of our own ends, and its folder goes."""
    _ending.close()


def is_own() -> bool:
    """Whether the cluster is this machine alone, for as long as this process lasts."""
    return os.environ.get("RAY_ADDRESS", "local") in ("", "local")


def _join(address: str) -> None:
    """The nodes work with this very code, whatever is installed there."""
    _check_answer(address)
    code = {"py_modules": [str(ROOT / "builder")], "excludes": ["__pycache__"]}
    _init(f"RAY_ADDRESS {address}: no cluster of Ray answers", address=address, runtime_env=code)


def _check_answer(address: str) -> None:
    """Ray itself would try for twenty minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", say
    try:
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=ANSWER).close()
    except OSError as error:
        told = "start one there by `ray start --head`, or leave RAY_ADDRESS out"
        raise EngineError(f"RAY_ADDRESS {address}: no cluster of Ray answers ({error}): {told}") from error


def _start() -> None:
    folder = _ending.enter_context(_temporary())
    with _python_path(str(ROOT)):
        _init(
            "Ray cannot start on this machine",
            address="local",
            include_dashboard=False,
            object_store_memory=STORE,
            _temp_dir=str(folder),
        )


def _init(told: str, **how: Any) -> None:
    import ray
    import ray._private.worker

    # Else it tells on standard output, where results go, of every node that is lost. There is no other switch.
    ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **how)
    except Exception as error:  # they have no class in common
        raise EngineError(f"{told}: {first_line(error)}") from error


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """A folder for Ray's logs and for what it spills. Those that a kill -9 left are removed first."""
    given = Path(tempfile.gettempdir())
    base = given if len(str(given)) <= LONGEST else Path("/tmp")
    for lock in base.glob(f"{PREFIX}*/{LOCK}"):
        _remove_left(lock)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    with (folder / "locking").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (folder / "locking").rename(folder / LOCK)  # whoever finds it finds it locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_left(lock: Path) -> None:
    with contextlib.suppress(OSError), lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.parent, ignore_errors=True)


@contextlib.contextmanager
def _python_path(folder: str) -> Iterator[None]:
    """``folder`` where the processes that are started look for modules first."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, before)))
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({"PYTHONPATH": before} if before is not None else {})


@contextlib.contextmanager
def _our_handlers() -> Iterator[None]:
    """Ray sets a handler of its own for SIGTERM, which ends the process without keeping what is finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
