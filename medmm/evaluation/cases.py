"""Which studies a run predicts, after proof that its model was not fitted on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from medmm.errors import LeakageError, TaskError
from medmm.evaluation.partition import FILE
from medmm.evaluation.predictions import is_reserved
from medmm.sources.cohort import Case, Cohort
from medmm.table import read_rows, write_csv

_FITTING = ("train", "val")


@dataclass(frozen=True, slots=True)
class Side:
    """Where a study stood when the model was trained; `image_sha256` is empty when it was not recorded."""

    patient_id: str
    split: str
    image_sha256: str


def choose_cases(cohort: Cohort, model: Path, split: str) -> list[tuple[int, Case]]:
    """(position in the table, case) of the side to predict.

    Args:
        cohort: All studies.
        model: Model folder.
        split: Side; of a cohort without a split everything, or as divided in the model's own training run.

    Raises:
        TaskError: If there are none, or a column has a name that predictions give another meaning.
        LeakageError: If patients among them were used to fit the model.
    """
    recorded = recorded_sides(model)
    cases = list(enumerate(cohort.cases))
    if any(case.split for _, case in cases):
        cases = [(i, c) for i, c in cases if c.split == split]
    elif recorded:
        cases = [
            (i, replace(c, split=split)) for i, c in cases if c.study_id not in recorded or recorded[c.study_id].split == split
        ]
    if not cases:
        msg = f"Expected studies in the split {split!r}; there are none. State --split."
        raise TaskError(msg)
    refuse_reserved(cohort)
    _refuse_fitted({c.patient_id for _, c in cases}, recorded, split)
    return cases


def refuse_reserved(cohort: Cohort) -> None:
    """Refuse columns that predictions give another meaning.

    Raises:
        TaskError: If there are any.
    """
    if taken := sorted(filter(is_reserved, cohort.cases[0].columns)):
        msg = f"Expected cohort columns without a meaning in predictions; got {', '.join(taken)}. Rename them."
        raise TaskError(msg)


def recorded_sides(model: Path) -> dict[str, Side]:
    """Every study of the model's own training run by its id; empty when that was not recorded."""
    file = model / "split.csv"
    rows = read_rows(file, TaskError) if file.is_file() else []
    return {r["study_id"]: Side(r["patient_id"], r["split"], r.get("image_sha256", "")) for r in rows}


def write_partition(model: Path, predicted: str, run: Path) -> None:
    """Keep with a run what its model was fitted and tuned on, the side that is predicted apart."""
    rows = [
        {"sample_id": study, "patient_id": side.patient_id, "split": side.split, "image_sha256": side.image_sha256}
        for study, side in recorded_sides(model).items()
        if side.split != predicted
    ]
    if rows:
        write_csv(run / FILE, list(rows[0]), rows)


def _refuse_fitted(patients: set[str], recorded: dict[str, Side], split: str) -> None:
    fitted = {side.patient_id for side in recorded.values() if side.split in _FITTING or side.split.startswith("fold")}
    if (seen := patients & fitted) and split not in _FITTING:
        msg = (
            f"Expected patients the model was not fitted on; {len(seen)} of them were. "
            "Score other patients, or the out-of-fold predictions."
        )
        raise LeakageError(msg)
