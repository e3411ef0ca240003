"""Training losses: L = w_fused L_fused + sum of w_m L_m over the modalities, over what is present and labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from medmm.heads import Logits
from medmm.types import Kind, Modality


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
    several = torch.stack([mask.long() for mask in present.values()]).sum(0) > 1
    terms = [(parts.get("fused", 0.0), logits.fused, several)]
    terms += [(parts.get(name, 0.0), single, present[name]) for name, single in logits.single.items()]
    total = logits.fused.sum() * 0.0  # keeps the graph when a batch has nothing to learn from
    for weight, predicted, rows in terms:
        if weight and bool(rows.any()):
            total = total + weight * classification_loss(kind, predicted[rows], target[rows], class_weight, smoothing)
    return total
