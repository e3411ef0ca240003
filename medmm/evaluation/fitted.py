"""What was fitted on one split and is used on another: plain JSON that says where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field

from medmm.disk import replace_bytes
from medmm.errors import LeakageError, PredictionsError
from medmm.evaluation.policies import Strict
from medmm.json_text import to_text
from medmm.metrics.recalibration import logits_of
from medmm.metrics.recalibration.by_pattern import ByPattern
from medmm.store import Record
from medmm.types import FloatArray, Kind

T = TypeVar("T", bound=Strict)


class Source(Strict):
    """The samples something was fitted on.

    Attributes:
        split: Their side of the split.
        n, patients: How many.
        sha256: Of their identifiers, truths and predictions.
        patient_digests: Of their patients, so that scoring can prove that it has none of them.
    """

    split: str
    n: int
    patients: int
    sha256: str
    patient_digests: tuple[str, ...]


class FittedThresholds(Strict):
    """`thresholds.json`: decision thresholds by arm; one if binary, one a label if multilabel, null if multiclass."""

    schema_: Literal["medmm.thresholds/1"] = Field(default="medmm.thresholds/1", alias="schema")
    kind: Kind
    labels: tuple[str, ...]
    policy: str
    source: Source
    by_arm: dict[str, tuple[float, ...] | None]


class FittedRecalibration(Strict):
    """`recalibration.json`: maps from logits to probabilities by arm, as `ByPattern.to_dict` writes them."""

    schema_: Literal["medmm.recalibration/1"] = Field(default="medmm.recalibration/1", alias="schema")
    kind: Kind
    labels: tuple[str, ...]
    method: str
    source: Source
    by_arm: dict[str, dict[str, Any]]

    def __call__(self, arm: str, rows: Sequence[Record]) -> FloatArray | None:
        """(n, K) probabilities of rows after it; None for an arm it was not fitted for."""
        if arm not in self.by_arm:
            return None
        return ByPattern.from_dict(self.kind, self.by_arm[arm])(logit_array(rows, self.kind), [r.pattern for r in rows])


class FittedConformal(Strict):
    """`conformal.json`: prediction sets of the full arm, as `PredictionSets.to_dict` writes them."""

    schema_: Literal["medmm.conformal/1"] = Field(default="medmm.conformal/1", alias="schema")
    kind: Kind
    labels: tuple[str, ...]
    source: Source
    sets: tuple[dict[str, Any], ...]


def describe_source(rows: Sequence[Record], split: str) -> Source:
    """Who and what these rows are."""
    content = sorted((r.arm, r.sample_id, r.patient_id, r.target, r.probability) for r in rows)
    patients = sorted({r.patient_id for r in rows})
    samples = len({r.sample_id for r in rows})
    digest = hashlib.sha256(repr(content).encode()).hexdigest()
    return Source(split=split, n=samples, patients=len(patients), sha256=digest, patient_digests=tuple(map(_digest, patients)))


def check_apart(source: Source, rows: Sequence[Record]) -> None:
    """Make sure that nothing was fitted on patients that are scored.

    Raises:
        LeakageError: If it was.
    """
    shared = {_digest(p) for p in {r.patient_id for r in rows}} & set(source.patient_digests)
    if shared:
        msg = f"Expected fitting on other patients than those scored; {len(shared)} are on both sides. Divide by patient."
        raise LeakageError(msg)


def target_array(rows: Sequence[Record]) -> FloatArray:
    """(n, K) truth, NaN where unknown."""
    return np.array([[np.nan if t is None else t for t in r.target] for r in rows], dtype=np.float64)


def probability_array(rows: Sequence[Record]) -> FloatArray:
    """(n, K) probabilities."""
    return np.array([r.probability for r in rows], dtype=np.float64)


def logit_array(rows: Sequence[Record], kind: Kind) -> FloatArray:
    """(n, K) logits: those that came with the predictions, else those that stand for the probabilities."""
    if all(r.logit for r in rows):
        return np.array([r.logit for r in rows], dtype=np.float64)
    return logits_of(kind, probability_array(rows))


def write_fitted(part: Strict, file: Path) -> None:
    """Write one of the above as JSON, in one step."""
    replace_bytes(file, (to_text(part.model_dump(mode="json", by_alias=True)) + "\n").encode())


def read_fitted(form: type[T], file: Path) -> T | None:
    """Read one of the above; None if there is no such file.

    Raises:
        PredictionsError: If it is not of this form.
    """
    if not file.is_file():
        return None
    try:
        return form.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        msg = f"Expected {file.name} as `medmm eval fit` writes it; it is damaged or of another version. Fit again."
        raise PredictionsError(msg) from None


def _digest(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()[:16]
