"""Training losses: L = w_fused L_fused + sum of w_m L_m over the modalities, over what is present and labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from medmm.heads import Logits
from medmm.types import Kind, Modality

_LEAST = 1e-6  # probability below which a teacher's word is not softened further


def class_weights(kind: Kind, target: torch.Tensor) -> torch.Tensor:
    """Weights that let every class count alike.

    Args:
        kind: Kind of task.
        target: (n, K), NaN where unknown.

    Returns:
        (K,): n / (K n_k) for each class (mean 1 over samples), or for each label of a multilabel task
        the weight of its positives, negatives over positives.
    """
    positives = target.nansum(0).clamp_min(1)
    known = (~target.isnan()).sum(0)
    if kind == "multilabel":
        return ((known - positives).clamp_min(1) / positives).clamp(0.05, 20)
    return known / (target.shape[1] * positives)


def classification_loss(
    kind: Kind, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Weighted cross-entropy of a batch; binary cross-entropy over known labels if multilabel.

    Args:
        kind: Kind of task.
        logits: (B, K).
        target: (B, K), NaN where unknown.
        weights: (K,) of `class_weights`.
        smoothing: Share of probability spread over all classes.
    """
    if kind == "multilabel":
        known = ~target.isnan()
        soft = target.nan_to_num() * (1 - smoothing) + 0.5 * smoothing
        loss = functional.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights, reduction="none")
        return (loss * known).sum() / known.sum().clamp_min(1)
    return functional.cross_entropy(logits, target.argmax(1), weight=weights, label_smoothing=smoothing)


def total_loss(
    kind: Kind,
    logits: Logits,
    target: torch.Tensor,
    present: dict[Modality, torch.Tensor],
    class_weight: torch.Tensor,
    parts: Mapping[Any, float],
    smoothing: float,
) -> torch.Tensor:
    """The training loss of a batch.

    Args:
        kind: Kind of task.
        logits: Of the fused head and of each modality's own.
        target: (B, K).
        present: (B,) masks.
        class_weight: (K,) of `class_weights`.
        parts: Weight of `fused` and of each modality; one left out weighs nothing.
        smoothing: Label smoothing.
    """
    return over_parts(
        logits, present, parts,
        lambda predicted, rows: classification_loss(kind, predicted, target[rows], class_weight, smoothing),
    )  # fmt: skip


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
