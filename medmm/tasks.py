"""Further tasks a model learns beside its main one: heads on the fused feature, their losses and their answers.

L = L_main + sum of lambda_t L_t with fixed lambda, or every loss weighted by a learned uncertainty
(Kendall, Gal and Cipolla 2018). An ordinal task has one score and ordered cuts (proportional odds, McCullagh 1980);
a regression learns its target in standard deviations of the training patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import nn
from torch.nn import functional

from medmm.errors import CohortError
from medmm.heads import Head
from medmm.losses import classification_loss
from medmm.types import FloatArray, Kind

_CERTAIN = 30.0  # a logit that stands for a probability of 1
TaskKind = Literal[Kind, "ordinal", "regression"]


@dataclass(frozen=True, slots=True)
class FurtherTask:
    """One more question.

    Attributes:
        name: Column of the cohort with the truth; of a multilabel task its columns are `<name>__<label>`.
        kind: `binary`, `multiclass`, `multilabel`, `ordinal` or `regression`.
        labels: Classes, of an ordinal task in their order; as found when not stated. None of a regression.
        weight: lambda_t of a fixed weighting; 1 with a learned one.
        mean, sd: Of a regression's truth among the training patients; filled in by training.
        frequencies: Of the labels among the training patients; filled in by training.
        slope: Inverse temperature, one a label if multilabel, fitted on held-out patients; none when nothing is calibrated.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    kind: TaskKind
    labels: tuple[str, ...] = ()
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    mean: float = 0.0
    sd: float = 1.0
    frequencies: tuple[float, ...] = ()
    slope: tuple[float, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the cohort with the truth."""
        return tuple(f"{self.name}__{label}" for label in self.labels) if self.kind == "multilabel" else (self.name,)

    def target(self, cells: Mapping[str, str]) -> FloatArray:
        """(K,) 0 or 1 for each label, or (1,) standardised value, of one row; NaN where it says nothing.

        Raises:
            CohortError: If a cell holds something else.
        """
        if self.kind == "multilabel":
            given = [cells.get(column, "") for column in self.columns]
            fits = all(cell in ("", "0", "1", "0.0", "1.0") for cell in given)
            return np.array([float(c) if c else np.nan for c in given]) if fits else self._refuse()
        cell = cells.get(self.name, "")
        if not cell:
            return np.full(max(len(self.labels), 1), np.nan)
        if self.kind == "regression":
            value = _number(cell)
            return np.array([(value - self.mean) / self.sd]) if np.isfinite(value) else self._refuse()
        return np.array([float(cell == label) for label in self.labels]) if cell in self.labels else self._refuse()

    def _refuse(self) -> FloatArray:
        wanted = (
            "finite numbers" if self.kind == "regression" else "0 or 1" if self.kind == "multilabel" else ", ".join(self.labels)
        )
        msg = f"Expected {wanted}, or nothing, for the task {self.name}; got something else. Correct it, or state its labels."
        raise CohortError(msg)


class TaskHead(nn.Module):
    """Fused feature to the output of one task.

    Args:
        width: Channels of the feature.
        task: Which.
        dropout: On the feature.
    """

    def __init__(self, width: int, task: FurtherTask, dropout: float) -> None:
        super().__init__()
        self.ordinal = task.kind == "ordinal"
        self.head = Head(width, 1 if task.kind in ("ordinal", "regression") else len(task.labels), dropout)
        if self.ordinal:
            self.lowest = nn.Parameter(torch.tensor([-1.0]))
            self.gaps = nn.Parameter(torch.zeros(len(task.labels) - 2))

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """(B, width) to (B, K) logits, (B, 1) of a regression, or (B, K - 1) logits of lying above each cut of an ordinal task."""
        output: torch.Tensor = self.head(feature)
        if not self.ordinal:
            return output
        return output - torch.cat([self.lowest, self.lowest + functional.softplus(self.gaps).cumsum(0)])


def plan_tasks(tasks: Sequence[FurtherTask], rows: Sequence[Mapping[str, str]]) -> tuple[FurtherTask, ...]:
    """Labels, frequencies, means and standard deviations from the training rows.

    Raises:
        CohortError: If a task's column is not there, has too few values, or an ordinal one no stated order.
    """
    planned = (_planned(task, [row.get(task.name, "") for row in rows]) for task in tasks)
    return tuple(replace(task, frequencies=_frequencies(task, rows)) for task in planned)


def task_loss(task: FurtherTask, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the known rows: cross-entropy, negative log-likelihood of cumulative logits, or squared error; 0 without any."""
    known = ~target.isnan().all(1)
    if not bool(known.any()):
        return output.sum() * 0.0
    output, target = output[known].float(), target[known].float()
    if task.kind == "regression":
        return functional.mse_loss(output, target)
    if task.kind == "ordinal":
        return -task_logits(task, output).gather(1, target.argmax(1, keepdim=True)).mean()
    return classification_loss(task.kind, output, target, torch.ones_like(target[0]))


def joint_loss(losses: Sequence[torch.Tensor], tasks: Sequence[FurtherTask], log_variance: torch.Tensor | None) -> torch.Tensor:
    """L_main + sum of lambda_t L_t, or with learned log-variances s the sum of exp(-s) L + s / 2 (half of exp(-s) for regressions).

    Args:
        losses: The main task's, then those of `tasks`.
        tasks: Further tasks.
        log_variance: (1 + T,), None for fixed weights.
    """
    if log_variance is None:
        return losses[0] + sum((task.weight * loss for task, loss in zip(tasks, losses[1:], strict=True)), start=losses[0] * 0)
    halves = [1.0, *(0.5 if task.kind == "regression" else 1.0 for task in tasks)]
    terms = [half * torch.exp(-s) * loss + s / 2 for half, s, loss in zip(halves, log_variance, losses, strict=True)]
    return torch.stack(terms).sum()


def task_logits(task: FurtherTask, output: torch.Tensor) -> torch.Tensor:
    """(n, K) logits of the labels; of an ordinal task the logarithms of its probabilities."""
    if task.kind != "ordinal":
        return output
    above, below = _around(output)
    return functional.logsigmoid(above) + functional.logsigmoid(-below) + torch.log1p(-torch.exp(below - above))


def task_answer(task: FurtherTask, output: torch.Tensor) -> dict[str, Any]:
    """What one row of a head's output says, JSON ready, and whether it is calibrated."""
    said: dict[str, Any] = {"kind": task.kind, "calibrated": bool(task.slope)}
    if task.kind == "regression":
        return said | {"value": float(output[0]) * task.sd + task.mean}
    logits = task_logits(task, output[None])[0] * torch.tensor(task.slope or (1.0,), dtype=output.dtype)
    p = logits.sigmoid() if task.kind == "multilabel" else logits.softmax(0)
    return said | {"probabilities": {label: float(v) for label, v in zip(task.labels, p, strict=True)}}


def _around(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, K) logits of lying above the cut below each class, and of lying above the cut on top of it."""
    certain = torch.full_like(output[:, :1], _CERTAIN)
    return torch.cat([certain, output], dim=1), torch.cat([output, -certain], dim=1)


def _frequencies(task: FurtherTask, rows: Sequence[Mapping[str, str]]) -> tuple[float, ...]:
    """Share of each label among the rows that say; a half where none does."""
    targets = np.stack([task.target(row) for row in rows]) if task.labels else np.zeros((1, 0))
    known = (~np.isnan(targets)).sum(0)
    return tuple(float(v) for v in np.where(known > 0, np.nansum(targets, axis=0) / np.maximum(known, 1), 0.5))


def _planned(task: FurtherTask, cells: Sequence[str]) -> FurtherTask:
    filled = [cell for cell in cells if cell]
    if task.kind == "multilabel":
        if not task.labels:
            msg = f"Expected the labels of the multilabel task {task.name}; got none. State them."
            raise CohortError(msg)
        return task
    if task.kind == "regression":
        values = np.array([_number(cell) for cell in filled])
        if not len(values) or not np.isfinite(values).all():
            msg = f"Expected numbers in the column {task.name} of the training rows; got none, or something else. Correct it."
            raise CohortError(msg)
        return replace(task, mean=float(values.mean()), sd=float(values.std()) or 1.0)
    labels = task.labels or _sorted(sorted(set(filled)), task)
    if len(labels) < (3 if task.kind == "ordinal" else 2) or (task.kind == "binary" and len(labels) != 2):
        msg = f"Expected classes enough for the {task.kind} task {task.name}; got {len(labels)}. State its labels or leave it out."
        raise CohortError(msg)
    return replace(task, labels=labels)


def _sorted(found: list[str], task: FurtherTask) -> tuple[str, ...]:
    """Classes in the order of their numbers; words have none."""
    if np.isfinite([_number(name) for name in found]).all():
        return tuple(sorted(found, key=float))
    if task.kind == "ordinal":
        msg = f"Expected the labels of the ordinal task {task.name} in their order; words have none. State them."
        raise CohortError(msg)
    return tuple(found)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
