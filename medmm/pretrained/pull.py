"""Published weights from the Hub, at one revision, after their licence was shown and accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medmm.disk import replace_bytes, sha256_of, sole_user
from medmm.encoders.opened import CONTRACTS, Published
from medmm.errors import InputError, LicenceError, RemoteError, TaskError
from medmm.optional import hub

RECORD = "pulled.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")  # of large files; of others the Hub announces another digest
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Pull:
    """What is taken from one repository.

    Attributes:
        published: Repository, files and licence.
        revision: Commit.
        folder: Below the folder that is written; "" for that itself.
    """

    published: Published
    revision: str
    folder: str


def plan_pull(name: str, revision: str | None, text_revision: str | None) -> tuple[Pull, Pull]:
    """What would be downloaded; asks nobody.

    Args:
        name: Of the contract.
        revision: Commit of the weights; may be left out where the contract names one, and must not contradict it.
        text_revision: Likewise of the text encoder's tokenizer and configuration.

    Raises:
        TaskError: If there is no such contract.
        InputError: If a commit is missing, malformed or another than the contract's.
    """
    if name not in CONTRACTS:
        msg = f"Expected one of {', '.join(CONTRACTS)}; got another name."
        raise TaskError(msg)
    contract = CONTRACTS[name]
    return (
        Pull(contract.weights, _commit(contract.weights, revision, "--revision"), ""),
        Pull(contract.text, _commit(contract.text, text_revision, "--text-revision"), _TEXT),
    )


def _commit(published: Published, stated: str | None, option: str) -> str:
    wanted = stated or published.revision
    if wanted is None or not _COMMIT.fullmatch(wanted) or published.revision not in (None, wanted):
        which = f"{published.revision}, which the contract names" if published.revision else "40 hex digits"
        msg = (
            f"Expected {option} with a commit of {published.repo}, {which}; got {'another' if stated else 'none'}. "
            "Its page lists commits under Files and versions."
        )
        raise InputError(msg)
    return wanted


def pull(name: str, pulls: Sequence[Pull], out: Path, *, accepted: bool) -> list[Path]:
    """Download; a connection that breaks is taken up where it was, and the same call later keeps the files that are complete.

    The library takes the token of a gated repository from HF_TOKEN or from its own login; it is never shown.

    Args:
        name: Of the contract.
        pulls: As `plan_pull` returned them.
        out: Folder to write.
        accepted: That somebody accepted the licences.

    Returns:
        The files.

    Raises:
        LicenceError: If nobody did.
        StoreError: If another process is at the folder, or it cannot be written.
        RemoteError: If the Hub cannot be reached, refuses, lacks a file, or sends another than it announces.
    """
    if not accepted:
        msg = "Expected the licences to be accepted; they were not. Read them, then say --accept-licence."
        raise LicenceError(msg)
    library, out = hub("Downloading weights"), out.resolve()  # as the library says where a file is
    with sole_user(out):
        found = [(each, file) for each in pulls for file in _downloaded(library, each, out)]
        record = {str(file.relative_to(out)): _origin(each, file) for each, file in found}
        replace_bytes(out / RECORD, (json.dumps({"name": name, "files": record}, indent=2) + "\n").encode())
    return [file for _, file in found]


def _downloaded(library: Any, each: Pull, out: Path) -> list[Path]:
    published = each.published
    where = {"repo_id": published.repo, "repo_type": published.kind, "revision": each.revision}
    try:
        names = published.files
        if any(name.startswith(".") for name in names):
            names = tuple(sorted(name for name in library.HfApi().list_repo_files(**where) if name.endswith(names)))
        return [_complete(library, name, out / each.folder, where) for name in names]
    except RemoteError:
        raise
    except Exception as error:  # a library's own and its transport's; their texts may hold what was sent
        raise RemoteError(_refused(error, published)) from None


def _complete(library: Any, name: str, folder: Path, where: dict[str, str]) -> Path:
    """The file, which the library compares with what is announced by its size alone."""
    file = Path(library.hf_hub_download(filename=name, local_dir=folder, **where))
    announced = library.get_hf_file_metadata(library.hf_hub_url(filename=name, **where)).etag or ""
    if _SHA256.fullmatch(announced) and sha256_of(file) != announced:
        file.unlink()
        msg = "Expected a file with the SHA-256 that the Hub announces; another came. It was removed; run it again."
        raise RemoteError(msg)
    return file


def _origin(each: Pull, file: Path) -> dict[str, str]:
    return {
        "repo": each.published.repo, "revision": each.revision, "licence": each.published.licence, "sha256": sha256_of(file)
    }  # fmt: skip


def _refused(error: Exception, published: Published) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = f"status {status}" if status else type(error).__name__
    todo = "Run it again; files that are complete stay."
    if status in (401, 403, 404):
        todo = f"Agree to its terms at {published.page}, set HF_TOKEN, and check the revision."
    return f"Expected {published.repo} from the Hub; it did not come ({reason}). {todo}"
