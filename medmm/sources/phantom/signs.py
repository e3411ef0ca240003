"""The law of a cohort of pictures, P(class, form of the picture, course of the history), and the limits it sets.

A class shows in the picture and tells in the history, each by itself: P(form, course | class) is a product. Form and
course can both be recognised without doubt, so the best possible prediction from any subset of modalities is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medmm.sources.phantom.history import COURSES
from medmm.sources.phantom.lesion import FORMS
from medmm.sources.phantom.truth import ARMS
from medmm.types import FloatArray, Modality, pattern_name

_OWN, _NEXT, _OTHER = 0.72, 0.22, 0.02

Matrix = tuple[tuple[float, ...], ...]


def _around(step: int) -> Matrix:
    """Row c of five: most of class c has sign c, some sign c + step, few any other."""
    return tuple(tuple({c: _OWN, (c + step) % 5: _NEXT}.get(sign, _OTHER) for sign in range(5)) for c in range(5))


_SHOWN, _TOLD = _around(1), _around(2)


@dataclass(frozen=True, slots=True)
class Signs:
    """How often each class occurs, and the signs it gives.

    Attributes:
        labels: Names of the K classes.
        rates: P(class).
        forms: (K, F) P(form of the picture | class). By default neighbours share a form.
        courses: (K, H) P(course of the history | class). By default other classes share a course than a form.
    """

    labels: tuple[str, ...] = ("alpha", "beta", "gamma", "delta", "epsilon")
    rates: tuple[float, ...] = (0.2,) * 5
    forms: Matrix = _SHOWN
    courses: Matrix = _TOLD

    def __post_init__(self) -> None:
        count = len(self.labels)
        rates, forms, courses = (np.asarray(table, dtype=float) for table in (self.rates, self.forms, self.courses))
        fits = (rates.shape, forms.shape, courses.shape) == ((count,), (count, len(FORMS)), (count, len(COURSES)))
        if not fits or not all((t >= 0).all() and np.allclose(t.sum(-1), 1) for t in (rates, forms, courses)):
            msg = f"Expected a rate, {len(FORMS)} forms and {len(COURSES)} courses for each of {count} classes, summing to 1 each."
            raise ValueError(msg)
        if not (rates.min() > 0 and forms.sum(0).min() > 0 and courses.sum(0).min() > 0):
            msg = "Expected a law under which every class, form and course occurs; got one that never does."
            raise ValueError(msg)

    @property
    def joint(self) -> FloatArray:
        """(K, F, H) probability of each class with each form and course."""
        joint: FloatArray = np.einsum("k,kf,kh->kfh", self.rates, self.forms, self.courses)
        return joint

    def posterior(self, modalities: frozenset[Modality]) -> FloatArray:
        """(K, F, H) P(class | what these modalities show), for each true form and course."""
        joint = self.joint
        unseen = tuple(axis for axis, name in ((1, "image"), (2, "text")) if name not in modalities)
        known = joint.sum(unseen, keepdims=True)
        return np.broadcast_to(known / known.sum(0), joint.shape).copy()

    def limits(self, modalities: frozenset[Modality]) -> dict[str, float]:
        """What the true posterior given these modalities scores in the population.

        Returns:
            `auroc_macro` (one class against the rest, ties count half), `brier` (summed over classes), `log_loss`, which
            no prediction betters, and `f1_macro` of calling the most probable class (equally probable ones in turn).
        """
        mass = self.joint.reshape(len(self.labels), -1)
        posterior = self.posterior(modalities).reshape(mass.shape)
        cells = mass.sum(0)
        likeliest = np.isclose(posterior, posterior.max(0))
        called = likeliest / likeliest.sum(0)
        f1 = 2 * (mass * called).sum(1) / (mass.sum(1) + (cells * called).sum(1))
        certain = np.where(mass > 0, np.log(np.where(posterior > 0, posterior, 1.0)), 0.0)
        return {
            "auroc_macro": float(np.mean([_auroc(p, m, cells - m) for p, m in zip(posterior, mass, strict=True)])),
            "f1_macro": float(f1.mean()),
            "brier": float((cells * (1 - (posterior**2).sum(0))).sum()),
            "log_loss": float(-(mass * certain).sum()),
        }

    def summary(self) -> dict[str, Any]:
        """The law and every limit, JSON ready."""
        return {
            "labels": list(self.labels),
            "rates": list(self.rates),
            "form_given_class": [list(row) for row in self.forms],
            "course_given_class": [list(row) for row in self.courses],
            "limits": {pattern_name(arm): self.limits(arm) for arm in ARMS},
        }


def _auroc(score: FloatArray, positive: FloatArray, negative: FloatArray) -> float:
    """Of weighted atoms."""
    tied = np.isclose(score[:, None], score[None, :], rtol=1e-9, atol=1e-12)
    ordered = np.where(tied, 0.5, score[:, None] > score[None, :])
    return float(positive @ ordered @ negative / (positive.sum() * negative.sum()))
