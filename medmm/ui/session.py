"""Where visitors' files live and how they go: private folders, random names, removed after use and by age."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medmm.errors import NoImageError, WorkerError
from medmm.scratch import private_folder
from medmm.ui.visitor import Visitors

PREFIX = "medmm-page-"
INCOMING = "incoming"
"""Folder in a study folder with what was uploaded."""
_SESSIONS = 100


@dataclass(slots=True)
class _Spool:
    session: str
    folder: Path
    lasting: bool = False  # whether it outlives the study that was opened before it
    made: float = field(default_factory=time.monotonic)


class Sessions:
    """All spooled studies of one server.

    Args:
        max_age: Seconds after which a study is removed, whoever still looks at it.
        most: Studies kept at a time.

    Attributes:
        visitors: Whose each session and upload is.
    """

    def __init__(self, max_age: float = 1800.0, most: int = _SESSIONS) -> None:
        self.visitors = Visitors()
        self._most = most
        self.root = private_folder(PREFIX)
        self.uploads = self.root / "uploads"
        self.uploads.mkdir()
        self._max_age = max_age
        self._spools: dict[str, _Spool] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        threading.Thread(target=self._keep_sweeping, daemon=True).start()

    def new(self, session: str, *, beside: bool = False, lasting: bool = False) -> tuple[str, Path]:
        """A fresh study folder of this visitor. Returns its token and path.

        Args:
            session: Of the visitor.
            beside: Whether what the visitor has stays; else it goes, but for what is lasting.
            lasting: Whether it stays when another study is opened.

        Raises:
            WorkerError: If there are too many visitors.
        """
        self.sweep()
        if not beside:
            self.wipe(session, all_of_it=False)
        token = secrets.token_urlsafe(24)
        folder = self.root / secrets.token_hex(16)
        with self._lock:
            if len(self._spools) >= self._most:
                msg = f"Expected at most {self._most} visitors with a study at a time; there are more. Try again in some minutes."
                raise WorkerError(msg)
            folder.mkdir(mode=0o700)
            self._spools[token] = _Spool(session, folder, lasting)
        return token, folder

    @contextmanager
    def passing(self) -> Iterator[Path]:
        """A private folder for what is not kept at all; gone afterwards, and by age if its server hangs."""
        token, folder = secrets.token_urlsafe(24), self.root / secrets.token_hex(16)
        with self._lock:
            folder.mkdir(mode=0o700)
            self._spools[token] = _Spool("", folder)
        try:
            yield folder
        finally:
            self.drop(token)

    def renew(self, token: str, session: str) -> tuple[str, Path]:
        """The study folder of a token under a fresh one, for what is read into it anew.

        Raises:
            NoImageError: As of `find`.
        """
        folder = self.find(token, session)
        fresh = secrets.token_urlsafe(24)
        with self._lock:
            self._spools.pop(token, None)
            self._spools[fresh] = _Spool(session, folder)
        return fresh, folder

    def find(self, token: str, session: str | None = None, visitor: str | None = None) -> Path:
        """The folder behind a token.

        Args:
            token: As returned by `new`.
            session: When given, the session it must belong to.
            visitor: When given, the browser it must belong to.

        Raises:
            NoImageError: If there is none, it is too old, or it is somebody else's.
        """
        self.sweep()
        with self._lock:
            spool = self._spools.get(token)
        if spool is None or session not in (None, spool.session) or visitor not in (None, self.visitors.of_session(spool.session)):
            msg = "Expected the study that was opened before; it has been removed. Open it again."
            raise NoImageError(msg)
        return spool.folder

    def touch(self, token: str) -> None:
        """Count the age of a study from now: it is being worked on."""
        with self._lock:
            if token in self._spools:
                self._spools[token].made = time.monotonic()

    def wipe(self, session: str, *, all_of_it: bool = True) -> None:
        """Remove everything of one visitor, or all but what is lasting."""
        with self._lock:
            tokens = [t for t, s in self._spools.items() if s.session == session and (all_of_it or not s.lasting)]
        for token in tokens:
            self.drop(token)

    def drop(self, token: str) -> None:
        """Remove one study."""
        with self._lock:
            spool = self._spools.pop(token, None)
        if spool is not None:
            shutil.rmtree(spool.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what is too old, and what nobody owns."""
        now = time.monotonic()
        with self._lock:
            old = [t for t, s in self._spools.items() if now - s.made > self._max_age]
        for token in old:
            self.drop(token)
        with contextlib.suppress(FileNotFoundError):  # other threads remove things too
            self._sweep_strays()

    def _sweep_strays(self) -> None:
        """Folders filled again after their study went, because it was still being read; uploads nobody opened."""
        with self._lock:
            known = {self.uploads, *(s.folder for s in self._spools.values())}
            strays = [folder for folder in self.root.iterdir() if folder not in known]
        for folder in strays:
            shutil.rmtree(folder, ignore_errors=True)
        oldest = time.time() - self._max_age
        for file in self.uploads.rglob("*"):
            if file.is_file() and file.stat().st_mtime < oldest:
                file.unlink()

    def _keep_sweeping(self) -> None:
        while not self._closing.wait(self._max_age / 30):
            self.sweep()

    def adopt(self, uploads: list[str], folder: Path, session: str = "") -> Path:
        """Move uploaded files into a study folder under numbers, so that no original name stays on disk.

        Args:
            uploads: Files as the server stored them.
            folder: Study folder of the visitor.
            session: Of the visitor; a file that it did not send is none.

        Returns:
            What to open: the one file, or the folder of all.

        Raises:
            NoImageError: If one is no longer there.
        """
        incoming = folder / INCOMING
        try:
            visitor = self.visitors.of_session(session)
            if not all(self.visitors.may_have(upload, visitor) for upload in uploads):
                raise PermissionError
            incoming.mkdir()
            for index, upload in enumerate(map(Path, uploads)):
                shutil.move(upload, incoming / f"{index:05d}")
                self.visitors.forget(upload)
                with contextlib.suppress(OSError):
                    upload.parent.rmdir()
        except OSError:
            msg = "Expected the files just uploaded; they are no longer there. Upload them again."
            raise NoImageError(msg) from None
        return incoming / "00000" if len(uploads) == 1 else incoming

    def close(self) -> None:
        """Remove everything."""
        self._closing.set()
        shutil.rmtree(self.root, ignore_errors=True)
