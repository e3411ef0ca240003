"""Recalibration at one site with few cases, and whether it helped there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from medmm.errors import TaskError
from medmm.metrics.intervals import patient_weights, percentile_interval
from medmm.metrics.recalibration import Recalibrator, fit
from medmm.types import FloatArray, IntArray, Kind

_EPSILON = np.finfo(np.float64).eps
_REPLICATES = 2000


@dataclass(frozen=True, slots=True)
class LocalRecalibration:
    """A recalibrator fitted on a site's cases, and what cross-validation says about it.

    Attributes:
        recalibrator: Fitted on all cases.
        method: Its name.
        n, patients: Cases, and whose.
        before, after: Mean log-loss in nats of the probabilities in use, and recalibrated by fits that did not see the patient.
        difference, low, high: After minus before with its 95 % interval over patients; below 0 is better.
        helped: True or False when the interval leaves out 0, None when it cannot be told from so few.
    """

    recalibrator: Recalibrator
    method: str
    n: int
    patients: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    helped: bool | None

    @property
    def verdict(self) -> str:
        """The finding as a sentence."""
        found = {True: "Recalibration helped", False: "Recalibration did harm", None: "Whether recalibration helped cannot be told"}
        numbers = f"log-loss {self.difference:+.3f} nats (95 % interval {self.low:+.3f} to {self.high:+.3f})"
        return f"{found[self.helped]}: {numbers}, cross-validated over {self.patients} patients."

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready finding, without the recalibrator."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "recalibrator"} | {"verdict": self.verdict}


def recalibrate_locally(
    kind: Kind,
    target: FloatArray,
    logits: FloatArray,
    patients: IntArray,
    *,
    in_use: FloatArray | None = None,
    method: str = "map_scaling",
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
) -> LocalRecalibration:
    """Fit on a site's cases, and tell by patient-grouped cross-validation whether it pays.

    The model itself must not have been trained on these patients. Fits of cross-validation see fewer cases
    than the final one, so the difference is a little pessimistic about it.

    Args:
        kind: Kind of task.
        target: (n, K) one-hot, or 0, 1 and NaN if multilabel.
        logits: (n, K) that are mapped.
        patients: (n,) patient index, 0 to P - 1.
        in_use: (n, K) probabilities to improve on, e.g. of a model calibrated elsewhere; None for those of the logits.
        method: A name in `recalibrators`.
        folds: Parts the patients are divided into.
        repeats: Divisions that are averaged, so that luck of the division counts less.
        seed: Of divisions and interval.

    Raises:
        TaskError: If there are fewer than two patients a fold.
    """
    count = len(np.unique(patients))
    if count < 2 * folds:
        msg = f"Expected at least {2 * folds} patients for {folds} folds; got {count}. Collect more cases."
        raise TaskError(msg)
    rng = np.random.default_rng(seed)
    if in_use is None:
        in_use = expit(logits) if kind == "multilabel" else softmax(logits, axis=1)
    before = log_losses(kind, target, in_use)
    after = np.mean([_out_of_fold(kind, target, logits, patients, method, folds, rng) for _ in range(repeats)], axis=0)
    low, high = _interval(after - before, patients, seed)
    return LocalRecalibration(
        recalibrator=fit(method, kind, target, logits),
        method=method,
        n=len(target),
        patients=count,
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float((after - before).mean()),
        low=low,
        high=high,
        helped=True if high < 0 else False if low > 0 else None,
    )


def log_losses(kind: Kind, target: FloatArray, probability: FloatArray) -> FloatArray:
    """(n,) log-loss of each sample in nats; of its known labels the mean if multilabel, 0 without one."""
    p = np.clip(probability, _EPSILON, 1 - _EPSILON)
    if kind != "multilabel":
        return np.asarray(-(target * np.log(p)).sum(1))
    known = ~np.isnan(target)
    each = -np.where(np.nan_to_num(target) > 0, np.log(p), np.log1p(-p)) * known
    return np.asarray(each.sum(1) / np.maximum(known.sum(1), 1))


def _out_of_fold(
    kind: Kind, target: FloatArray, logits: FloatArray, patients: IntArray, method: str, folds: int, rng: np.random.Generator
) -> FloatArray:
    _, patient = np.unique(patients, return_inverse=True)
    fold = (rng.permutation(patient.max() + 1) % folds)[patient]
    losses = np.empty(len(target))
    for f in range(folds):
        inside = fold == f
        recalibrated = fit(method, kind, target[~inside], logits[~inside])(logits[inside])
        losses[inside] = log_losses(kind, target[inside], recalibrated)
    return losses


def _interval(difference: FloatArray, patients: IntArray, seed: int) -> tuple[float, float]:
    _, patient = np.unique(patients, return_inverse=True)
    means = [(difference @ weights) / weights.sum(0) for weights in patient_weights(patient, _REPLICATES, seed)]
    found = percentile_interval(np.concatenate(means))
    assert found is not None  # every replicate has samples
    return found
