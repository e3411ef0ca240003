"""Files and folders that are complete or not there at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from medmm.errors import StoreError

_LOCK = ".lock"


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


@contextmanager
def sole_user(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Nobody else works on a folder inside the block; the claim ends with the process, however it ends.

    Args:
        folder: Made when it is not there.
        wait: Whether to wait for another process to be done with it.

    Raises:
        StoreError: If another process is at it and is not waited for, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _claim(stack.enter_context((folder / _LOCK).open("w")).fileno(), wait)
        except BlockingIOError:
            msg = "Expected nobody else at this folder; another process is working on it. Wait for it, or give another folder."
            raise StoreError(msg) from None
        except OSError:
            msg = "Expected a folder that can be written; it cannot. Give another one."
            raise StoreError(msg) from None
        yield


def _claim(descriptor: int, wait: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two at once are then caught by the store, when they write the same row
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def sha256_of(path: Path) -> str:
    """Of the content of a file, as hex digits.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
