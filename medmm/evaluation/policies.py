"""The choices a task states: each a small strict model, so that a misspelt key is an error and not a default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medmm.metrics.conformal import SetMethod
from medmm.types import Kind


class Strict(BaseModel):
    """Nothing unknown, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Further(Strict):
    """One more question that predictions answer, beside the labels.

    Attributes:
        name: Column with the truth; of a multilabel one its columns are `<name>__<label>`.
        kind: What is asked.
        labels: Classes, of an ordinal one in their order; none of a regression. Answers are in the columns
            `task__<name>__<label>`, or `task__<name>` for a regression.
        calibrated: Whether a calibration was applied to the answers.
        baseline: Frequencies of the labels among the training patients, or mean of the quantity; those of the scored
            samples when not known.
    """

    name: str = Field(min_length=1)
    kind: Kind | Literal["ordinal", "regression"]
    labels: tuple[str, ...] = ()
    calibrated: bool = False
    baseline: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _labels_fit_the_kind(self) -> Further:
        fits = {"regression": len(self.labels) == 0, "multilabel": len(self.labels) > 0, "binary": len(self.labels) == 2}
        if not fits.get(self.kind, len(self.labels) > 2) or len(set(self.labels)) < len(self.labels):
            msg = "labels must be distinct: none of a regression, two if binary, three or more of an ordinal or multiclass question"
            raise ValueError(msg)
        if self.baseline and len(self.baseline) != max(len(self.labels), 1):
            msg = "baseline must have a number for each label, or one of a regression"
            raise ValueError(msg)
        return self


class ThresholdPolicy(Strict):
    """How probabilities become decisions.

    Attributes:
        policy: `stated` takes the decisions that come with the predictions; `fixed` uses `value` for
            every label; the others are chosen on `split`: highest macro-F1, highest Youden index,
            highest specificity at a sensitivity of at least `value`, highest sensitivity at a
            specificity of at least `value`, lowest cost.
        split: Where they are chosen; the scored split is refused.
        value: Threshold of `fixed`, or the rate that `sens_at` and `spec_at` promise.
        cost: Of a missed positive, in false alarms; for `cost`.
    """

    policy: Literal["stated", "max_f1_macro", "fixed", "youden", "sens_at", "spec_at", "cost"] = "stated"
    split: str = "val"
    value: float = Field(default=0.5, ge=0, le=1)
    cost: float = Field(default=1.0, gt=0)

    @property
    def fitted(self) -> bool:
        """Whether data choose the thresholds."""
        return self.policy not in ("stated", "fixed")


class RecalibrationPolicy(Strict):
    """A map from logits to probabilities, fitted on another split than the one that is scored.

    Attributes:
        method: Name of a recalibrator; `none` leaves the predictions as they are.
        split: Where it is fitted; the scored split is refused.
        per_pattern: One map for each pattern of modalities present that has enough samples.
    """

    method: str = "none"
    split: str = "val"
    per_pattern: bool = False

    @property
    def fitted(self) -> bool:
        """Whether there is a map to fit."""
        return self.method != "none"


class ConformalPolicy(Strict):
    """Prediction sets, fitted on `split`, that hold the truth at least as often as each promised rate.

    Attributes:
        methods: None by default; see `metrics.conformal.fit_sets`.
        score: Strangeness of a label, for all but `risk_control`.
        split: Where they are fitted; the scored split is refused.
        coverage: Promised.
    """

    methods: tuple[SetMethod, ...] = ()
    score: Literal["lac", "aps"] = "lac"
    split: str = "val"
    coverage: float = Field(default=0.9, gt=0, lt=1)


class IntervalPolicy(Strict):
    """How intervals are made: by resampling patients.

    Attributes:
        method: Of turning replicates into an interval.
        replicates, dear_replicates: Draws; the latter for metrics that are slow to compute.
        seed, level: Of the draws, of the interval.
        cluster: What is drawn: `patient`, `row`, which is right only if every patient has one sample, or the column whose equal
            values are drawn together, such as a picture that several samples ask about.
        strata: Column within whose values patients are drawn, or `label`; empty for none.
    """

    method: Literal["percentile", "basic", "bca"] = "percentile"
    replicates: int = Field(default=1000, ge=100, le=100_000)
    dear_replicates: int = Field(default=200, ge=50, le=100_000)
    seed: int = 0
    level: float = Field(default=0.95, gt=0.5, lt=1)
    cluster: str = Field(default="patient", min_length=1)
    strata: str = ""


class Unit(Strict):
    """What one scored sample is, and where it comes from.

    Attributes:
        sample: `row` as it stands, or the study or patient whose rows are aggregated.
        rule: How their probabilities become one.
        truth: `same` refuses rows of one unit that differ in a known label; `any` lets one positive decide.
        site: Column that names the hospital, for differences between sites; empty for none.
    """

    sample: Literal["row", "study", "patient"] = "row"
    rule: Literal["max", "mean", "logit_mean"] | None = None
    truth: Literal["same", "any"] = "same"
    site: str = ""

    @model_validator(mode="after")
    def _rule_is_declared(self) -> Unit:
        if (self.sample == "row") != (self.rule is None):
            msg = "a rule (max, mean or logit_mean) belongs to the unit study or patient, and is declared there"
            raise ValueError(msg)
        return self


class Banded(Strict):
    """A column of numbers, cut at `bands` into groups such as `<40`, `40-65` and `>=65`."""

    column: str
    bands: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _bands_rise(self) -> Banded:
        if sorted(set(self.bands)) != list(self.bands):
            msg = "bands must rise"
            raise ValueError(msg)
        return self


class SubgroupPolicy(Strict):
    """Whom the numbers are repeated for. The pattern of modalities present always is one.

    Attributes:
        columns: Of the predictions or cohort table.
        min_n: Samples below which a group is counted and its numbers are withheld.
        min_events: Samples with and without a label, likewise: at least one label must have so many.
        metrics: To report; the headline ones when empty.
    """

    columns: tuple[str | Banded, ...] = ()
    min_n: int = Field(default=50, ge=1)
    min_events: int = Field(default=10, ge=1)
    metrics: tuple[str, ...] = ()


class ComparisonPolicy(Strict):
    """Paired differences.

    Attributes:
        endpoint: The metric the question is about; `margin` is in its unit.
        margin: Of non-inferiority; 0 asks for superiority.
        metrics: To compare; the headline ones when empty.
        tests: Of no difference; each where it applies.
        multiplicity: Correction of p values over one table.
        permutations: Draws of the permutation test.
    """

    endpoint: str = ""
    margin: float = Field(default=0.0, ge=0)
    metrics: tuple[str, ...] = ()
    tests: tuple[Literal["bootstrap", "delong", "mcnemar", "permutation"], ...] = ("bootstrap", "delong", "mcnemar")
    multiplicity: Literal["none", "holm", "bh"] = "holm"
    permutations: int = Field(default=1000, ge=100, le=100_000)

    @model_validator(mode="after")
    def _a_margin_is_of_an_endpoint(self) -> ComparisonPolicy:
        if self.margin and not self.endpoint:
            msg = "a margin is in the unit of one metric: state the endpoint"
            raise ValueError(msg)
        return self
