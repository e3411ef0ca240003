"""The run store: predictions as they are made, in SQLite, safe against a kill at any moment.

One row a (sample, arm). A row is either an answer or a failure with its reason; a sample's rows are
written in one transaction, so a sample is done or not begun. Opening a store with another
fingerprint is refused. A store of an earlier version of medmm is brought to this one when it is opened.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medmm.errors import StoreError
from medmm.table import Row

FILE = "predictions.sqlite"
FULL_ARM = "full"

_VERSION = 2
_WIDTH = 17
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (field TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS prediction (
    sample_id TEXT NOT NULL, arm TEXT NOT NULL, position INTEGER NOT NULL, patient_id TEXT NOT NULL,
    split TEXT NOT NULL, pattern TEXT NOT NULL, target TEXT NOT NULL, probability TEXT NOT NULL,
    logit TEXT NOT NULL, called TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, seconds REAL NOT NULL,
    stage TEXT NOT NULL, attempts INTEGER NOT NULL, image_sha256 TEXT NOT NULL, columns TEXT NOT NULL,
    PRIMARY KEY (sample_id, arm)) WITHOUT ROWID;
"""
_SINCE_VERSION_2 = ("stage TEXT NOT NULL DEFAULT ''", "attempts INTEGER NOT NULL DEFAULT 1",
                    "image_sha256 TEXT NOT NULL DEFAULT ''", "columns TEXT NOT NULL DEFAULT '{}'")  # fmt: skip


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
        stage: What failed: `read` or `predict`; empty when there is an answer.
        attempts: How many times it was tried.
        image_sha256: Of the decoded image (`Volume.sha256`), empty without one.
        columns: All other cells of the cohort's row, e.g. site, study and subgroups.
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
    stage: str = ""
    attempts: int = 1
    image_sha256: str = ""
    columns: Row = field(default_factory=dict)

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
            msg = f"Expected a run folder with {FILE}; there is none. Run `medmm eval run` or `medmm eval import` first."
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

    def add(self, records: Sequence[Record], *, again: bool = False) -> None:
        """Write all rows, or none.

        Args:
            records: All rows of a sample, or of many.
            again: Whether they take the place of the rows these samples have.

        Raises:
            StoreError: If the disk refuses, or a sample has its rows already.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if again:
                self._db.executemany("DELETE FROM prediction WHERE sample_id = ?", [(s,) for s in {r.sample_id for r in records}])
            self._db.executemany(f"INSERT INTO prediction VALUES ({', '.join('?' * _WIDTH)})", [_to_row(r) for r in records])  # noqa: S608
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
        self._bring_up_to_date()
        if fingerprint is not None:
            self._claim(fingerprint)

    def _bring_up_to_date(self) -> None:
        if self._one("PRAGMA user_version") == _VERSION:
            return
        self._db.execute("BEGIN IMMEDIATE")
        version = self._one("PRAGMA user_version")  # another process may have come first
        if version > _VERSION:
            msg = f"Expected a run store of version {_VERSION} or earlier; got {version}. Use the newer medmm that wrote it."
            raise StoreError(msg)
        if version < _VERSION:
            for statement in _statements(earlier=bool(self._one("SELECT count(*) FROM sqlite_schema WHERE name = 'prediction'"))):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self._db.execute("COMMIT")

    def _one(self, query: str) -> int:
        with closing(self._db.execute(query)) as rows:
            return int(rows.fetchone()[0])

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


def _statements(*, earlier: bool) -> list[str]:
    """What makes a new store, or one of version 1, a store of this version."""
    if earlier:
        return [f"ALTER TABLE prediction ADD COLUMN {column}" for column in _SINCE_VERSION_2]
    return [statement for statement in _SCHEMA.split(";") if statement.strip()]


def _to_row(record: Record) -> tuple[Any, ...]:
    return (
        record.sample_id, record.arm, record.position, record.patient_id, record.split, record.pattern,
        json.dumps(record.target), json.dumps(record.probability), json.dumps(record.logit), json.dumps(record.called),
        record.code, record.message, record.seconds, record.stage, record.attempts, record.image_sha256, json.dumps(record.columns),
    )  # fmt: skip


def _from_row(row: tuple[Any, ...]) -> Record:
    sample_id, arm, position, patient_id, split, pattern, target, probability, logit, called, *rest = row
    code, message, seconds, stage, attempts, image_sha256, columns = rest
    return Record(
        sample_id, patient_id, position, arm, split, pattern, tuple(json.loads(target)), tuple(json.loads(probability)),
        tuple(json.loads(logit)), tuple(json.loads(called)), code, message, seconds, stage, attempts, image_sha256,
        json.loads(columns),
    )  # fmt: skip
