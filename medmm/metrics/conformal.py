"""Prediction sets that hold the truth at a promised rate, whatever the model (conformal prediction).

Fitted on samples that neither the model nor what is scored has seen, and plain numbers afterwards. The promise is
an average over fits and samples like those fitted on; it takes samples as exchangeable. With several samples a patient
that is true of patients only: the coverage measured on other patients, with its interval, says what held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from medmm.errors import ModelError, TaskError
from medmm.types import AnyArray, FloatArray, Kind

SetMethod = Literal["split", "class_conditional", "risk_control"]
SetScore = Literal["lac", "aps", "recall"]


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """A fitted rule from probabilities to sets of labels.

    Attributes:
        method: `split`, `class_conditional` or `risk_control`.
        score: How strange a label is for a sample: `lac`, 1 - its probability; `aps`, the sum of all probabilities that
            are at least as high; `recall` for risk control, which bounds 1 - recall instead.
        kind: Kind of task.
        promised: Coverage promised, e.g. 0.9.
        limits: Largest strangeness of a label in a set, one or one a label; infinite where too few samples could say.
        n: Samples it was fitted on.
    """

    method: SetMethod
    score: SetScore
    kind: Kind
    promised: float
    limits: tuple[float, ...]
    n: int

    def __call__(self, probability: FloatArray) -> AnyArray:
        """(n, K) probabilities to (n, K) bool. Unless multilabel, no set is empty: the most probable label is in."""
        inside = _strangeness(self.score, probability) <= np.asarray(self.limits)
        if self.kind != "multilabel":
            inside[np.arange(len(inside)), probability.argmax(1)] = True
        return np.asarray(inside)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; an infinite limit is null."""
        return asdict(self) | {"limits": [v if np.isfinite(v) else None for v in self.limits]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> PredictionSets:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If the entry is not of this form.
        """
        try:
            limits = tuple(np.inf if v is None else float(v) for v in content["limits"])
            made = cls(**(content | {"limits": limits, "promised": float(content["promised"]), "n": int(content["n"])}))
        except (KeyError, TypeError, ValueError):
            made = None
        if made is None or not _sound(made):
            msg = "Expected prediction sets with method, score, kind, promised coverage and limits; got another form."
            raise ModelError(msg)
        return made


def fit_sets(
    kind: Kind, target: FloatArray, probability: FloatArray, *, method: SetMethod, score: SetScore = "lac", promised: float = 0.9
) -> PredictionSets:
    """Fit prediction sets.

    `split`: the truth is in the set of a share `promised` of all samples (Vovk et al. 2005; LAC: Sadinle et al. 2019; APS
    without its random part: Romano et al. 2020). `class_conditional`: of the samples of each class (Mondrian); for
    multilabel, of the positives of each label. `risk_control`: multilabel, on average a share `promised` of a sample's
    labels is in its set, over samples that have one (Angelopoulos et al. 2022).

    Args:
        kind: Kind of task.
        target: (n, K) one-hot, or 0, 1 and NaN if multilabel.
        probability: (n, K).
        method: See above.
        score: `lac` or `aps`, which knows no multilabel; risk control has its own.
        promised: Above 0 and below 1.

    Raises:
        TaskError: If the method is not defined for the kind, or there is no sample.
    """
    wrong = (method == "split" or score == "aps") if kind == "multilabel" else method == "risk_control"
    if wrong or not 0 < promised < 1 or not len(target):
        msg = (
            "Expected split or class_conditional sets, or class_conditional sets with the score lac or risk_control if multilabel, "
            f"a coverage between 0 and 1 and samples to fit on; got {method} sets with the score {score}, coverage {promised:g} "
            f"and {len(target)} samples of a {kind} task."
        )
        raise TaskError(msg)
    fits: dict[SetMethod, Callable[[], tuple[float, ...]]] = {
        "split": lambda: (_limit(_strangeness(score, probability)[target == 1], promised),),
        "class_conditional": lambda: _class_limits(target, _strangeness(score, probability), promised),
        "risk_control": lambda: (_recall_limit(target, probability, promised),),
    }
    used = "recall" if method == "risk_control" else score
    return PredictionSets(method, used, kind, promised, fits[method](), len(target))


def covered(sets: PredictionSets, target: FloatArray, inside: AnyArray) -> tuple[FloatArray, FloatArray]:
    """(n,) what each sample adds to what is covered, and to what should be.

    Coverage of any weighted or chosen samples is the ratio of the two sums: the share of samples whose class is in
    their set; if multilabel, of positive labels in the sets or, by risk control, the mean recall of samples with one.

    Args:
        sets: What made the sets.
        target: (n, K), NaN where unknown.
        inside: (n, K) bool, the sets.
    """
    positive = np.nan_to_num(target)
    found, all_of_it = (positive * inside).sum(1), positive.sum(1)
    if sets.method == "risk_control":
        some = all_of_it > 0
        return np.where(some, found / np.maximum(all_of_it, 1), 0.0), some.astype(np.float64)
    return found, all_of_it


def _strangeness(score: SetScore, probability: FloatArray) -> FloatArray:
    """(n, K) how strange each label is for each sample."""
    if score != "aps":
        return np.asarray(1 - probability)
    at_least = probability[:, None, :] >= probability[:, :, None]
    return np.asarray((at_least * probability[:, None, :]).sum(2))


def _limit(strangeness: FloatArray, promised: float) -> float:
    """The value that at most a share 1 - promised of new samples exceeds, infinite with too few samples."""
    rank = int(np.ceil((len(strangeness) + 1) * promised - 1e-9))
    return float(np.sort(strangeness)[rank - 1]) if rank <= len(strangeness) else np.inf


def _class_limits(target: FloatArray, strangeness: FloatArray, promised: float) -> tuple[float, ...]:
    return tuple(_limit(strangeness[target[:, k] == 1, k], promised) for k in range(target.shape[1]))


def _recall_limit(target: FloatArray, probability: FloatArray, promised: float) -> float:
    """The lowest limit at which a new sample's share of labels missed is at most 1 - promised on average.

    A label missed costs its sample's share of it, and the new sample may miss all of its own. An unknown label counts as
    negative, which recall does not see.
    """
    positive = np.nan_to_num(target)
    labels = positive.sum(1)
    allowed = (1 - promised) * ((labels > 0).sum() + 1) - 1
    sample, label = np.nonzero(positive)
    order = np.argsort(probability[sample, label], kind="stable")
    ranked = probability[sample, label][order]
    cost = np.cumsum(1 / labels[sample[order]])
    lower = np.r_[0.0, cost][np.searchsorted(ranked, ranked, side="left")]
    kept = ranked[lower <= allowed + 1e-9]
    return float(1 - kept[-1]) if len(kept) and allowed >= 0 else np.inf


def _sound(sets: PredictionSets) -> bool:
    known = sets.method in get_args(SetMethod) and sets.score in get_args(SetScore) and sets.kind in get_args(Kind)
    return known and 0 < sets.promised < 1 and len(sets.limits) > 0 and not np.isnan(sets.limits).any()
