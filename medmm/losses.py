"""Training losses: L = w_fused L_fused + sum of w_m L_m over the modalities, over what is present and labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from medmm.heads import Logits
from medmm.types import Kind, Modality

_ALMOST_1 = 1 - 1e-7  # keeps log(1 - p) finite
_LEAST = 1e-6  # probability below which a teacher's word is not softened further


def class_weights(kind: Kind, target: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Weights that let every class count alike.

    Args:
        kind: Kind of task.
        target: (n, K), NaN where unknown.
        beta: Below 1 n samples count as (1 - beta^n) / (1 - beta), as many of a frequent class say the same (Cui et al. 2019).

    Returns:
        (K,): one over the number of samples of each class, so scaled that the mean over samples is 1, or for each label of
        a multilabel task the weight of its positives, negatives over positives.
    """
    positives, known = _counts(target)
    if kind == "multilabel":
        return (_effective((known - positives).clamp_min(1), beta) / _effective(positives, beta)).clamp(0.05, 20)
    weights = 1 / _effective(positives, beta)
    return weights * known / (weights * positives).sum()


def log_prior(kind: Kind, target: torch.Tensor) -> torch.Tensor:
    """(K,) log frequency of each class, of each label of a multilabel task the logit of its frequency.

    Args:
        kind: Kind of task.
        target: (n, K), NaN where unknown; what is never seen counts as seen once.
    """
    positives, known = _counts(target)
    if kind == "multilabel":
        return torch.log(positives / (known - positives).clamp_min(1))
    return torch.log(positives / known)


@dataclass(frozen=True, slots=True, eq=False)
class Criterion:
    """Loss of labelled logits.

    Attributes:
        kind: Kind of task.
        weights: (K,) of `class_weights`, or ones.
        smoothing: Share of probability spread over all classes.
        gamma: How far samples already answered well are discounted (focal loss, Lin et al. 2017); 0 not at all.
        offset: (K,) added to logits while training: tau times `log_prior` makes frequent classes win by more (Menon et al.
            2021), so that logits without it favour none.
    """

    kind: Kind
    weights: torch.Tensor
    smoothing: float = 0.0
    gamma: float = 0.0
    offset: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over a batch, of known labels if multilabel.

        Args:
            logits: (B, K).
            target: (B, K), NaN where unknown.
        """
        if self.offset is not None:
            logits = logits + self.offset
        return classification_loss(self.kind, logits, target, self.weights, self.smoothing, self.gamma)


def classification_loss(
    kind: Kind, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, smoothing: float = 0.0, gamma: float = 0.0
) -> torch.Tensor:
    """Weighted cross-entropy of a batch; binary cross-entropy over known labels if multilabel.

    It is the mean over samples, not over their weights: a batch without a rare class would else teach its others as much as
    a batch that has one. With gamma every term -q log p of a class becomes -q (1 - p)^gamma log p.

    Args:
        kind: Kind of task.
        logits: (B, K).
        target: (B, K), NaN where unknown.
        weights: (K,) of `class_weights`.
        smoothing: Share of probability spread over all classes.
        gamma: Of the focal loss.
    """
    logits = logits.float()
    if kind == "multilabel":
        known = ~target.isnan()
        soft = target.nan_to_num() * (1 - smoothing) + 0.5 * smoothing
        yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        loss = -weights * soft * _discount(no, gamma) * yes - (1 - soft) * _discount(yes, gamma) * no
        return (loss * known).sum() / known.sum().clamp_min(1)
    soft = functional.one_hot(target.argmax(1), logits.shape[1]) * (1 - smoothing) + smoothing / logits.shape[1]
    log_p = logits.log_softmax(1)
    others = torch.log1p(-log_p.exp().clamp_max(_ALMOST_1))
    loss = -weights * soft * _discount(others, gamma) * log_p
    return loss.sum() / len(target)


def total_loss(
    criterion: Criterion,
    logits: Logits,
    target: torch.Tensor,
    present: dict[Modality, torch.Tensor],
    parts: Mapping[Any, float],
) -> torch.Tensor:
    """The training loss of a batch.

    Args:
        criterion: Of one head.
        logits: Of the fused head and of each modality's own.
        target: (B, K).
        present: (B,) masks.
        parts: Weight of `fused` and of each modality; one left out weighs nothing.
    """
    return over_parts(logits, present, parts, lambda predicted, rows: criterion(predicted, target[rows]))


def distillation_loss(kind: Kind, logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 times the mean divergence of a student from its teacher, both softened by T (Hinton, Vinyals and Dean 2015).

    It is 0 where the student says what the teacher says, and T^2 keeps its gradients' size at any T. Each label of a
    multilabel task is a distribution over yes and no.

    Args:
        kind: Kind of task.
        logits: (B, K) of the student.
        taught: (B, K) probabilities of the teacher; a row with NaN teaches nothing.
        temperature: T.
    """
    known = ~taught.isnan().any(1)
    said = taught[known].clamp(_LEAST, 1 - _LEAST)
    own = logits[known].float() / temperature
    if kind == "multilabel":
        soft = (torch.logit(said) / temperature).sigmoid()
        loss = functional.binary_cross_entropy_with_logits(own, soft, reduction="none")
        loss = (loss - functional.binary_cross_entropy(soft, soft, reduction="none")).mean(1)
    else:
        log_soft = (said.log() / temperature).log_softmax(1)
        loss = functional.kl_div(own.log_softmax(1), log_soft, reduction="none", log_target=True).sum(1)
    return temperature**2 * loss.sum() / known.sum().clamp_min(1)


def over_parts(
    logits: Logits,
    present: dict[Modality, torch.Tensor],
    parts: Mapping[Any, float],
    criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Sum a criterion over the fused head and each modality's own, each on the samples it is about.

    Args:
        logits: Of the fused head and of each modality's own.
        present: (B,) masks.
        parts: Weight of `fused` and of each modality; one left out weighs nothing.
        criterion: Loss of the logits of some rows and the (B,) mask of these.
    """
    several = torch.stack([mask.long() for mask in present.values()]).sum(0) > 1
    terms = [(parts.get("fused", 0.0), logits.fused, several)]
    terms += [(parts.get(name, 0.0), single, present[name]) for name, single in logits.single.items()]
    total = logits.fused.sum() * 0.0  # keeps the graph when a batch has nothing to learn from
    for weight, predicted, rows in terms:
        if weight and bool(rows.any()):
            total = total + weight * criterion(predicted[rows], rows)
    return total


def _counts(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(K,) positives, one where there are none, and known samples of each label."""
    return target.nansum(0).clamp_min(1), (~target.isnan()).sum(0)


def _effective(count: torch.Tensor, beta: float) -> torch.Tensor:
    return count if beta == 1 else (1 - beta**count) / (1 - beta)


def _discount(log_remainder: torch.Tensor, gamma: float) -> torch.Tensor | float:
    """(1 - p)^gamma from log(1 - p)."""
    return torch.exp(gamma * log_remainder) if gamma else 1.0
