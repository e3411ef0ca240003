"""`run.json`: what a run was asked, with what it was made, and what became of it.

`status` is `started` until the run ends: then `finished`, or `failed` (too many studies failed) or
`cancelled` (somebody stopped it). A run that was killed still says `started`. Every start is one of
`sessions`. No path is recorded.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import medmm
from medmm.disk import replace_bytes
from medmm.errors import StoreError

FILE = "run.json"
Status = Literal["started", "finished", "failed", "cancelled"]

_GIT_SECONDS = 5


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / FILE).is_file()


def read_about(folder: Path) -> dict[str, Any]:
    """The content of `run.json`.

    Raises:
        StoreError: If it is missing or damaged.
    """
    try:
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        msg = f"Expected a run folder with a readable {FILE}; there is none. Run `medmm eval run` or `medmm eval import` first."
        raise StoreError(msg) from None


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Write `run.json` in one step.

    Raises:
        StoreError: If the disk refuses.
    """
    replace_bytes(folder / FILE, (json.dumps(about, indent=2) + "\n").encode())


def start_session(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Record that work on a run begins.

    Args:
        folder: Run folder, new or of an earlier start of the same run.
        about: What the run is.

    Returns:
        What `end_session` completes.
    """
    earlier = read_about(folder).get("sessions", []) if (folder / FILE).is_file() else []
    session = {"started": _now(), "git": _git(), "hardware": _hardware()}
    about = {**about, "status": "started", "sessions": [*earlier, session]}
    write_about(folder, about)
    return about


def end_session(folder: Path, about: dict[str, Any], status: Status, counts: dict[str, Any], timing: dict[str, float]) -> None:
    """Record how it ended.

    Args:
        folder: Run folder.
        about: From `start_session`.
        status: How.
        counts: Of the studies of the whole run.
        timing: Of this session.
    """
    *earlier, session = about["sessions"]
    ended = {**session, "ended": _now(), "outcome": status, "timing": timing}
    write_about(folder, {**about, "status": status, "counts": counts, "sessions": [*earlier, ended]})


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of medmm, Python and these packages; those not installed are left out."""
    found = {"medmm": medmm.__version__, "python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hardware() -> dict[str, Any]:
    return {"machine": platform.machine(), "system": platform.system(), "cpus": os.cpu_count()}


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that medmm runs from and whether it was changed, None when it is installed."""
    root, git = Path(medmm.__file__).parents[1], shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    try:
        said = [
            subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True).stdout
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": said[0].strip(), "dirty": bool(said[1].strip())}
