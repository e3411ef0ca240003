"""The work behind the batch tab: a foreign cohort made harmless, and the evaluation's own run over it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from medmm.disk import replace_bytes
from medmm.errors import CohortError, PhiError, TooLargeError
from medmm.settings import LIMITS, PAGE_LIMITS
from medmm.sources.archive import Entry, open_entries
from medmm.sources.text import read_note
from medmm.table import Row, read_rows, write_csv
from medmm.worker import tell

TABLE, RUNS = "cohort.csv", "runs"
FAILURES = "failures.csv"
_NOWHERE = "missing"  # a name that nothing is ever stored under
_FAILED = ("study_id", "stage", "code", "message")


def unpack(table: str | None, archive: str | None, folder: str, public: bool = False) -> dict[str, Any]:
    """Leave a cohort in `folder` whose table names nothing but numbered files beside it.

    Args:
        table: Uploaded CSV; None when the archive holds the one there is.
        archive: Uploaded zip of what its rows name, or a folder.
        folder: Where to leave it.
        public: Whether what names a patient is refused.

    Returns:
        `rows`, and how many are `labelled`.

    Raises:
        CohortError: If there is no table, or not the only one.
        TooLargeError: If there is more than `Limits` allow.
        PhiError: If notes or headers name patients and others than their owner use this page.
    """
    target = Path(folder)
    if archive is None:
        rows = _Unpacking([], target).all(_rows(table, [], target))
    else:
        with open_entries(archive) as entries:
            rows = _Unpacking(entries, target).all(_rows(table, entries, target))
    _refuse_names(rows, target, public=public)
    write_csv(target / TABLE, list(rows[0]), rows)
    return {"rows": len(rows), "labelled": sum(_labelled(row) for row in rows)}


def _rows(table: str | None, entries: Sequence[Entry], target: Path) -> list[Row]:
    own = target / "own.csv"  # a table is read by its ending
    if table is None:
        found = [e for e in entries if e.name.lower().endswith(".csv") and len(PurePosixPath(e.name).parts) <= 2]
        if len(found) != 1:
            msg = f"Expected one cohort table, as a CSV or alone at the top of the zip; got {len(found)}. Upload it beside the zip."
            raise CohortError(msg)
        content = found[0].head(PAGE_LIMITS.cohort_bytes + 1)
    else:
        with Path(table).open("rb") as file:
            content = file.read(PAGE_LIMITS.cohort_bytes + 1)
    if len(content) > PAGE_LIMITS.cohort_bytes:
        msg = f"Expected a cohort table of at most {PAGE_LIMITS.cohort_bytes >> 20} MB; got a larger one. Split it."
        raise TooLargeError(msg)
    own.write_bytes(content)
    rows = read_rows(own, CohortError)
    own.unlink()
    if len(rows) > PAGE_LIMITS.cohort_rows:
        msg = f"Expected at most {PAGE_LIMITS.cohort_rows} rows here; got {len(rows)}. Split the table, or use `medmm eval run`."
        raise TooLargeError(msg)
    return rows


class _Unpacking:
    """Takes from an archive what the rows of a table name, each once, under numbers: no foreign name reaches the disk."""

    def __init__(self, entries: Sequence[Entry], target: Path) -> None:
        self._entries = {_plain(e.name): e for e in entries}
        self._target, self._taken = target, dict[str, str]()
        self._left = LIMITS.total_bytes

    def all(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, naming what was taken."""
        return [self._row(row) for row in rows]

    def _row(self, row: Row) -> Row:
        changed = dict(row)
        if row.get("image"):
            changed["image"] = "|".join(self._take(part.strip(), "") for part in row["image"].split("|") if part.strip())
        if row.get("audio"):
            changed["audio"] = self._take(row["audio"], "")
        note = row.get("note", "")
        if note.endswith(".txt") and "\n" not in note:
            changed["note"] = self._take(note, ".txt")
        return changed

    def _take(self, cell: str, ending: str) -> str:
        """The place below the folder of what a cell names: a file, or everything below a folder."""
        name = _plain(cell)
        if name not in self._taken:
            place = f"{len(self._taken):05d}{ending}"
            if name in self._entries:
                self._write(self._entries[name], self._target / place)
            else:
                inner = [e for n, e in self._entries.items() if n.startswith(name + "/")]
                for index, entry in enumerate(inner):
                    self._write(entry, self._target / place / f"{index:05d}")
                place = place if inner else _NOWHERE + ending  # the run says of that row alone that nothing is there
            self._taken[name] = place
        return self._taken[name]

    def _write(self, entry: Entry, file: Path) -> None:
        self._left -= entry.size
        if self._left < 0:
            msg = f"Expected at most {LIMITS.total_bytes >> 20:,} MB of studies; got more. Split the cohort."
            raise TooLargeError(msg)
        file.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as source, file.open("wb") as out:
            shutil.copyfileobj(source, out)


def _plain(name: str) -> str:
    """A relative name as zips write it; what leads elsewhere matches nothing."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _labelled(row: Row) -> bool:
    return any(cell for name, cell in row.items() if name == "label" or name.startswith("label__"))


def _refuse_names(rows: Sequence[Row], target: Path, *, public: bool) -> None:
    """On a page that others use, nothing that names a patient."""
    from medmm.deid.findings import check_note
    from medmm.sources.privacy import check_phi

    if not public:
        return
    found = [f for note in _notes(rows, target) for f in check_note(note)]
    for place in sorted(p for p in target.iterdir() if p.name[0].isdigit() and p.suffix != ".txt"):
        found += check_phi(place)  # each by itself: a study may be a zip
    if named := sorted({f.kind for f in found if f.direct}):
        msg = f"Expected nothing that names a patient on a page that others use; found: {', '.join(named)}. Run `medmm deid` first."
        raise PhiError(msg)


def _notes(rows: Sequence[Row], target: Path) -> Iterator[str]:
    for cell in (row.get("note", "") for row in rows):
        file = target / cell if cell.endswith(".txt") and "\n" not in cell else None
        if file is None:
            yield cell
        elif file.is_file():
            yield read_note(file).text


def check_metrics(path: str, folder: str) -> dict[str, Any]:
    """Leave an uploaded `metrics.json` in `folder`, written anew from what its schema allows.

    Raises:
        TooLargeError: If it is larger than any measurement here.
        PredictionsError: If it is not one of this schema version.
    """
    from medmm.evaluation.files import METRICS, read_results

    if Path(path).stat().st_size > PAGE_LIMITS.metrics_bytes:
        msg = f"Expected a metrics.json of at most {PAGE_LIMITS.metrics_bytes >> 20} MB; got more. `medmm eval view` shows it."
        raise TooLargeError(msg)
    replace_bytes(Path(folder) / METRICS, read_results(Path(path)).to_json().encode())
    return {"checked": True}


def prepare() -> dict[str, Any]:
    """Import what a run needs, while the visitor looks at what was unpacked."""
    from medmm.evaluation import files, run

    return {"ready": [files.__name__, run.__name__]}


def predict_cohort(folder: str, model: str, run: str) -> dict[str, Any]:
    """Run, or go on with, the evaluation over an unpacked cohort; score it where there are labels.

    Args:
        folder: As `unpack` left it.
        model: Model folder.
        run: Name of the run below the folder.

    Returns:
        `total`, `resumed` (found done), `rows` (each with `study_id`, `code`, `message`, `called`, `probabilities`),
        `labels`, and `results`, the document of `metrics.json` or None; why there is none in `unscored`.
    """
    from medmm.errors import MedmmError
    from medmm.evaluation.files import score_to_folder
    from medmm.evaluation.predictions import from_store
    from medmm.evaluation.run import run_evaluation
    from medmm.store import FULL_ARM

    out = Path(folder) / RUNS / run
    summary = run_evaluation(
        Path(folder) / TABLE, model, out, limits=LIMITS, on_progress=lambda _phase, done, total: tell(f"{done} {total}")
    )
    predictions = from_store(out)
    full = [r for r in predictions.records if r.arm == FULL_ARM]
    failed = [{"study_id": r.sample_id, "stage": r.stage, "code": r.code, "message": r.message} for r in full if r.failed]
    write_csv(out / FAILURES, _FAILED, failed)
    results, unscored = None, None
    if any(t is not None for r in full for t in r.target):
        tell("scoring")
        try:
            results = json.loads(score_to_folder(out, None, None, None).to_json())
        except MedmmError as error:
            unscored = {"code": error.code, "message": error.message}
    rows = [
        {"study_id": r.sample_id, "code": r.code, "message": r.message, "called": list(r.called),
         "probabilities": dict(zip(predictions.labels, r.probability, strict=False))} for r in full
    ]  # fmt: skip
    return {
        "total": summary.total,
        "resumed": summary.resumed,
        "labels": list(predictions.labels),
        "rows": rows,
        "results": results,
        "unscored": unscored,
    }
