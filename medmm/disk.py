"""Files and folders that are complete or not there at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medmm.errors import StoreError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of `path` when the block ends well, and is removed when it does not.

    Raises:
        StoreError: If the file system refuses, e.g. because the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(_refused(error)) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all.

    Raises:
        StoreError: If the file system refuses.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its name when the block ends well, and is removed with all it holds when it does not.

    Args:
        folder: Must not be there yet, or be empty.

    Raises:
        StoreError: If something is there, or the file system refuses.
    """
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            msg = "Expected a new or empty folder to write; there is something at the given path. Give another."
            raise StoreError(msg)
        partial.mkdir(parents=True)
        yield partial
        partial.replace(folder)
    except OSError as error:
        raise StoreError(_refused(error)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refused(error: OSError) -> str:
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"Expected to write; the file system refused ({reason}). Free disk space or give another folder."
