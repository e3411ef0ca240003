"""The cohort table: one row a study, with its image, its note, its label and its split.

Columns: `study_id`, `patient_id`, `image` (path of a file, folder or zip beside the table, several
joined by `|`), `series` (the DICOM series to read of each: SeriesInstanceUID or number in `medmm inspect`,
joined by `|`), `repair` (what may be mended in them, joined by commas), `note` (text, or a path when it
ends in .txt), `audio` (path of a recording), `note_confidence` (of a note that a speech recogniser wrote,
0 to 1), `split` (train, val or test), and `label`, or one 0/1 column `label__<name>` for each label of a
multilabel task. Empty means missing, and missing is legal. All other columns are kept as they are; a task
may name some of them as tabular values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medmm.disk import sha256_of
from medmm.errors import CohortError, InputError, LeakageError, MedmmError
from medmm.sections import SectionName
from medmm.sources.dicom.repair import REPAIRS, Repair, as_repairs
from medmm.sources.opener import Opener, open_study
from medmm.sources.text import make_note, read_note
from medmm.study import Category, Note, Quantity, Study, Values
from medmm.table import Row, read_rows
from medmm.types import FloatArray, Kind, Modality

SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {"train": "train", "fit": "train", "val": "val", "valid": "val", "validation": "val", "tune": "val",
                "dev": "val", "test": "test"}  # fmt: skip
_NEGATIVE = ("no", "not", "non", "negative", "absent", "benign", "control", "false", "0")


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    Attributes:
        study_id: Unique in the table.
        patient_id: Patients never stand on two sides of a split.
        images: Absolute paths.
        note: Text or absolute path of a .txt, None when missing.
        target: (K,) 0 or 1 for each label of the cohort (NaN where unknown), None when unlabelled.
        split: `train`, `val`, `test` or None.
        columns: All other cells.
        audio: Absolute path of a recording, None when missing.
        fields: Which of them are tabular values to be read.
        confidence: Of a note that was written down by a machine; 1 otherwise.
        series: Which series to read of each image, None by the rule; empty when the table has no such cell.
        repair: What may be mended in the images.
        sections: Sections of the note that may be read, all when None.
    """

    study_id: str
    patient_id: str
    images: tuple[Path, ...]
    note: str | Path | None
    target: FloatArray | None
    split: str | None
    columns: Row
    audio: Path | None = None
    fields: tuple[Quantity | Category, ...] = ()
    confidence: float = 1.0
    series: tuple[str | None, ...] = ()
    repair: tuple[Repair, ...] = ()
    sections: tuple[SectionName, ...] | None = None
    unopened: frozenset[Modality] = frozenset()

    def open(self, opener: Opener = open_study) -> Study:
        """Read the study from disk.

        Args:
            opener: How to open a path; `jail.Jail.open` does it where foreign bytes can do no harm.

        Raises:
            InputError: If an image, the note, the recording or a value cannot be read.
        """
        first, *others = self.images or (None,)
        name, *names = self.series or (None,) * max(len(self.images), 1)
        study = opener(first, self.read_note(), series=name, repair=self.repair, audio=self.audio)
        for image, another in zip(others, names, strict=True):
            study = study.with_images(opener(image, series=another, repair=self.repair))
        return replace(study, values=self.read_values(), unopened=self.unopened)

    def reading(self, modalities: Collection[Modality]) -> Case:
        """Without the images and the recording that are not among what is read: they take time, and must not fail the rest."""
        there: dict[Modality, bool] = {"image": bool(self.images), "audio": self.audio is not None}
        case = replace(self, unopened=frozenset(name for name in there if there[name] and name not in modalities))
        case = case if "image" in modalities else replace(case, images=(), series=(), repair=())
        return case if "audio" in modalities else replace(case, audio=None)

    def read_note(self) -> Note | None:
        """The note alone.

        Raises:
            TextError: If it cannot be read.
        """
        if self.note is None:
            return None
        note = read_note(self.note) if isinstance(self.note, Path) else make_note(self.note)
        return replace(note, confidence=self.confidence).keeping(self.sections)

    def note_text(self) -> str:
        """The text of the note for whoever looks at words alone; empty without one, or when it cannot be read."""
        try:
            note = self.read_note()
        except MedmmError:
            return ""  # reading the study says why
        return note.text if note else ""

    def read_values(self) -> Values | None:
        """The tabular values alone, None when the cohort has none.

        Raises:
            ValuesError: If one is not a number or not believable.
        """
        return Values.from_cells(self.fields, self.columns) if self.fields else None


@dataclass(frozen=True, slots=True)
class Cohort:
    """A read table.

    Attributes:
        cases: Rows in file order.
        kind: Kind of task the labels make, None without labels.
        labels: Class names; of a binary task the second is the positive one.
        digest: SHA-256 of the table's bytes.
    """

    cases: tuple[Case, ...]
    kind: Kind | None
    labels: tuple[str, ...]
    digest: str

    def with_split(self, split: str) -> tuple[Case, ...]:
        """Cases of one split."""
        return tuple(c for c in self.cases if c.split == split)


def read_cohort(
    path: str | Path, labels: tuple[str, ...] | None = None, kind: Kind | None = None,
    fields: tuple[Quantity | Category, ...] = (), sections: tuple[SectionName, ...] | None = None,
) -> Cohort:  # fmt: skip
    """Read and check a cohort table. No image is opened.

    Args:
        path: CSV or Parquet.
        labels: Class names in order, when a task or model states them; else taken from the table. Two
            classes named like `no_x` and `x` are put in that order, others alphabetically.
        kind: Kind of task, when stated; else taken from the table.
        fields: Columns that hold tabular values, with their units and bounds or words.
        sections: Sections of notes that may be read, all when None.

    Raises:
        CohortError: If the table breaks its contract.
        LeakageError: If a patient has rows in two splits.
    """
    path = Path(path)
    rows = read_rows(path, CohortError)
    _check_columns(rows, fields)
    found_kind, found_labels = _label_space(rows, labels)
    kind, labels = kind or found_kind, labels or found_labels
    root = path.resolve().parent
    cases = tuple(replace(_case(row, root, kind, labels), fields=fields, sections=sections) for row in rows)
    _refuse_leakage(cases)
    return Cohort(cases, kind, labels, sha256_of(path))


def _check_columns(rows: list[Row], fields: tuple[Quantity | Category, ...]) -> None:
    columns = set(rows[0])
    unknown = [f.name for f in fields if f.name not in columns]
    if unknown:
        msg = f"Expected a column for each tabular value; missing: {', '.join(unknown)}. Add them, or correct the task."
        raise CohortError(msg)
    missing = {"study_id", "patient_id"} - columns
    if missing or not columns & {"image", "note", "audio", *(f.name for f in fields)}:
        needed = ", ".join(sorted(missing)) or "image, note, audio or tabular values"
        msg = f"Expected the columns study_id, patient_id and something to read; missing: {needed}. Add them."
        raise CohortError(msg)
    for name in ("study_id", "patient_id"):
        empty = sum(not row[name] for row in rows)
        if empty:
            msg = f"Expected a {name} in every row; {empty} rows have none. Fill them in."
            raise CohortError(msg)
    repeated = sum(count - 1 for count in Counter(row["study_id"] for row in rows).values())
    if repeated:
        msg = f"Expected every study_id once; {repeated} are repeated. Name each study once."
        raise CohortError(msg)


def _label_space(rows: list[Row], stated: tuple[str, ...] | None) -> tuple[Kind | None, tuple[str, ...]]:
    named = tuple(c.removeprefix("label__") for c in rows[0] if c.startswith("label__"))
    if named and "label" in rows[0]:
        msg = "Expected either a label column or label__<name> columns; got both. Keep one kind."
        raise CohortError(msg)
    if named:
        return "multilabel", named
    present = {row["label"] for row in rows if row.get("label")}
    if not present:
        return None, ()
    values = stated or tuple(sorted(present))  # a table may lack a stated class
    if len(values) == 1:
        msg = "Expected at least two classes in the label column; got one. Nothing can be learned or measured."
        raise CohortError(msg)
    if len(values) == 2:
        return "binary", tuple(sorted(values, key=lambda v: not _sounds_negative(v)))
    return "multiclass", values


def _sounds_negative(label: str) -> bool:
    words = label.lower().replace("-", "_").replace(" ", "_").split("_")
    return words[0] in _NEGATIVE


def _case(row: Row, root: Path, kind: Kind | None, labels: tuple[str, ...]) -> Case:
    known = {"study_id", "patient_id", "image", "series", "note", "audio", "note_confidence", "split", "label"}
    images = tuple(root / part.strip() for part in row.get("image", "").split("|") if part.strip())
    return Case(
        study_id=row["study_id"],
        patient_id=row["patient_id"],
        images=images,
        note=_note(row.get("note", ""), root),
        target=_target(row, kind, labels),
        split=_split(row.get("split", "")),
        columns={k: v for k, v in row.items() if k not in known and not k.startswith("label__")},
        audio=root / row["audio"] if row.get("audio") else None,
        confidence=_confidence(row.get("note_confidence", "")),
        series=_series(row.get("series", ""), len(images)),
        repair=_repairs(row.get("repair", "")),
    )


def _series(cell: str, images: int) -> tuple[str | None, ...]:
    names = tuple(part.strip() or None for part in cell.split("|")) if cell else ()
    if names and len(names) != images:
        msg = f"Expected one series for each image of a row, joined by |; got {len(names)} for {images}. A place may be empty."
        raise CohortError(msg)
    return names


def _repairs(cell: str) -> tuple[Repair, ...]:
    try:
        return as_repairs([word.strip() for word in cell.split(",") if word.strip()])
    except InputError:
        msg = f"Expected in the column repair words among {', '.join(REPAIRS)}, joined by commas; got another. Correct it."
        raise CohortError(msg) from None


def _confidence(cell: str) -> float:
    try:
        found = float(cell or 1)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1:
        msg = "Expected note_confidence above 0 and at most 1, or empty; got something else."
        raise CohortError(msg)
    return found


def _note(cell: str, root: Path) -> str | Path | None:
    if cell.endswith(".txt") and "\n" not in cell:
        return root / cell
    return cell or None


def _target(row: Row, kind: Kind | None, labels: tuple[str, ...]) -> FloatArray | None:
    if kind is None:
        return None
    if kind == "multilabel":
        values = [row.get(f"label__{name}", "") for name in labels]
        if any(v not in ("", "0", "1", "0.0", "1.0") for v in values):
            msg = "Expected 0, 1 or nothing in label__<name> columns; got something else."
            raise CohortError(msg)
        target = np.array([float(v) if v else np.nan for v in values])
        return None if np.isnan(target).all() else target
    value = row.get("label", "")
    if not value:
        return None
    if value not in labels:
        msg = f"Expected labels among {', '.join(labels)}; the table has another one. Correct it or state the labels."
        raise CohortError(msg)
    return np.array([float(value == name) for name in labels])


def _split(cell: str) -> str | None:
    if not cell:
        return None
    if cell.lower() not in _SPLIT_NAMES:
        msg = f"Expected split to be one of {', '.join(SPLITS)} or empty; got something else."
        raise CohortError(msg)
    return _SPLIT_NAMES[cell.lower()]


def _refuse_leakage(cases: tuple[Case, ...]) -> None:
    seen: dict[str, set[str]] = {}
    for case in cases:
        if case.split:
            seen.setdefault(case.patient_id, set()).add(case.split)
    torn = sum(len(splits) > 1 for splits in seen.values())
    if torn:
        msg = f"Expected every patient in one split; {torn} stand in several. Split by patient, not by study."
        raise LeakageError(msg)
