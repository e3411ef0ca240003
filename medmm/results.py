"""The schema of `metrics.json`: versioned, strict, null with a reason instead of an invented number."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medmm.types import Kind

PREVALENCE_ARM = "prevalence"
"""Name of the arm that gives everybody the class frequencies."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Value(_Strict):
    """One measured number.

    Attributes:
        value: Point estimate on the scored samples; null when undefined.
        low, high: Interval; null when defined in fewer than half of the replicates.
        defined: Replicates in which the metric was defined.
        reason: Why it is undefined, null otherwise.
        better: Which way is better; `target` for slopes and intercepts.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    defined: int = 0
    reason: str | None = None
    better: Literal["higher", "lower", "target"]


class Bin(_Strict):
    """One point of a reliability diagram with Wilson's 95 % interval."""

    count: int
    predicted: float
    observed: float
    low: float
    high: float


class Calibration(_Strict):
    """Verdict and diagram of one label's probabilities; see `metrics.calibration.judge_calibration`.

    Attributes:
        calibrated: Whether chance explains the departure from being exactly right (p at least 0.05).
        p_value: Of that test.
        ece: Equal width, 15 bins.
        ece_null_median, ece_null_high: Median and 97.5 % quantile of the ECE if the probabilities were
            exactly right.
        bins: Reliability diagram.
    """

    calibrated: bool | None
    p_value: float | None
    ece: float | None
    ece_null_median: float | None
    ece_null_high: float | None
    bins: tuple[Bin, ...]


class Decision(_Strict):
    """Where the decisions behind F1 and its kin come from.

    Attributes:
        policy: `stated`, `max_f1_macro`, `fixed` or `most_probable`.
        thresholds: One if binary, one a label if multilabel, null when the most probable class wins or
            the decisions came with the predictions.
        split: Split the thresholds were chosen on.
        confusion: (K, K) counts, rows true and columns called, in label order; per label
            [[tn, fp], [fn, tp]] if multilabel.
    """

    policy: str
    thresholds: tuple[float, ...] | None
    split: str
    confusion: tuple[tuple[tuple[int, ...], ...], ...]


class Arm(_Strict):
    """Everything measured for one set of inputs, or for a baseline.

    Attributes:
        name: `full`, the modalities allowed, or `prevalence`.
        what: In words.
        n, patients: Scored samples and their patients.
        positives: Samples of each label.
        metrics: By name.
        decision: Of the metrics that depend on one.
        calibration: By label.
        roc: By label, (false positive rate, true positive rate) points.
    """

    name: str
    what: str
    n: int
    patients: int
    positives: dict[str, int]
    metrics: dict[str, Value]
    decision: Decision
    calibration: dict[str, Calibration]
    roc: dict[str, tuple[tuple[float, float], ...]]


class Comparison(_Strict):
    """Paired difference of two arms on the samples both answered.

    Attributes:
        first, second: Arms; the difference is first minus second.
        metric: Name.
        n: Samples in common.
        difference, low, high: With the same patients resampled for both.
        excludes_zero: Whether the interval leaves out no difference.
    """

    first: str
    second: str
    metric: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    excludes_zero: bool | None


class Counts(_Strict):
    """Where every sample of the scored split went.

    Attributes:
        total: Samples, the sum of the next three.
        scored, failed, unlabelled: What became of them.
        patients: Patients of the scored samples.
        failures: Failed samples by error code.
    """

    total: int
    scored: int
    failed: int
    unlabelled: int
    patients: int
    failures: dict[str, int]


class Intervals(_Strict):
    """How intervals were made."""

    method: Literal["patient bootstrap, percentile"] = "patient bootstrap, percentile"
    replicates: int
    seed: int
    level: float


class FailedSample(_Strict):
    """A sample without an answer, and why."""

    sample_id: str
    code: str


class Results(_Strict):
    """The content of `metrics.json`."""

    schema_: Literal["medmm.metrics/1"] = Field(default="medmm.metrics/1", alias="schema")
    medmm: str
    disclaimer: str
    task: str
    task_version: int
    task_sha256: str
    question: str
    intended_use: str
    kind: Kind
    labels: tuple[str, ...]
    split: str
    source: dict[str, str]
    model: dict[str, str]
    counts: Counts
    intervals: Intervals
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    failed: tuple[FailedSample, ...]
    notes: tuple[str, ...]

    def arm(self, name: str) -> Arm | None:
        """The arm of this name."""
        return next((a for a in self.arms if a.name == name), None)

    def to_json(self) -> str:
        """Stable text: the same results give the same bytes."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"
