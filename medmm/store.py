"""The run store: predictions as they are made, in SQLite, safe against a kill at any moment.

One row a (sample, arm). A row is either an answer or a failure with its reason; a sample's rows are
written in one transaction, so a sample is done or not begun. Opening a store with another
fingerprint is refused.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medmm.errors import StoreError

FILE = "predictions.sqlite"
FULL_ARM = "full"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (field TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS prediction (
    sample_id TEXT NOT NULL, arm TEXT NOT NULL, position INTEGER NOT NULL, patient_id TEXT NOT NULL,
    split TEXT NOT NULL, pattern TEXT NOT NULL, target TEXT NOT NULL, probability TEXT NOT NULL,
    logit TEXT NOT NULL, called TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (sample_id, arm)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One prediction, or one failure.

    Attributes:
        sample_id, patient_id: Who.
        position: Row of the cohort.
        arm: `full`, or the modalities that were allowed, e.g. `image`.
        split: Side of the split, empty when the cohort states none.
        pattern: Modalities that were used.
        target: Value of each label: 0, 1 or None when unknown.
        probability, logit: Value of each label; empty when failed.
        called: Labels decided for.
        code, message: Reason of a failure, empty when there is an answer.
        seconds: Time it took.
    """

    sample_id: str
    patient_id: str
    position: int
    arm: str
    split: str = ""
    pattern: str = ""
    target: tuple[float | None, ...] = ()
    probability: tuple[float, ...] = ()
    logit: tuple[float, ...] = ()
    called: tuple[str, ...] = ()
    code: str = ""
    message: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return bool(self.code)


class RunStore:
    """The store of one run folder.

    Args:
        folder: Run folder; made when missing.
        fingerprint: What identifies the run, field by field. None to read whatever is there.

    Raises:
        StoreError: If there is no store to read, or it belongs to another run.
    """

    def __init__(self, folder: str | Path, fingerprint: dict[str, str] | None = None) -> None:
        folder = Path(folder)
        file = folder / FILE
        if fingerprint is None and not file.is_file():
            msg = f"Expected a run folder with {FILE}; there is none. Run `medmm eval run` first."
            raise StoreError(msg)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, isolation_level=None)
            with ExitStack() as on_failure:
                on_failure.callback(self._db.close)
                self._prepare(fingerprint)
                on_failure.pop_all()
        except (OSError, sqlite3.Error):
            msg = "Expected a readable run store; it is damaged or cannot be written. Give another --out."
            raise StoreError(msg) from None

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @property
    def fingerprint(self) -> dict[str, str]:
        """What identifies the run."""
        with closing(self._db.execute("SELECT field, value FROM run")) as rows:
            return dict(rows.fetchall())

    def done(self) -> set[str]:
        """Samples that have their rows."""
        with closing(self._db.execute("SELECT DISTINCT sample_id FROM prediction")) as rows:
            return {row[0] for row in rows}

    def add(self, records: Sequence[Record]) -> None:
        """Write all rows of one sample, or none.

        Raises:
            StoreError: If the disk refuses.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(f"INSERT INTO prediction VALUES ({', '.join('?' * 13)})", [_to_row(r) for r in records])  # noqa: S608
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            msg = f"Expected to write to the run store; SQLite refused ({error.sqlite_errorname}). Free disk space and run again."
            raise StoreError(msg) from None

    def records(self) -> Iterator[Record]:
        """All rows in cohort order, the full arm first."""
        query = "SELECT * FROM prediction ORDER BY position, arm <> ?, arm"
        with closing(self._db.execute(query, (FULL_ARM,))) as rows:
            for row in rows:
                yield _from_row(row)

    def _prepare(self, fingerprint: dict[str, str] | None) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        if fingerprint is not None:
            self._claim(fingerprint)

    def _claim(self, fingerprint: dict[str, str]) -> None:
        found = self.fingerprint
        if not found:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO run VALUES (?, ?)", sorted(fingerprint.items()))
            self._db.execute("COMMIT")
            return
        different = sorted(k for k in {*found, *fingerprint} if found.get(k) != fingerprint.get(k))
        if different:
            msg = f"Expected a new or the same run; the folder holds one with another {', '.join(different)}. Give another --out."
            raise StoreError(msg)


def _to_row(record: Record) -> tuple[Any, ...]:
    return (
        record.sample_id, record.arm, record.position, record.patient_id, record.split, record.pattern,
        json.dumps(record.target), json.dumps(record.probability), json.dumps(record.logit), json.dumps(record.called),
        record.code, record.message, record.seconds,
    )  # fmt: skip


def _from_row(row: tuple[Any, ...]) -> Record:
    sample_id, arm, position, patient_id, split, pattern, target, probability, logit, called, code, message, seconds = row
    return Record(
        sample_id, patient_id, position, arm, split, pattern, tuple(json.loads(target)), tuple(json.loads(probability)),
        tuple(json.loads(logit)), tuple(json.loads(called)), code, message, seconds,
    )  # fmt: skip
