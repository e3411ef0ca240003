"""What the report is made of, in the order it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medmm.results import Results


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        key: Anchor, and name of its template.
        title: Heading.
        shown: Whether the results have something to say there.
    """

    key: str
    title: str
    shown: Callable[[Results], bool] = lambda _: True


SECTIONS = (
    Section("flow", "Who was measured"),
    Section("partition", "Fitted on some, scored on others", lambda r: r.partition is not None),
    Section("characteristics", "What the patients are like", lambda r: bool(r.characteristics)),
    Section("alternatives", "Against the alternatives"),
    Section("discrimination", "Does it tell them apart?"),
    Section("calibration", "Can the probabilities be believed?"),
    Section("recalibration", "What recalibration changes", lambda r: bool(r.recalibration)),
    Section("decisions", "What its decisions are worth"),
    Section("abstaining", "When it may say: I do not know", lambda r: bool(r.arms[0].risk_coverage or r.arms[0].conformal)),
    Section("comparisons", "Paired differences", lambda r: bool(r.comparisons)),
    Section("groups", "Is it equally good for everybody?", lambda r: bool(r.groups)),
    Section("sites", "What to expect at another site", lambda r: bool(r.heterogeneity)),
    Section("robustness", "What worse inputs do", lambda r: bool(r.robustness)),
    Section("tasks", "What else it answers", lambda r: bool(r.tasks)),
    Section("errors", "Where it was wrong and sure", lambda r: bool(r.worst)),
    Section("statements", "What the author states", lambda r: bool(r.statements)),
    Section("everything", "Everything measured"),
    Section("failed", "Samples that failed", lambda r: bool(r.failed)),
    Section("identity", "Identity"),
    Section("checklist", "Reporting checklist"),
)

CALIBRATION = {
    "ece[equal_width,15]": "ECE, 15 bins",
    "smece": "smooth ECE",
    "ici[lowess,2/3,0]": "ICI",
    "cal_slope": "slope (1)",
    "cal_in_the_large": "in the large (0)",
    "observed_to_expected": "observed / expected (1)",
    "brier": "Brier",
}
"""Columns of the calibration table, each with its name for people."""

DECISION = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "lr_positive": "LR+",
    "lr_negative": "LR-",
}
"""Columns of the decision table."""
