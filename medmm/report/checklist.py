"""What reporting guidelines ask for, and where this report answers: by the harness, by the author, or not at all.

Items are named by number: TRIPOD+AI (Collins et al. 2024) and CLAIM (Tejani et al. 2024). The wording is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from medmm.report.words import metric_of
from medmm.results import Results

Status = Literal["auto", "author", "missing"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing a reader of a study may ask for.

    Attributes:
        key: Of the author's statement in the task.
        topic: In our words.
        tripod, claim: Item numbers.
        section: Of the report, empty for author's statements alone.
        auto: Whether the results answer it; None where only the author can.
    """

    key: str
    topic: str
    tripod: str = ""
    claim: str = ""
    section: str = "statements"
    auto: Callable[[Results], bool] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An item with its status, and the author's words where he answered."""

    item: Item
    status: Status
    statement: str = ""


def checklist(results: Results) -> list[Answer]:
    """Every item, answered or not."""
    return [_answer(item, results) for item in ITEMS]


def _answer(item: Item, results: Results) -> Answer:
    statement = results.statements.get(item.key, "").strip()
    if item.auto is not None and item.auto(results):
        return Answer(item, "auto", statement)
    return Answer(item, "author" if statement else "missing", statement)


def _has(results: Results, stem: str) -> bool:
    full = results.arms[0]
    found = [metric_of(full, stem, label) for label in full.calibration]
    return any(value is not None and value.value is not None for value in found)


def _curve(results: Results, name: str) -> bool:
    return any(getattr(curves, name) for curves in results.arms[0].curves.values())


ITEMS = (
    Item("identity", "Task, model, code and data are identified by digest", "12g, 22", "22, 23", "identity",
         lambda r: bool(r.task_sha256 and r.source)),
    Item("question", "What is predicted, in a sentence", "4", "4", "top", lambda r: bool(r.question)),
    Item("intended_use", "Intended use, by whom and for whom", "3b", "3, 41", "top", lambda r: bool(r.intended_use)),
    Item("target_population", "Patients the model is meant for, and known inequalities among them", "3b, 3c", "3"),
    Item("data_sources", "Where and when the data were collected, and how sites were chosen", "5a, 5b, 6a", "5, 7"),
    Item("eligibility", "Who was included and who was not", "6b", "8, 10"),
    Item("treatments", "Treatments received that may change the outcome", "6c", "8"),
    Item("acquisition", "How images were acquired and prepared", "7", "9, 13"),
    Item("deidentification", "How identity was removed", "", "11"),
    Item("flow", "Every sample accounted for: scored, failed, without label", "20a, 21", "8, 35", "flow",
         lambda r: r.counts.total == r.counts.scored + r.counts.failed + r.counts.unlabelled),
    Item("partition", "Fitting, tuning and scoring shown to be on different patients", "12a", "19, 20", "partition",
         lambda r: r.partition is not None and bool(r.partition.overlaps)),
    Item("characteristics", "What the patients of each side of the split are like", "16, 20b, 20c", "13, 36", "characteristics",
         lambda r: bool(r.characteristics)),
    Item("reference_standard", "How the truth was established, and why so", "8a", "14, 15"),
    Item("readers", "Who established it, what they knew, how far they agreed", "8b, 8c", "16, 17, 18"),
    Item("predictors", "Inputs of the model and how they were measured", "9a, 9b, 9c", "9"),
    Item("missing_data", "Missing inputs: how handled, and performance by what was present", "11", "12", "groups",
         lambda r: any(g.column == "pattern" for g in r.groups)),
    Item("sample_size", "Why so many patients", "10", "21"),
    Item("events", "Positive samples of every label are counted", "21", "21", "flow", lambda r: bool(r.arms[0].positives)),
    Item("model", "Kind of model, how it was built and chosen, starting weights, ensembling", "12b, 12c, 22", "22, 24, 25, 26, 27"),
    Item("class_imbalance", "Whether classes were rebalanced, and probabilities corrected for it", "13", "25"),
    Item("measures", "Every measure named with its estimator", "12e", "28, 29", "everything", lambda r: bool(r.arms[0].metrics)),
    Item("discrimination", "AUROC and average precision with intervals and curves", "23a", "37, 38", "discrimination",
         lambda r: _has(r, "auroc") and _curve(r, "roc")),
    Item("calibration", "Calibration: on the whole, slope, error and curve", "12e, 23a", "37", "calibration",
         lambda r: _has(r, "cal_slope") and any(c.bins for c in r.arms[0].calibration.values())),
    Item("recalibration", "What recalibration changes, before and after", "12f, 24", "37", "recalibration",
         lambda r: bool(r.recalibration)),
    Item("thresholds", "Thresholds: their values, how and on which data they were chosen", "15", "28, 38", "decisions",
         lambda r: bool(r.arms[0].decision.policy and r.arms[0].decision.split)),
    Item("decisions", "Sensitivity, specificity and predictive values with counts", "15, 23a", "38", "decisions",
         lambda r: _has(r, "sensitivity") and bool(r.arms[0].decision.confusion)),
    Item("net_benefit", "Whether decisions do more good than harm over thresholds", "12e, 23a", "38", "decisions",
         lambda r: _curve(r, "net_benefit")),
    Item("uncertainty", "Intervals: method, unit of resampling, replicates, seed", "23a", "29, 37", "alternatives",
         lambda r: bool(r.intervals.method and r.intervals.replicates)),
    Item("comparison", "Compared with simpler alternatives on the same patients", "12e, 23a", "29", "comparisons",
         lambda r: bool(r.comparisons)),
    Item("fairness", "Performance in subgroups, and the gap between them", "3c, 14, 23a", "37", "groups",
         lambda r: any(g.column != "pattern" and g.metrics for g in r.groups)),
    Item("heterogeneity", "How much performance differs between sites", "12d, 23b", "33", "sites", lambda r: bool(r.heterogeneity)),
    Item("robustness", "What happens when inputs get worse", "27a", "30", "robustness", lambda r: bool(r.robustness)),
    Item("explainability", "Whether and how answers can be explained", "", "31"),
    Item("external_testing", "Tested on other hospitals than it was fitted on", "16", "32, 33"),
    Item("failures", "Confident errors, case by case", "27a", "39", "errors", lambda r: bool(r.worst)),
    Item("abstention", "What is gained by not answering the doubtful cases", "", "", "abstaining",
         lambda r: bool(r.arms[0].risk_coverage or r.arms[0].conformal)),
    Item("limitations", "Limits, and to whom the numbers do not carry over", "26", "40"),
    Item("usability", "What the user must know, and what poor inputs do", "27a, 27b", "41"),
    Item("monitoring", "How it would be watched in use, and what comes next", "27c", "41"),
    Item("ethics", "Approval and consent", "17", ""),
    Item("protocol", "Protocol and registration", "18c, 18d", "34, 42"),
    Item("availability", "Where data, code and model can be had", "18e, 18f", "43"),
    Item("funding", "Funding and interests", "18a, 18b", "44"),
    Item("public_involvement", "Whether patients were involved", "19", ""),
)  # fmt: skip
