"""To the Hub: what would be sent, and the sending. The token comes from the environment and is never shown."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medmm.errors import InputError, RemoteError, StoreError
from medmm.optional import hub
from medmm.space.build import DIGESTS, digests
from medmm.space.checks import CACHE, check_size

TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What `push` does to the Hub.

    Attributes:
        space: USER/NAME.
        private: Whether only its owner sees it; a Space that exists keeps its visibility.
        files: (path, bytes) of what is uploaded.
    """

    space: str
    private: bool
    files: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "files": dict(self.files), "bytes": sum(size for _, size in self.files)}


def plan(bundle: Path, space: str, *, private: bool = True) -> Plan:
    """What would be created and uploaded; asks nobody.

    Args:
        bundle: Folder that `build` wrote.
        space: USER/NAME.
        private: Whether only its owner is to see it.

    Raises:
        InputError: If the name is none.
        StoreError: If the folder is no bundle, or has been changed since it was built.
        TooLargeError: If it is more than a Space takes.
    """
    if not _NAME.fullmatch(space):
        msg = "Expected USER/NAME, as in jane/ct-demo; got something else."
        raise InputError(msg)
    check_size(bundle)
    try:
        listed = json.loads((bundle / DIGESTS).read_bytes())
    except (OSError, ValueError):
        msg = "Expected a folder that `medmm space build` wrote; this one is not. Build it first."
        raise StoreError(msg) from None
    if digests(bundle) != listed:
        msg = "Expected the folder as it was built and checked; files were added, changed or removed since. Build it again."
        raise StoreError(msg)
    return Plan(space, private, tuple((name, (bundle / name).stat().st_size) for name in sorted([*listed, DIGESTS])))


def push(bundle: Path, planned: Plan) -> str:
    """Create the Space if it is not there, and upload the bundle as one commit that replaces all it held.

    Args:
        bundle: Folder that `build` wrote.
        planned: As `plan` returned it.

    Returns:
        The address of the Space.

    Raises:
        InputError: If the environment holds no token.
        RemoteError: If the Hub cannot be reached or refuses.
    """
    token = os.environ.get(TOKEN, "")
    if not token:
        msg = f"Expected a token with the right to write in {TOKEN}; it is not set. Make one in the settings of your account."
        raise InputError(msg)
    library = hub("Pushing a Space")
    try:
        api = library.HfApi(token=token)
        url = api.create_repo(planned.space, repo_type="space", space_sdk="gradio", private=planned.private, exist_ok=True)
        api.upload_folder(
            repo_id=planned.space,
            repo_type="space",
            folder_path=bundle,
            ignore_patterns=f"*{CACHE}*",
            delete_patterns="*",
            commit_message="medmm space push",
        )
    except Exception as error:  # a library's own and its transport's; their texts may hold what was sent
        raise RemoteError(_refused(error)) from None
    return str(url)


def _refused(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = f"status {status}" if status else type(error).__name__
    todo = "Check the token and the name." if status in (401, 403, 404) else "Try again later; nothing half-sent is shown."
    return f"Expected the Hub to take the Space; it did not ({reason}). {todo}"
