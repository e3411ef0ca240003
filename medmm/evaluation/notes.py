"""What a reader must be told before he believes a number, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medmm.evaluation.predictions import Predictions
from medmm.evaluation.sides import Side
from medmm.evaluation.task import Task
from medmm.results import Arm
from medmm.types import FloatArray

_RARE, _IMPRECISE = 20, 100
_TELLING = 0.6


def notes_on(arms: Sequence[Arm], full: Side, predictions: Predictions, task: Task) -> tuple[str, ...]:
    """All that applies, most general last.

    Args:
        arms: Measured; the full one first, the class frequencies last.
        full: The full arm.
        predictions: Where it comes from.
        task: How it was measured.
    """
    found = [*predictions.notes, *_rarity(arms[0]), *_resampled(arms[0], task), *_decided(arms[0], predictions)]
    if predictions.prevalence is None:
        found.append(
            "The class frequencies of the training data are not known; the prevalence row uses the scored samples themselves."
        )
    found += _weighted_f1(arms[-1], full)
    patterns = Counter(r.pattern for r in full.rows if r.pattern)
    if len(patterns) > 1:
        listed = ", ".join(f"{p}: {n}" for p, n in patterns.most_common())
        found.append(f"Not every sample had every input ({listed}).")
    return tuple(found)


def all_negative_f1(target: FloatArray) -> float:
    """The weighted F1 of a model that calls every label absent, as scikit-learn averages it.

    For each label the F1 of presence (0) and of absence, weighted by how often each occurs; then the mean
    over labels. With a share s of positives it is 2 (1 - s)^2 / (2 - s).

    Args:
        target: (n, K) 0, 1 or NaN.
    """
    share = np.array([np.nanmean(column) for column in target.T if not np.isnan(column).all()])
    return float(np.mean(2 * (1 - share) ** 2 / (2 - share))) if len(share) else float("nan")


def _rarity(full: Arm) -> list[str]:
    few = {label: min(n, full.n - n) if len(full.positives) > 2 else n for label, n in full.positives.items()}
    rare = [f"{label} ({full.positives[label]})" for label, n in few.items() if n < _RARE]
    return (
        [f"Fewer than {_RARE} samples of: {', '.join(rare)}. Numbers about them are too imprecise for a headline."] if rare else []
    )


def _resampled(full: Arm, task: Task) -> list[str]:
    drawn = task.intervals.cluster
    if drawn not in ("patient", "row"):
        return [f"Intervals resample whole values of {drawn}, not samples."]
    if full.patients == full.n:
        return []
    if drawn == "row":
        return [
            f"WARNING: {full.n} samples of {full.patients} patients were resampled as if they were independent. "
            "Samples of a patient are alike, so these intervals are too narrow; state intervals.cluster: patient."
        ]
    return [f"{full.n} samples of {full.patients} patients: intervals resample patients, not samples."]


def _decided(full: Arm, predictions: Predictions) -> list[str]:
    if predictions.decided or predictions.kind == "multiclass" or full.decision.policy != "fixed":
        return []
    at = ", ".join(f"{t:g}" for t in dict.fromkeys(full.decision.thresholds or ()))
    return [f"The predictions carry no decisions; F1 and its kin are at a fixed threshold of {at}."]


def _weighted_f1(trivial: Arm, full: Side) -> list[str]:
    """The trap of averaging by frequency, with its size on these samples."""
    if full.scores.kind == "multilabel":
        reached = all_negative_f1(full.scores.target)
        if reached > _TELLING:
            return [
                f"Calling every label absent for everybody already scores {reached:.3f} weighted F1 (averaged over presence and "
                "absence by frequency, as scikit-learn does), and that number means nothing because it is earned by the absent "
                "labels alone: not one finding is detected. Read macro-F1, AUROC and AUPRC instead."
            ]
        return []
    reached_by_frequency = trivial.metrics["f1_weighted"].value if "f1_weighted" in trivial.metrics else None
    if reached_by_frequency is None or reached_by_frequency <= _TELLING:
        return []
    return [
        f"Always calling the commonest class already has a weighted F1 of {reached_by_frequency:.3f}: weighted F1 says little here."
    ]
