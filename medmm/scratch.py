"""Private folders for what must not outlive its use, also when the process that made them is killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def private_folder(prefix: str) -> Path:
    """A fresh folder that nobody else can read, named by this process; those of processes that died are removed.

    Args:
        prefix: Begins the name, so that only folders of the same kind are looked at.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        owner = folder.name.removeprefix(prefix).partition("-")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
