"""Cohorts that visitors have predicted: each in a private folder, found again after a reload, gone on with after a stop."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medmm.errors import CohortError, MedmmError
from medmm.settings import LIMITS
from medmm.ui.cohort_tasks import FAILURES, RUNS
from medmm.ui.jobs import Job, Jobs
from medmm.ui.session import INCOMING, Sessions
from medmm.worker import Worker

BATCH_ROUTE = "gradio_api/medmm/batch/"
FILES = {"predictions.csv": "text/csv", "metrics.json": "application/json", "report.html": "text/html", FAILURES: "text/csv"}
"""What can be taken away of a run, and its media type."""

_UNPACK_SECONDS, _RUN_SECONDS = LIMITS.seconds + 15.0, 6 * 3600.0
_TICKET = re.compile(r"[0-9a-f]{32,64}")
_ZIP = b"PK"
_CHUNK = 1 << 20


@dataclass(slots=True)
class Batch:
    """One visitor's cohort.

    Attributes:
        token: Of its private folder.
        folder: The folder.
        digest: SHA-256 of what was uploaded.
        rows, labelled: Of its table.
        visitor: Browser it belongs to.
        model: Name of the model last asked; empty before.
        done: Studies predicted by it, of `total`.
        results: What each model's finished run came to, by its name.
    """

    token: str
    folder: Path
    digest: str
    rows: int
    labelled: int
    visitor: str
    model: str = ""
    done: int = 0
    total: int = 0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Any] | None:
        """Of the model last asked, None while it is not finished."""
        return self.results.get(self.model)

    def hear(self, phase: str) -> None:
        """Keep how far a run has come."""
        words = phase.split()
        if len(words) == 2:
            self.done, self.total = map(int, words)

    @property
    def run(self) -> Path:
        """Folder of the run last asked for."""
        return self.folder / RUNS / _folder_name(self.model)

    def file(self, name: str) -> Path | None:
        """A file of the run last asked for, None when it has none of this name."""
        found = self.run / name
        return found if name in FILES and self.model and found.is_file() else None


class Batches:
    """All cohorts of one server.

    A browser tab holds a random ticket, which survives its reload; a cohort belongs to the ticket, not to the visit, and
    is shown to the browser it came from alone.

    Args:
        sessions: Where private folders come from.
        reader: Unpacks what was uploaded, in a child with limits.
        worker: Predicts; a process of its own, so that a cohort never stands before a single study.
        find_model: Folder of a model by its name.
        public: Whether others than the person at this machine use the page.
    """

    def __init__(
        self, sessions: Sessions, reader: Worker, worker: Worker, find_model: Callable[[str], str], public: Callable[[], bool]
    ) -> None:  # fmt: skip
        self._sessions, self._reader, self._find_model, self._public = sessions, reader, find_model, public
        self._worker, self.jobs = worker, Jobs(worker.call)
        self._tickets: dict[str, str] = {}
        self._batches: dict[str, Batch] = {}

    def greet(self, session: str, ticket: str | None) -> Batch | None:
        """Know a visit by its ticket from now on; returns the cohort that is kept for it."""
        if ticket and _TICKET.fullmatch(ticket):
            self._tickets[session] = ticket
        return self.of(session)

    def of(self, session: str) -> Batch | None:
        """The cohort kept for a visit, None when there is none any more."""
        owner = self._owner(session)
        batch = self._batches.get(owner)
        if batch is None or batch.visitor != self._sessions.visitors.of_session(session):
            return None
        try:
            self._sessions.find(batch.token, owner)
        except MedmmError:
            del self._batches[owner]
            return None
        self.keep(batch)
        return batch

    def behind(self, token: str, visitor: str) -> Batch | None:
        """The cohort of a folder's token, None when there is none or it is another browser's."""
        mine = [batch for batch in list(self._batches.values()) if batch.visitor == visitor]
        return next((batch for batch in mine if secrets.compare_digest(batch.token.encode(), token.encode())), None)

    def take(self, uploads: Sequence[str], session: str) -> Batch:
        """Take uploaded files over as the visit's cohort; the one that is kept already when they are the same.

        Args:
            uploads: A CSV, a zip, or both, as the server stored them.
            session: Of the visit.

        Raises:
            CohortError: If they are something else.
            MedmmError: If they cannot be read, as of `cohort_tasks.unpack`.
        """
        tables = [u for u in uploads if not _is_zip(Path(u))]
        archives = [u for u in uploads if _is_zip(Path(u))]
        if len(tables) > 1 or len(archives) > 1 or not uploads:
            msg = f"Expected one CSV and at most one zip; got {len(tables)} and {len(archives)}. Pack all studies into one zip."
            raise CohortError(msg)
        digest = _digest([*tables, *archives])
        kept = self.of(session)
        if kept is not None and kept.digest == digest:
            for upload in uploads:
                Path(upload).unlink(missing_ok=True)
            return kept
        token, folder = self._sessions.new(self._owner(session))
        try:
            self._sessions.adopt([*tables, *archives], folder, session)
            places = [str(folder / INCOMING / f"{i:05d}") for i in range(len(uploads))]
            table, archive = (places[0] if tables else None), (places[-1] if archives else None)
            return self._unpacked(session, token, folder, digest, table, archive)
        except MedmmError:
            self._sessions.drop(token)
            raise

    def example(self, table: Path, session: str) -> Batch:
        """The example cohort as the visit's.

        Raises:
            MedmmError: As of `take`.
        """
        kept = self.of(session)
        digest = _digest([str(table)])
        if kept is not None and kept.digest == digest:
            return kept
        token, folder = self._sessions.new(self._owner(session))
        return self._unpacked(session, token, folder, digest, str(table), str(table.parent))

    def _unpacked(self, session: str, token: str, folder: Path, digest: str, table: str | None, archive: str | None) -> Batch:
        asked: dict[str, Any] = {"table": table, "archive": archive, "folder": str(folder), "public": self._public()}
        found = self._reader.call("unpack", _UNPACK_SECONDS, **asked)
        for upload in (folder / INCOMING).glob("*"):
            upload.unlink()
        threading.Thread(target=self._prepare, daemon=True).start()
        batch = Batch(token, folder, digest, found["rows"], found["labelled"], self._sessions.visitors.of_session(session))
        self._batches = {owner: b for owner, b in self._batches.items() if b.folder.exists()} | {self._owner(session): batch}
        return batch

    def _prepare(self) -> None:
        with suppress(MedmmError):  # told when it is asked for
            self._worker.call("prepare", _UNPACK_SECONDS)

    def start(self, session: str, model: str) -> tuple[Batch, Job]:
        """Have the visit's cohort predicted, from where an earlier start ended.

        Raises:
            CohortError: If there is none.
            ModelError: If the model is none of ours.
        """
        batch = self.of(session)
        if batch is None:
            msg = "Expected a cohort; there is none, or it has been removed by age. Upload it."
            raise CohortError(msg)
        if batch.model != model:
            batch.model, batch.done, batch.total = model, 0, 0
        asked = {"folder": str(batch.folder), "model": self._find_model(model), "run": _folder_name(model)}
        return batch, self.jobs.start(session, model, "predict_cohort", _RUN_SECONDS, **asked)

    def keep(self, batch: Batch) -> None:
        """Count its age from now: it is in use."""
        self._sessions.touch(batch.token)

    def forget(self, session: str) -> None:
        """Stop and remove the visit's cohort."""
        self.jobs.cancel(session)
        self._sessions.wipe(self._owner(session))
        self._batches.pop(self._owner(session), None)

    def leave(self, session: str) -> None:
        """The visit has ended: stop its work; its cohort stays for the ticket until it is too old."""
        self.jobs.cancel(session)
        self._tickets.pop(session, None)

    def _owner(self, session: str) -> str:
        return f"batch {self._tickets.get(session, session)}"


def _folder_name(model: str) -> str:
    """A model's name may hold anything; its run's folder is named by a digest of it."""
    return hashlib.sha256(model.encode()).hexdigest()[:16]


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == _ZIP
    except OSError:
        msg = "Expected the files just uploaded; they are no longer there. Upload them again."
        raise CohortError(msg) from None


def _digest(files: Sequence[str]) -> str:
    found = hashlib.sha256()
    for path in files:
        with Path(path).open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
