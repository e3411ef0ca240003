"""Files that are complete or not there at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
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
        reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
        msg = f"Expected to write a file; the file system refused ({reason}). Free disk space or give another folder."
        raise StoreError(msg) from None
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
