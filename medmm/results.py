"""The schema of `metrics.json`: versioned, strict, null with a reason instead of an invented number."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from medmm.json_text import to_text
from medmm.types import Kind

PREVALENCE_ARM = "prevalence"
"""Name of the arm that gives everybody the class frequencies."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Points = tuple[tuple[float, ...], ...]
"""A curve, point by point."""


class Value(_Strict):
    """One measured number.

    Attributes:
        value: Point estimate on the scored samples; null when undefined.
        low, high: Interval; null when defined in fewer than half of the replicates.
        defined: Replicates in which the metric was defined.
        reason: Why it is undefined, null otherwise.
        better: Which way is better; `target` for slopes and intercepts.
        interval: How the interval was made where it is not as `Results.intervals` says, e.g. `wilson`.
        null_low, null_high: Central 95 % of the values a perfectly calibrated model would have on these
            samples; for measures of calibration error only.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    defined: int = 0
    reason: str | None = None
    better: Literal["higher", "lower", "target"]
    interval: str = ""
    null_low: float | None = None
    null_high: float | None = None

    @model_serializer(mode="wrap")
    def _short(self, dump: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a return type would replace the schema
        """Without what is not known: there are a thousand of these in a file."""
        defaults = {name: field.default for name, field in Value.model_fields.items()}
        return {name: value for name, value in dump(self).items() if value != defaults[name]}


class Bin(_Strict):
    """One point of a reliability diagram with Wilson's 95 % interval."""

    count: int
    predicted: float
    observed: float
    low: float
    high: float


class CalibrationTest(_Strict):
    """A classical test of probabilities being exactly right; see `metrics.calibration.classical_tests`.

    It takes samples as independent and is not corrected for the number of labels: where patients or labels are
    several it rejects calibrated models too often, which `Calibration.p_value` does not.

    Attributes:
        statistic: A standard normal or chi-square if they are.
        degrees: Of freedom of a chi-square, null for a normal one.
        p_value: Two-sided.
    """

    statistic: float
    degrees: int | None
    p_value: float


class Calibration(_Strict):
    """Verdict and diagram of one label's probabilities; see `metrics.calibration.judge_labels`.

    Attributes:
        calibrated: Whether chance explains the departure from being exactly right (p at least 0.05).
        p_value: Of that test, corrected for the number of labels judged (Holm).
        ece: Equal width, 15 bins.
        ece_null_median, ece_null_high: Median and 97.5 % quantile of the ECE if the probabilities were
            exactly right.
        bins: Reliability diagram.
        tests: Classical tests by name; null where the samples do not define one.
    """

    calibrated: bool | None
    p_value: float | None
    ece: float | None
    ece_null_median: float | None
    ece_null_high: float | None
    bins: tuple[Bin, ...]
    tests: dict[str, CalibrationTest | None] = {}


class Decision(_Strict):
    """Where the decisions behind F1 and its kin come from.

    Attributes:
        policy: `stated`, `fixed`, `most_probable`, or what the thresholds were chosen by: `max_f1_macro`,
            `youden`, `sens_at`, `spec_at`, `cost`.
        thresholds: One if binary, one a label if multilabel, null when the most probable class wins or
            the decisions came with the predictions.
        split, n, sha256: Split the thresholds were chosen on, its samples, and their digest.
        confusion: (K, K) counts, rows true and columns called, in label order; per label
            [[tn, fp], [fn, tp]] if multilabel.
    """

    policy: str
    thresholds: tuple[float, ...] | None
    split: str
    n: int = 0
    sha256: str = ""
    confusion: tuple[tuple[tuple[int, ...], ...], ...]


class Curves(_Strict):
    """Curves of one label.

    Attributes:
        roc: (false positive rate, true positive rate).
        pr: (recall, precision).
        net_benefit: (threshold, net benefit of the model, of treating all); treating none is 0.
        smooth: (predicted, observed, low, high) of a smooth calibration curve with a 95 % band.
    """

    roc: Points = ()
    pr: Points = ()
    net_benefit: Points = ()
    smooth: Points = ()


class ConformalSets(_Strict):
    """Prediction sets that hold the truth at a promised rate, fitted on the tuning split.

    Attributes:
        method: `split`, `class_conditional` or `risk_control`.
        promised: Coverage promised, e.g. 0.9.
        split, n: Where it was fitted, and on how many samples.
        coverage, size: Measured on the scored samples: share of sets with the truth in them, mean labels in a set.
        by_group: Coverage in subgroups, keyed `column=value`.
    """

    method: str
    promised: float
    split: str
    n: int
    coverage: Value
    size: Value
    by_group: dict[str, Value] = {}


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
        curves: By label.
        risk_coverage: (coverage, error rate among those answered) as the least confident are left out.
        conformal: Prediction sets, where a tuning split is at hand.
    """

    name: str
    what: str
    n: int
    patients: int
    positives: dict[str, int]
    metrics: dict[str, Value]
    decision: Decision
    calibration: dict[str, Calibration]
    curves: dict[str, Curves]
    risk_coverage: Points = ()
    conformal: tuple[ConformalSets, ...] = ()


class Comparison(_Strict):
    """Paired difference of two arms, or of two runs, on the samples both answered.

    Attributes:
        first, second: Arms or runs; the difference is first minus second.
        metric: Name.
        n: Samples in common.
        difference, low, high: With the same patients resampled for both.
        excludes_zero: Whether the interval leaves out no difference.
        test, p_value: Test of no difference, e.g. `bootstrap`, `delong`, `mcnemar`, `permutation`.
        adjusted_p: After correction for the number of comparisons of one table.
        correction: `holm`, `bh` or empty.
        margin: Of non-inferiority, in the metric's unit; null for a test of superiority.
        outcome: `better`, `worse`, `non_inferior` or `not_shown`.
    """

    first: str
    second: str
    metric: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    excludes_zero: bool | None
    test: str = ""
    p_value: float | None = None
    adjusted_p: float | None = None
    correction: str = ""
    margin: float | None = None
    outcome: Literal["better", "worse", "non_inferior", "not_shown"] = "not_shown"


class Group(_Strict):
    """The `full` arm in one subgroup, or in one pattern of modalities present.

    Attributes:
        column, value: Which; `pattern` for the modalities present.
        n, patients: Scored samples and their patients.
        positives: Samples of each label.
        metrics: The headline metrics; empty when suppressed.
        suppressed: Why there are no numbers, null otherwise.
    """

    column: str
    value: str
    n: int
    patients: int
    positives: dict[str, int]
    metrics: dict[str, Value] = {}
    suppressed: str | None = None


class Gap(_Strict):
    """Difference between the best and the worst subgroup of a column.

    Attributes:
        column, metric: Of what.
        best, worst: Groups.
        gap: Best minus worst in the metric's own direction, with the same patients resampled.
    """

    column: str
    metric: str
    best: str
    worst: str
    gap: Value


class Heterogeneity(_Strict):
    """How much a metric differs between sites (random-effects meta-analysis).

    Attributes:
        column, metric: Of what.
        sites: Sites with enough samples.
        mean: Over sites.
        scale: `logit` where the analysis was done on the logit of the metric, as for shares and areas.
        tau: Standard deviation between sites, on that scale.
        prediction_low, prediction_high: 95 % prediction interval of a new site.
    """

    column: str
    metric: str
    sites: int
    mean: Value
    scale: Literal["identity", "logit"] = "identity"
    tau: float | None
    prediction_low: float | None
    prediction_high: float | None


class Recalibration(_Strict):
    """What recalibration fitted on another split does to the scored samples.

    Attributes:
        method: E.g. `temperature`.
        split, n, sha256: Where it was fitted, on how many samples, and their digest.
        applied: Whether the arms of these results are after it.
        before, after: Calibration metrics.
        differences: After minus before, paired.
        helped: Whether log-loss fell beyond chance; null when it cannot be told.
    """

    method: str
    split: str
    n: int
    sha256: str = ""
    applied: bool
    before: dict[str, Value]
    after: dict[str, Value]
    differences: tuple[Comparison, ...]
    helped: bool | None


class RobustnessCurve(_Strict):
    """A metric as inputs get worse.

    Attributes:
        perturbation: E.g. `noise`; `unit` says what its levels mean.
        unit: E.g. `HU`, `mm`, `share of words`.
        metric: Name.
        levels, values: As many values as levels, the first (level 0) without perturbation.
        n: Samples, the same at every level.
        differences: Each further level minus the first, with the same patients resampled.
    """

    perturbation: str
    unit: str
    metric: str
    levels: tuple[float, ...]
    values: tuple[Value, ...]
    n: int = 0
    differences: tuple[Value, ...] = ()


class FurtherResult(_Strict):
    """One more question that the `full` arm answers.

    Attributes:
        name, kind, labels: What is asked.
        calibrated: Whether a calibration was applied to the answers.
        n, patients: Samples whose truth is known and that have an answer, and their patients.
        unanswered: Samples whose truth is known and that have none.
        metrics: Those proper to the kind, with their intervals; empty when nothing was scored.
        trivial: The same of answering everybody alike.
        trivial_what: How, in words.
    """

    name: str
    kind: Kind | Literal["ordinal", "regression"]
    labels: tuple[str, ...]
    calibrated: bool
    n: int
    patients: int
    unanswered: int
    metrics: dict[str, Value] = {}
    trivial: dict[str, Value] = {}
    trivial_what: str = ""


class Overlap(_Strict):
    """What two sides of a split have in common; anything above 0 is leakage."""

    first: str
    second: str
    patients: int
    images: int | None


class Partition(_Strict):
    """Proof that fitting, tuning and scoring were done on different patients and different images.

    Attributes:
        samples, patients: By split.
        overlaps: For every two splits; `images` is null where no image digests are at hand.
        level: `patient`, or `patient and image` where digests are at hand.
    """

    samples: dict[str, int]
    patients: dict[str, int]
    overlaps: tuple[Overlap, ...]
    level: str


class Characteristic(_Strict):
    """What the samples of each split are like in one column.

    Attributes:
        column: Name.
        by_split: Split to summary: shares of a category, or median and quartiles of a number.
        missing: Samples without a value, by split.
    """

    column: str
    by_split: dict[str, dict[str, float]]
    missing: dict[str, int]


class WorstCase(_Strict):
    """A sample of the `full` arm that was wrong with confidence."""

    sample_id: str
    truth: str
    called: str
    probability: float
    pattern: str


class LabelCount(_Strict):
    """Samples of the scored split by their value of one label."""

    positive: int
    negative: int
    uncertain: int
    unknown: int


class Counts(_Strict):
    """Where every sample of the scored split went.

    Attributes:
        total: Samples, the sum of the next three.
        scored, failed, unlabelled: What became of them.
        patients: Patients of the scored samples.
        failures: Failed samples by error code.
        labels: By label, failed samples among them.
    """

    total: int
    scored: int
    failed: int
    unlabelled: int
    patients: int
    failures: dict[str, int]
    labels: dict[str, LabelCount] = {}


class Intervals(_Strict):
    """How intervals were made.

    Attributes:
        method: In words, e.g. `patient bootstrap, percentile`.
        replicates: Bootstrap replicates; `dear_replicates` for metrics that are slow to compute.
        seed, level: Of the bootstrap, of the interval.
        strata: Column within whose values patients were drawn, empty for none.
    """

    method: str = "patient bootstrap, percentile"
    replicates: int
    dear_replicates: int = 0
    strata: str = ""
    seed: int
    level: float


class FailedSample(_Strict):
    """A sample without an answer, and why."""

    sample_id: str
    code: str


class _Document(_Strict):
    def to_json(self) -> str:
        """Stable text: the same content gives the same bytes."""
        return to_text(self.model_dump(mode="json", by_alias=True)) + "\n"


class Results(_Document):
    """The content of `metrics.json`.

    Attributes:
        failures_as_wrong: Metrics of the `full` arm's decisions with every failed sample counted as a wrong
            answer; empty when none failed.
        statements: What only the author can say, by checklist key (e.g. `reference_standard`), from the task.
        environment: Versions and hardware, for the record.
    """

    schema_: Literal["medmm.metrics/2"] = Field(default="medmm.metrics/2", alias="schema")
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
    failures_as_wrong: dict[str, Value] = {}
    groups: tuple[Group, ...] = ()
    gaps: tuple[Gap, ...] = ()
    heterogeneity: tuple[Heterogeneity, ...] = ()
    recalibration: tuple[Recalibration, ...] = ()
    robustness: tuple[RobustnessCurve, ...] = ()
    tasks: tuple[FurtherResult, ...] = ()
    partition: Partition | None = None
    characteristics: tuple[Characteristic, ...] = ()
    worst: tuple[WorstCase, ...] = ()
    environment: dict[str, str] = {}
    statements: dict[str, str] = {}
    failed: tuple[FailedSample, ...]
    notes: tuple[str, ...]

    def arm(self, name: str) -> Arm | None:
        """The arm of this name."""
        return next((a for a in self.arms if a.name == name), None)


class RunComparison(_Document):
    """The content of `comparison.json`: two runs, or predictions files, on the samples both answered.

    Attributes:
        first, second: Name, source and model of each side.
        n, patients: Samples in common and their patients.
        left_out: Samples only one side has answered.
        arms: The two sides measured on the samples in common.
        comparisons: First minus second.
        notes: In words.
    """

    schema_: Literal["medmm.comparison/1"] = Field(default="medmm.comparison/1", alias="schema")
    medmm: str
    disclaimer: str
    task: str
    task_sha256: str
    kind: Kind
    labels: tuple[str, ...]
    split: str
    first: dict[str, str]
    second: dict[str, str]
    n: int
    patients: int
    left_out: int
    intervals: Intervals
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
