"""The sides of a measurement: each arm, and the trivial model beside them, as arrays with their decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medmm.errors import TaskError
from medmm.evaluation.arms import decides_as, worse_version
from medmm.evaluation.fit import Fitted
from medmm.evaluation.fitted import check_apart, probability_array, target_array
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.task import Task
from medmm.metrics import Scores, decide
from medmm.results import PREVALENCE_ARM
from medmm.store import FULL_ARM, Record
from medmm.types import AnyArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Decisions:
    """Where the decisions of a side come from; see `results.Decision`."""

    policy: str
    split: str
    thresholds: tuple[float, ...] | None = None
    n: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One arm ready to be measured.

    Attributes:
        name, what: Of the arm, and in words.
        rows: The scored rows.
        scores: The same as arrays.
        decisions: Where `scores.called` comes from.
        before: The scores before recalibration, None without one.
    """

    name: str
    what: str
    rows: tuple[Record, ...]
    scores: Scores
    decisions: Decisions
    before: Scores | None = None

    def take(self, rows: AnyArray) -> Side:
        """The same side on a subset of its samples (indices or mask)."""
        kept = tuple(self.rows[i] for i in np.arange(len(self.rows))[rows])
        before = None if self.before is None else self.before.take(rows)
        return Side(self.name, self.what, kept, self.scores.take(rows), self.decisions, before)


def build_sides(
    predictions: Predictions, usable: Sequence[Record], cluster: Sequence[int], task: Task, fitted: Fitted
) -> list[Side]:
    """One side an arm, the full one first.

    Args:
        predictions: Where the rows come from.
        usable: Labelled answers of the scored split.
        cluster: Index of the patient of each row: the unit that intervals resample.
        task: How to decide, and which arms.
        fitted: Thresholds and recalibration from another split.

    Raises:
        LeakageError: If something was fitted on patients that are scored.
        TaskError: If the prevalence is stated for some labels only; of a binary task the positive one is enough.
    """
    for part in fitted.parts().values():
        check_apart(part.source, usable)
    arms = {r.arm for r in usable}
    wanted = {a for a in arms if not task.ablations or a in (FULL_ARM, *task.ablations) or worse_version(a)}
    names = sorted(wanted, key=lambda a: (a != FULL_ARM, a))
    sides = []
    for name in names:
        mine = [i for i, r in enumerate(usable) if r.arm == name]
        sides.append(_side(name, [usable[i] for i in mine], np.asarray(cluster)[mine], predictions, task, fitted))
    return sides


def prevalence_side(predictions: Predictions, full: Side) -> Side:
    """The trivial model: every sample gets how common each label is."""
    scores = full.scores
    if predictions.prevalence is not None:
        share, where = np.asarray(predictions.prevalence), "training data"
    else:
        known = (~np.isnan(scores.target)).sum(0)
        share = np.where(known > 0, np.nansum(scores.target, axis=0) / np.maximum(known, 1), 0.5)
        where = "scored samples themselves"
    probability = np.tile(share, (len(scores), 1))
    if predictions.kind != "multilabel":
        probability /= probability.sum(1, keepdims=True)
    called = decide(predictions.kind, probability)
    constant = Scores(scores.kind, scores.labels, scores.target, probability, called, scores.cluster, scores.prevalence)
    what = f"no inputs: every sample gets the class frequencies of the {where}"
    return Side(PREVALENCE_ARM, what, full.rows, constant, Decisions("most_probable", "none"))


def _prevalence_of_use(predictions: Predictions, task: Task) -> tuple[float, ...] | None:
    """(K,) how common each label is where the model is to be used; None where the task does not say."""
    stated, labels = task.prevalence, predictions.labels
    if not stated:
        return None
    if predictions.kind == "binary" and set(stated) == {labels[1]}:
        return (1 - stated[labels[1]], stated[labels[1]])
    if set(stated) != set(labels):
        msg = f"Expected a prevalence for each of {', '.join(labels)}; the task states others. State all, or none."
        raise TaskError(msg)
    return tuple(stated[label] for label in labels)


def _side(name: str, rows: Sequence[Record], cluster: IntArray, predictions: Predictions, task: Task, fitted: Fitted) -> Side:
    target, given = target_array(rows), probability_array(rows)
    use = _prevalence_of_use(predictions, task)
    mapped = fitted.recalibration(decides_as(name), rows) if fitted.recalibration is not None else None

    def scores(probability: FloatArray) -> tuple[Scores, Decisions]:
        called, decisions = _decide(name, rows, probability, predictions, task, fitted)
        return Scores(predictions.kind, predictions.labels, target, probability, called, cluster, use), decisions

    before, decisions = scores(given)
    if mapped is None:
        return Side(name, _describe(name, rows), tuple(rows), before, decisions)
    after, decisions = scores(mapped)
    return Side(name, _describe(name, rows), tuple(rows), after, decisions, before)


def _decide(
    name: str, rows: Sequence[Record], probability: FloatArray, predictions: Predictions, task: Task, fitted: Fitted
) -> tuple[AnyArray, Decisions]:
    """Decisions of an arm and where they come from."""
    kind, labels = predictions.kind, predictions.labels
    chosen = fitted.thresholds
    if chosen is not None and (limits := chosen.by_arm.get(decides_as(name))) is not None:
        provenance = Decisions(chosen.policy, chosen.source.split, limits, chosen.source.n, chosen.source.sha256)
        return decide(kind, probability, np.asarray(limits)), provenance
    if task.thresholds.policy == "stated" and name in predictions.decided:
        stated = predictions.decided[name]
        called = np.array([[label in r.called for label in labels] for r in rows])
        return called, Decisions(stated.policy, stated.split, stated.thresholds)
    if kind == "multiclass":
        return decide(kind, probability), Decisions("most_probable", "none")
    value = task.thresholds.value if task.thresholds.policy == "fixed" else 0.5
    fixed = np.full(1 if kind == "binary" else len(labels), value)
    return decide(kind, probability, fixed), Decisions("fixed", "none: not fitted to data", tuple(map(float, fixed)))


def _describe(name: str, rows: Sequence[Record]) -> str:
    patterns = Counter(r.pattern for r in rows if r.pattern)
    used = ", ".join(f"{p} ({n})" for p, n in patterns.most_common())
    allowed = "all inputs the model reads" if name == FULL_ARM else f"{name} alone"
    return f"{allowed}: {used}" if len(patterns) > 1 else allowed
