"""What is measured, on which patients, and how: a small YAML file, hashed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medmm.errors import TaskError
from medmm.study import Quantity
from medmm.types import Kind

_MAX_BYTES = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThresholdPolicy(_Strict):
    """How probabilities become decisions.

    Attributes:
        policy: `stated` takes the decisions that come with the predictions; `max_f1_macro` chooses on
            `split`; `fixed` uses `value` for every label.
        split: Where `max_f1_macro` chooses; the scored split is refused.
        value: Threshold of `fixed`.
    """

    policy: Literal["stated", "max_f1_macro", "fixed"] = "stated"
    split: str = "val"
    value: float = Field(default=0.5, ge=0, le=1)


class IntervalPolicy(_Strict):
    """Patient-clustered percentile bootstrap."""

    replicates: int = Field(default=1000, ge=100, le=100_000)
    seed: int = 0
    level: float = Field(default=0.95, gt=0.5, lt=1)


class Task(_Strict):
    """One question asked of one set of patients.

    Attributes:
        name, version: Identity; a task is superseded, never edited.
        question: In words.
        kind, labels: Label space; taken from the data when not stated.
        cohort: Table, relative to the task file.
        cohort_sha256: Digest the table must have.
        split: Side that is scored.
        values: Columns of the cohort that hold tabular values, with unit and believable bounds.
        thresholds, intervals: Policies.
        intended_use: Author's statement, printed in reports.
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
    thresholds: ThresholdPolicy = ThresholdPolicy()
    intervals: IntervalPolicy = IntervalPolicy()
    intended_use: str = ""
    supersedes: str | None = None

    @model_validator(mode="after")
    def _thresholds_not_on_test(self) -> Task:
        if self.thresholds.policy == "max_f1_macro" and self.thresholds.split == self.split:
            msg = "thresholds must be chosen on another split than the one that is scored"
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

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        later = None if self.values else {"values"}  # fields added since tasks are hashed count when they are used
        return hashlib.sha256(self.model_dump_json(exclude=later).encode()).hexdigest()


def read_task(path: str | Path) -> Task:
    """Read a task file.

    Raises:
        TaskError: If it is missing, too large, not YAML or breaks the contract.
    """
    path = Path(path)
    try:
        content = path.read_bytes()[: _MAX_BYTES + 1]
    except OSError:
        msg = "Expected a readable task file; there is none. Check the path."
        raise TaskError(msg) from None
    if len(content) > _MAX_BYTES:
        msg = "Expected a task file under 1 MB; got a larger one."
        raise TaskError(msg)
    try:
        return Task.model_validate(yaml.safe_load(content) or {})
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'task'}: {e['msg']}" for e in error.errors()[:5])
        msg = f"Expected a task file that follows the contract; it does not: {where}."
        raise TaskError(msg) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        msg = "Expected YAML; the task file is not."
        raise TaskError(msg) from None


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
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
        if found != task.cohort_sha256:
            msg = "Expected the cohort the task was written for; its SHA-256 differs. Restore it or write a new task."
            raise TaskError(msg)
    return path
