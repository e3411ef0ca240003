"""One recalibration for each pattern of modalities present: a scan alone errs otherwise than a scan with a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medmm.errors import ModelError
from medmm.metrics.recalibration import Recalibrator, fit, load
from medmm.types import AnyArray, FloatArray, Kind


@dataclass(frozen=True, slots=True)
class ByPattern:
    """Recalibrators by name of pattern, e.g. `image+text`.

    Attributes:
        kind: Kind of task.
        pooled: Fitted on all samples; maps patterns without their own.
        own: By pattern.
    """

    kind: Kind
    pooled: Recalibrator
    own: dict[str, Recalibrator]

    def __call__(self, logits: FloatArray, patterns: Sequence[str]) -> FloatArray:
        """(n, K) logits of samples with these n patterns to (n, K) probabilities."""
        names = np.asarray(patterns)
        out = self.pooled(logits)
        for name, recalibrator in self.own.items():
            rows = names == name
            if rows.any():
                out[rows] = recalibrator(logits[rows])
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"pooled": self.pooled.to_dict(), "own": {name: r.to_dict() for name, r in self.own.items()}}

    @classmethod
    def from_dict(cls, kind: Kind, content: dict[str, Any]) -> ByPattern:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If a part is missing or unsound.
        """
        try:
            pooled, own = content["pooled"], dict(content["own"])
        except (KeyError, TypeError, ValueError):
            msg = "Expected recalibration by pattern with the parts pooled and own; got another form."
            raise ModelError(msg) from None
        return cls(kind, load(kind, pooled), {str(name): load(kind, part) for name, part in own.items()})


def fit_by_pattern(
    method: str, kind: Kind, target: FloatArray, logits: FloatArray, patterns: Sequence[str], *, at_least: int = 10
) -> ByPattern:
    """Fit one recalibrator on all samples, and one for each pattern that has enough of its own.

    Args:
        method: A name in `recalibrators`.
        kind: Kind of task.
        target: (n, K) one-hot, or 0, 1 and NaN if multilabel.
        logits: (n, K).
        patterns: n names.
        at_least: Samples with and without each label that a pattern needs; others share the pooled fit.
    """
    names = np.asarray(patterns)
    masks = {str(name): names == name for name in np.unique(names)}
    enough = {name: rows for name, rows in masks.items() if _rarest(target[rows]) >= at_least}
    own = {name: fit(method, kind, target[rows], logits[rows]) for name, rows in enough.items()}
    return ByPattern(kind, fit(method, kind, target, logits), own)


def _rarest(target: AnyArray) -> int:
    """Samples on the rarer side of the label for which that is smallest."""
    return int(np.minimum((target == 1).sum(0), (target == 0).sum(0)).min())
