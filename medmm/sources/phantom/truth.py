"""The law of a phantom cohort, P(label | image finding, text finding), and the limits it sets.

A phantom patient has one finding in the image and one in the text, each present or absent and
each recoverable without doubt. The label is drawn from a 2 x 2 table. So the best possible
prediction from any subset of modalities is known exactly, and with it the best AUROC, F1, Brier
score and log-loss that any model can reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import minimize

from medmm.errors import CohortError
from medmm.types import FloatArray, Modality

ARMS: tuple[frozenset[Modality], ...] = (
    frozenset(("image", "text")),
    frozenset(("image",)),
    frozenset(("text",)),
)


@dataclass(frozen=True, slots=True)
class Table:
    """P(label = 1 | image finding, text finding) and how often each finding occurs.

    Attributes:
        positive: Row 0 image finding absent, row 1 present; column 0 text finding absent, column 1 present.
        image_rate, text_rate: Share of patients with the finding; the two are independent.
    """

    positive: tuple[tuple[float, float], tuple[float, float]] = ((0.01, 0.06), (0.06, 0.99))
    image_rate: float = 0.5
    text_rate: float = 0.5

    def __post_init__(self) -> None:
        values = np.asarray(self.positive, dtype=float)
        if values.shape != (2, 2) or not ((values >= 0) & (values <= 1)).all():
            msg = f"Expected a 2 x 2 table of probabilities; got {self.positive}."
            raise ValueError(msg)
        if not 0 < values.sum() < 4:
            msg = "Expected a table under which both labels occur; got only zeros or only ones."
            raise ValueError(msg)
        if not (0 < self.image_rate < 1 and 0 < self.text_rate < 1):
            msg = f"Expected finding rates inside (0, 1); got {self.image_rate} and {self.text_rate}."
            raise ValueError(msg)

    @classmethod
    def from_text(cls, text: str) -> Table:
        """Read `p00,p01,p10,p11`: P(label = 1) without findings, text only, image only, both.

        Raises:
            CohortError: If it is not four probabilities.
        """
        try:
            p00, p01, p10, p11 = (float(part) for part in text.split(","))
            return cls(((p00, p01), (p10, p11)))
        except ValueError:
            msg = "Expected four probabilities p00,p01,p10,p11 between 0 and 1, not all 0 and not all 1."
            raise CohortError(msg) from None

    @property
    def cells(self) -> FloatArray:
        """(2, 2) probability of each combination of findings."""
        return np.outer([1 - self.image_rate, self.image_rate], [1 - self.text_rate, self.text_rate])

    def posterior(self, modalities: frozenset[Modality]) -> FloatArray:
        """(2, 2) P(label = 1 | what these modalities show), for each true combination of findings."""
        positive, cells = np.asarray(self.positive), self.cells
        unseen = tuple(axis for axis, name in enumerate(("image", "text")) if name not in modalities)
        if not unseen:
            return positive.astype(float)
        marginal = (positive * cells).sum(unseen, keepdims=True) / cells.sum(unseen, keepdims=True)
        return np.broadcast_to(marginal, (2, 2)).copy()

    def limits(self, modalities: frozenset[Modality]) -> dict[str, float]:
        """The best values reachable from these modalities; see `limits_of`."""
        return limits_of(self.posterior(modalities), np.asarray(self.positive), self.cells)

    def additive_limits(self) -> dict[str, float]:
        """The best value of each metric that a model whose logit is f(image) + g(text) can reach, each by its own best model.

        Only the order of the four cells decides AUROC and F1, so every order that a sum can give is tried; Brier
        score and log-loss are minimised over the law itself.
        """
        positive, cells = np.asarray(self.positive), self.cells

        def log_loss(parameters: FloatArray) -> float:
            p = _additive(parameters)
            return float(-(cells * (positive * np.log(p) + (1 - positive) * np.log1p(-p))).sum())

        def brier(parameters: FloatArray) -> float:
            p = _additive(parameters)
            return float((cells * (positive * (1 - p) ** 2 + (1 - positive) * p**2)).sum())

        starts = [np.array([0.0, *slopes]) for slopes in product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=2)]
        ranked = [limits_of(_additive(start), positive, cells) for start in starts]
        return {
            **{name: max(found[name] for found in ranked) for name in ("auroc", "f1_positive", "f1_macro")},
            "brier": min(float(minimize(brier, start, method="BFGS").fun) for start in starts),  # has local minima
            "log_loss": float(minimize(log_loss, np.zeros(3), method="BFGS").fun),
        }

    def summary(self) -> dict[str, Any]:
        """The law and every limit, JSON ready."""
        return {
            "positive_given_image_text": [list(row) for row in self.positive],
            "image_rate": self.image_rate,
            "text_rate": self.text_rate,
            "prevalence": float((self.cells * np.asarray(self.positive)).sum()),
            "limits": {
                "image+text": self.limits(ARMS[0]),
                "image": self.limits(ARMS[1]),
                "text": self.limits(ARMS[2]),
                "additive": self.additive_limits(),
            },
        }


def limits_of(prediction: FloatArray, positive: FloatArray, cells: FloatArray) -> dict[str, float]:
    """Exact population value of each metric for a prediction that is constant in every cell.

    Args:
        prediction: (2, 2) predicted P(label = 1) in each cell.
        positive: (2, 2) true P(label = 1).
        cells: (2, 2) probability of the cell.

    Returns:
        `auroc` (ties count half), `f1_positive` and `f1_macro` at their own best threshold,
        `brier` and `log_loss` of the prediction.
    """
    score, mass_1, mass_0 = prediction.ravel(), (cells * positive).ravel(), (cells * (1 - positive)).ravel()
    above = score[:, None] > score[None, :]
    tied = np.isclose(score[:, None], score[None, :])
    ordered = np.where(tied, 0.5, above.astype(float))
    auroc = (mass_1[:, None] * mass_0[None, :] * ordered).sum() / (mass_1.sum() * mass_0.sum())
    f1_positive, f1_macro = zip(*(_f1_at(score >= t - 1e-12, mass_1, mass_0) for t in np.unique(score)), strict=True)
    p = np.clip(score, 1e-15, 1 - 1e-15)
    return {
        "auroc": float(auroc),
        "f1_positive": max(f1_positive),
        "f1_macro": max(f1_macro),
        "brier": float((mass_1 * (1 - score) ** 2 + mass_0 * score**2).sum()),
        "log_loss": float(-(mass_1 * np.log(p) + mass_0 * np.log1p(-p)).sum()),
    }


def _f1_at(called: Any, mass_1: FloatArray, mass_0: FloatArray) -> tuple[float, float]:
    tp, fp = mass_1[called].sum(), mass_0[called].sum()
    fn, tn = mass_1[~called].sum(), mass_0[~called].sum()
    f1_1 = 2 * tp / (2 * tp + fp + fn)
    f1_0 = 2 * tn / (2 * tn + fp + fn)
    return float(f1_1), float((f1_1 + f1_0) / 2)


def _additive(parameters: FloatArray) -> FloatArray:
    """(2, 2) probabilities of the logit a + b * image + c * text."""
    intercept, image, text = parameters
    logit = intercept + image * np.array([[0.0], [1.0]]) + text * np.array([[0.0, 1.0]])
    return np.asarray(np.clip(1 / (1 + np.exp(-logit)), 1e-12, 1 - 1e-12))
