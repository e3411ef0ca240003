"""What is measured, on which patients, and how: a small YAML file, hashed."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from medmm.disk import sha256_of
from medmm.errors import TaskError
from medmm.evaluation.policies import (
    ComparisonPolicy,
    ConformalPolicy,
    Further,
    IntervalPolicy,
    RecalibrationPolicy,
    Strict,
    SubgroupPolicy,
    ThresholdPolicy,
    Unit,
)
from medmm.sections import BEFORE_READING, SectionName
from medmm.study import Quantity
from medmm.types import Kind
from medmm.yaml_text import read_yaml


class Task(Strict):
    """One question asked of one set of patients.

    Attributes:
        name, version: Identity; a task is superseded, never edited.
        question: In words.
        kind, labels: Label space; taken from the data when not stated.
        cohort: Table, relative to the task file.
        cohort_sha256: Digest the table must have.
        split: Side that is scored.
        values: Columns of the cohort that hold tabular values, with unit and believable bounds.
        labels_from: `reports` when labels were read off reports: a model trained for the task then reads the indication alone.
        unit: What one sample is, how rows are aggregated to it, and the site column.
        tasks: Further questions, learned and scored beside the labels.
        uncertain: What an uncertain label (`-1` or `u`) counts as.
        ablations: Arms to score beside `full`, e.g. `image`; all that are there when empty.
        thresholds, recalibration, conformal: Fitted on another split than the scored one.
        metrics: Names, or their part before the bracket, to report; all when empty.
        prevalence: Of the positive class, or of each label, where the model is to be used: gives PPV and
            NPV adjusted to it.
        intervals, subgroups, comparison: Policies.
        gate: Rules that `medmm eval gate` checks.
        intended_use: Author's statement, printed in reports.
        statements: What else only the author can say, by checklist key, e.g. `reference_standard`.
        supersedes: Name and version of the task this one replaces.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    version: int = 1
    question: str = ""
    kind: Kind | None = None
    labels: tuple[str, ...] = ()
    cohort: str | None = None
    cohort_sha256: str | None = None
    split: str = "test"
    values: tuple[Quantity, ...] = ()
    labels_from: Literal["reports"] | None = None
    tasks: tuple[Further, ...] = ()
    unit: Unit = Unit()
    uncertain: Literal["ignore", "negative", "positive"] = "ignore"
    ablations: tuple[str, ...] = ()
    thresholds: ThresholdPolicy = ThresholdPolicy()
    recalibration: RecalibrationPolicy = RecalibrationPolicy()
    conformal: ConformalPolicy = ConformalPolicy()
    metrics: tuple[str, ...] = ()
    prevalence: dict[str, float] = Field(default_factory=dict)
    intervals: IntervalPolicy = IntervalPolicy()
    subgroups: SubgroupPolicy = SubgroupPolicy()
    comparison: ComparisonPolicy = ComparisonPolicy()
    gate: tuple[str, ...] = ()
    intended_use: str = ""
    statements: dict[str, str] = Field(default_factory=dict)
    supersedes: str | None = None

    @model_validator(mode="after")
    def _nothing_is_fitted_on_the_scored_split(self) -> Task:
        fitted = {
            "thresholds": self.thresholds.fitted and self.thresholds.split,
            "recalibration": self.recalibration.fitted and self.recalibration.split,
            "conformal": bool(self.conformal.methods) and self.conformal.split,
        }
        wrong = [name for name, split in fitted.items() if split == self.split]
        if wrong:
            msg = f"{', '.join(wrong)} must be fitted on another split than the one that is scored"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> Task:
        if len(set(self.labels)) < len(self.labels) or not all(self.labels) or any("|" in label for label in self.labels):
            msg = "labels must be distinct, not empty and free of |"
            raise ValueError(msg)
        return self

    @classmethod
    def about(cls, stem: str) -> Task:
        """The task with every default, named after a file or folder."""
        kept = "".join(c if (c.isalnum() and c.isascii()) or c in "_.-" else "-" for c in stem).lstrip("_.-")[:80]
        return cls(name=kept or "predictions")

    @model_validator(mode="after")
    def _prevalences_are_shares_of_labels(self) -> Task:
        if any(not 0 < share < 1 for share in self.prevalence.values()):
            msg = "prevalence must lie between 0 and 1"
            raise ValueError(msg)
        if self.labels and (unknown := set(self.prevalence) - set(self.labels)):
            msg = f"prevalence names {', '.join(sorted(unknown))}, which is no label"
            raise ValueError(msg)
        return self

    def altered(self, changes: Mapping[str, Mapping[str, Any]]) -> Task:
        """The same task with parts stated otherwise; what is None stays as it is.

        Raises:
            TaskError: If the result breaks the contract.
        """
        stated = self.model_dump(exclude_defaults=True)
        for part, values in changes.items():
            stated[part] = stated.get(part, {}) | {key: value for key, value in values.items() if value is not None}
        return _validated(stated)

    @property
    def read_sections(self) -> tuple[SectionName, ...] | None:
        """Sections of notes that may be read, None for all."""
        return BEFORE_READING if self.labels_from == "reports" else None

    @property
    def training_choices(self) -> dict[str, Any]:
        """What it says of how to train, as choices of `TrainConfig`; only those that were stated."""
        stated = {"labels_from": self.labels_from, "tabular": tuple(q.name for q in self.values),
                  "units": {q.name: q.unit for q in self.values},
                  "tasks": [{"name": t.name, "kind": t.kind, "labels": t.labels} for t in self.tasks],
                  "believable": {q.name: (q.low, q.high) for q in self.values}}  # fmt: skip
        return {name: value for name, value in stated.items() if value}

    @property
    def digest(self) -> str:
        """SHA-256 of what was stated; defaults do not count, so that a new option leaves old tasks what they were."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()


def read_task(path: str | Path) -> Task:
    """Read a task file.

    Raises:
        TaskError: If it is missing, too large, not YAML, states a key twice or breaks the contract.
    """
    return _validated(read_yaml(path, "a task file"))


def find_cohort(task: Task, task_file: Path) -> Path:
    """The cohort table of a task, checked against its stated digest.

    Raises:
        TaskError: If the task names none, or its bytes are not those it was written for.
    """
    if task.cohort is None:
        msg = "Expected the task to name a cohort; it does not. Add cohort: or hand in the table itself."
        raise TaskError(msg)
    path = task_file.parent / task.cohort
    if task.cohort_sha256 is not None:
        found = sha256_of(path) if path.is_file() else "none"
        if found != task.cohort_sha256:
            msg = "Expected the cohort the task was written for; its SHA-256 differs. Restore it or write a new task."
            raise TaskError(msg)
    return path


def _validated(stated: Any) -> Task:
    try:
        return Task.model_validate(stated)
    except ValidationError as error:
        where = "; ".join(_fault(e["loc"], e["msg"], e["type"]) for e in error.errors()[:5])
        msg = f"Expected a task that follows the contract; it does not: {where}."
        raise TaskError(msg) from None


def _fault(where: Sequence[int | str], message: str, kind: str) -> str:
    """One broken rule in words, with the nearest key where one is not known."""
    known = _keys_at(where[:-1]) if kind == "extra_forbidden" else []
    near = difflib.get_close_matches(str(where[-1]), known, n=1) if where else []
    hint = f" Did you mean {near[0]}?" if near else ""
    said = f"there is no such key.{hint}" if known else message
    return f"{'.'.join(map(str, where)) or 'task'}: {said}"


def _keys_at(where: Sequence[int | str]) -> list[str]:
    """Keys of the part of a task that lies there."""
    part: Any = Task
    for step in where:
        field = part.model_fields.get(step)
        part = field.annotation if field else None
        if not (isinstance(part, type) and issubclass(part, BaseModel)):
            return []
    return list(part.model_fields)
