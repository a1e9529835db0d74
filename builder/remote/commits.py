"""Writing to a repository of the Hub: all that a command has made in one commit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.hub.push import quiet_unless_watched
from builder.remote.locations import Place

MOVED = 412


class Moved(Exception):
    """Somebody else has committed meanwhile."""


def head(files: Any, place: Place) -> str:
    """The id of the last commit. ``files``: an HfFileSystem."""
    at = files.resolve_path(place.key)
    return str(_api(files).repo_info(at.repo_id, repo_type=at.repo_type, revision=at.revision).sha)


def commit(files: Any, place: Place, changes: Mapping[str, Path | None], parent: str) -> None:
    """Commit files by their keys, None for what is to be removed. Raises Moved if ``parent`` is no longer the last."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    quiet_unless_watched()
    at = files.resolve_path(place.key)
    names = {key: files.resolve_path(key).path_in_repo for key in changes}
    operations = [
        CommitOperationAdd(names[key], str(file)) if file else CommitOperationDelete(names[key], is_folder=False)
        for key, file in changes.items()
    ]
    to = {"repo_type": at.repo_type, "revision": at.revision, "parent_commit": parent}
    try:
        _api(files).create_commit(at.repo_id, operations, commit_message=f"wim: {at.path_in_repo or at.repo_id}", **to)
    except HfHubHTTPError as error:
        if error.response.status_code == MOVED:
            raise Moved from error
        raise


def _api(files: Any) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=files.endpoint, token=files.token)
