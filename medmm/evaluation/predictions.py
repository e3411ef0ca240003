"""Predictions to score, from a run store or from a file that anybody's model wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medmm.disk import sha256_of
from medmm.errors import PredictionsError
from medmm.evaluation.about import read_about
from medmm.evaluation.partition import Member, read_members
from medmm.evaluation.policies import Further
from medmm.store import FULL_ARM, Record, RunStore
from medmm.table import Row, read_rows, write_rows
from medmm.types import Kind

UNCERTAIN = -1.0
"""A label that whoever made the reference standard was not sure of; the task says what it counts as."""

_RESERVED = {"sample_id", "patient_id", "arm", "pattern", "split", "label", "p", "called", "code", "message", "stage", "attempts",
             "image_sha256"}  # fmt: skip
_UNCERTAIN_CELLS = ("-1", "-1.0", "u")
_CELLS = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0, "": None, **dict.fromkeys(_UNCERTAIN_CELLS, UNCERTAIN)}


@dataclass(frozen=True, slots=True)
class Decided:
    """How the decisions that come with predictions were made.

    Attributes:
        policy, split: As stated by whoever made them.
        thresholds: One if binary, one a label if multilabel, None when not known or not used.
    """

    policy: str
    split: str
    thresholds: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Predictions:
    """Rows of one or more arms over one label space.

    Attributes:
        kind, labels: Label space; of a binary task the second label is the positive one.
        records: Rows; failures among them.
        source: Where they come from and its digest, without paths.
        model: Name and digest of the model, empty for a file.
        decided: How `called` was decided, by arm; empty when the rows carry no decisions.
        prevalence: Share of each label in the training data, when known.
        members: Samples of the other sides of the split, where they are known.
        notes: What had to be assumed in reading them.
        tasks: Further questions that the rows answer in columns, when known.
    """

    kind: Kind
    labels: tuple[str, ...]
    records: tuple[Record, ...]
    source: dict[str, str]
    model: dict[str, str] = field(default_factory=dict)
    decided: dict[str, Decided] = field(default_factory=dict)
    prevalence: tuple[float, ...] | None = None
    members: tuple[Member, ...] = ()
    notes: tuple[str, ...] = ()
    tasks: tuple[Further, ...] = ()


def from_store(folder: str | Path) -> Predictions:
    """Read a run folder.

    Raises:
        StoreError: If there is no store.
        PredictionsError: If the run is not finished.
    """
    folder = Path(folder)
    with RunStore(folder) as store:
        records, fingerprint = tuple(store.records()), store.fingerprint
    about = read_about(folder)
    if about.get("status") != "finished":
        msg = "Expected a finished run; this one is not. Run the same `medmm eval run` command again: it goes on where it stopped."
        raise PredictionsError(msg)
    return Predictions(
        kind=about["kind"],
        labels=tuple(about["labels"]),
        records=records,
        source={"type": "run", "fingerprint": _digest(sorted(fingerprint.items()))},
        model=about["model"],
        decided={arm: Decided(d["policy"], d["split"], _maybe_tuple(d["values"])) for arm, d in about["decided"].items()},
        prevalence=_maybe_tuple(about["prevalence"]),
        notes=tuple(about.get("notes", ())),
        members=read_members(folder),
        tasks=tuple(Further.model_validate(t) for t in about.get("tasks", ())),
    )


def from_file(path: str | Path, labels: tuple[str, ...] = (), kind: Kind | None = None) -> Predictions:
    """Read a predictions file (CSV, Parquet or JSON Lines).

    Columns: `sample_id`; `patient_id` (else every sample counts as a patient); `label` and
    `p__<class>` for each class, or `label__<name>` and `p__<name>` for multilabel; optional `arm`,
    `pattern`, `split`, `called` (names joined by `|`, a lone `|` for none of them; empty in every row of an arm:
    it has no decisions), `code` (reason of a failure) with `message`, `stage`
    and `attempts`, `logit__<name>`, `image_sha256`. All other columns are kept, for subgroups and sites. A
    single `p` column of a binary task is the probability of the positive class: the second label the task
    states, else the last in alphabetical order, which is noted.

    Args:
        path: The file.
        labels: Order of the labels, when a task states it; else as the columns stand.
        kind: Kind of task, when stated.

    Raises:
        PredictionsError: If the file breaks the contract.
    """
    path = Path(path)
    rows = read_rows(path, PredictionsError)
    columns = list(rows[0])
    found_kind, found_labels = _label_space(rows, columns, labels)
    if kind is not None and (kind == "multilabel") != (found_kind == "multilabel"):
        msg = f"Expected predictions of a {kind} task, as stated; the columns are those of a {found_kind} one."
        raise PredictionsError(msg)
    if not set(labels) <= set(found_labels):
        msg = f"Expected columns for the labels {', '.join(labels)}, as stated; the file has {', '.join(found_labels)}."
        raise PredictionsError(msg)
    assumed = () if labels or "p" not in columns or f"p__{found_labels[0]}" in columns else (_assumption(found_labels[1]),)
    kind, labels = kind or found_kind, labels or found_labels
    stated = Decided("stated", "unknown: the file carries its own decisions")
    decided = {row.get("arm") or FULL_ARM: stated for row in rows if row.get("called")}
    records = tuple(_record(row, position, kind, labels, decided) for position, row in enumerate(rows))
    _check_consistent(records)
    source = {"type": "file", "sha256": sha256_of(path)}
    return Predictions(kind, labels, records, source, decided=decided, notes=assumed)


def export(predictions: Predictions, path: Path) -> None:
    """Write all rows as a predictions file that `from_file` reads back to the same records.

    The time each took stays in the store: two equal runs then have equal files.

    Args:
        predictions: What to write.
        path: `.csv`, `.parquet` or `.jsonl`.
    """
    names = predictions.labels
    truth = [f"label__{n}" for n in names] if predictions.kind == "multilabel" else ["label"]
    others = dict.fromkeys(name for r in predictions.records for name in r.columns)
    columns = ["sample_id", "patient_id", "arm", "pattern", "split", *truth]
    columns += [f"p__{n}" for n in names] + [f"logit__{n}" for n in names]
    columns += ["called", "code", "message", "stage", "attempts", "image_sha256", *others]
    write_rows(path, columns, (_to_row(r, predictions) for r in predictions.records))


def is_reserved(column: str) -> bool:
    """Whether a column of a predictions file has a meaning of its own."""
    return column in _RESERVED or column.startswith(("label__", "p__", "logit__"))


def _label_space(rows: list[Row], columns: list[str], stated: tuple[str, ...]) -> tuple[Kind, tuple[str, ...]]:
    if "sample_id" not in columns:
        msg = "Expected a sample_id column; there is none. Add one that names each prediction."
        raise PredictionsError(msg)
    multilabel = tuple(c.removeprefix("label__") for c in columns if c.startswith("label__"))
    probabilities = tuple(c.removeprefix("p__") for c in columns if c.startswith("p__"))
    if multilabel:
        if set(multilabel) != set(probabilities):
            msg = "Expected one p__<name> column for each label__<name>; they do not match."
            raise PredictionsError(msg)
        return "multilabel", multilabel
    if "label" not in columns:
        msg = "Expected a label column, or label__<name> columns; there is none."
        raise PredictionsError(msg)
    if not probabilities and "p" in columns:
        values = stated or tuple(sorted({row["label"] for row in rows if row["label"]}))
        if len(values) != 2:
            msg = f"Expected two classes beside a single p column; got {len(values)}. State the labels in a task."
            raise PredictionsError(msg)
        return "binary", values
    if len(probabilities) < 2:
        msg = "Expected p__<class> columns for at least two classes, or one p column; got neither."
        raise PredictionsError(msg)
    return ("binary" if len(probabilities) == 2 else "multiclass"), probabilities


def _assumption(positive: str) -> str:
    return f"The single p column was taken as the probability of {positive}; state the labels in a task to say otherwise."


def _record(row: Row, position: int, kind: Kind, labels: tuple[str, ...], decided: Collection[str]) -> Record:
    if not row["sample_id"]:
        msg = "Expected a sample_id in every row; one is empty."
        raise PredictionsError(msg)
    base: dict[str, Any] = {
        "sample_id": row["sample_id"],
        "patient_id": row.get("patient_id") or row["sample_id"],
        "position": position,
        "arm": row.get("arm") or FULL_ARM,
        "split": row.get("split", ""),
        "pattern": row.get("pattern", ""),
        "target": _target(row, kind, labels),
        "attempts": _attempts(row.get("attempts", "")),
        "image_sha256": row.get("image_sha256", ""),
        "columns": {name: cell for name, cell in row.items() if not is_reserved(name)},
    }
    if row.get("code"):
        return Record(**base, code=row["code"], message=row.get("message", ""), stage=row.get("stage", ""))
    called = tuple(name for name in row.get("called", "").split("|") if name)
    if set(called) - set(labels) or (base["arm"] in decided and kind != "multilabel" and len(called) != 1):
        msg = "Expected called to name known labels, exactly one unless the task is multilabel; got something else."
        raise PredictionsError(msg)
    return Record(**base, probability=_probability(row, labels), logit=_logits(row, labels), called=called)


def _target(row: Row, kind: Kind, labels: tuple[str, ...]) -> tuple[float | None, ...]:
    if kind == "multilabel":
        cells = [row[f"label__{name}"] for name in labels]
        if any(c not in _CELLS for c in cells):
            msg = "Expected 0, 1, -1 or u (uncertain) or nothing in label__<name> columns; got something else."
            raise PredictionsError(msg)
        return tuple(_CELLS[c] for c in cells)
    if not row["label"]:
        return (None,) * len(labels)
    if row["label"] not in labels:
        if row["label"] in _UNCERTAIN_CELLS:
            return (UNCERTAIN,) * len(labels)
        msg = f"Expected labels among {', '.join(labels)}; the file has another one. State the labels in a task."
        raise PredictionsError(msg)
    return tuple(float(row["label"] == name) for name in labels)


def _probability(row: Row, labels: tuple[str, ...]) -> tuple[float, ...]:
    try:
        if "p" in row and f"p__{labels[0]}" not in row:
            p = float(row["p"])
            return (1 - p, p)
        return tuple(float(row[f"p__{name}"]) for name in labels)
    except (KeyError, ValueError):
        msg = "Expected a number in every p column of a row that is not a failure; got something else. Give failures a code."
        raise PredictionsError(msg) from None


def _logits(row: Row, labels: tuple[str, ...]) -> tuple[float, ...]:
    cells = [row.get(f"logit__{name}", "") for name in labels]
    try:
        return tuple(map(float, cells)) if all(cells) else ()
    except ValueError:
        msg = "Expected a number or nothing in logit columns; got something else. Leave the columns out if there are none."
        raise PredictionsError(msg) from None


def _attempts(cell: str) -> int:
    if cell and not cell.isdecimal():
        msg = "Expected a whole number or nothing in the attempts column; got something else."
        raise PredictionsError(msg)
    return int(cell or 1)


def _check_consistent(records: Sequence[Record]) -> None:
    """Every sample once in an arm, and of the same patient and truth in all of them."""
    keys = {(r.sample_id, r.arm) for r in records}
    if len(keys) < len(records):
        msg = f"Expected every sample once in an arm; {len(records) - len(keys)} rows repeat one. Aggregate them first."
        raise PredictionsError(msg)
    if len({(r.sample_id, r.patient_id, r.split, r.target) for r in records}) > len({r.sample_id for r in records}):
        msg = "Expected the same patient, split and label for a sample in every arm; they differ. Correct the table."
        raise PredictionsError(msg)


def _to_row(record: Record, predictions: Predictions) -> dict[str, Any]:
    names = predictions.labels
    called = "|".join(record.called) or ("|" if record.arm in predictions.decided and not record.failed else "")
    row: dict[str, Any] = {"sample_id": record.sample_id, "patient_id": record.patient_id, "arm": record.arm}
    row |= {"pattern": record.pattern, "split": record.split, "called": called, "code": record.code}
    row |= {"message": record.message, "stage": record.stage, "attempts": record.attempts, "image_sha256": record.image_sha256}
    if predictions.kind == "multilabel":
        row |= {f"label__{n}": None if t is None else int(t) for n, t in zip(names, record.target, strict=True)}
    else:
        true = next((n for n, t in zip(names, record.target, strict=True) if t), "")
        row["label"] = _UNCERTAIN_CELLS[-1] if UNCERTAIN in record.target else true
    row |= {f"p__{n}": float(v) for n, v in zip(names, record.probability, strict=False)}
    return row | {f"logit__{n}": float(v) for n, v in zip(names, record.logit, strict=False)} | record.columns


def _maybe_tuple(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _digest(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()
