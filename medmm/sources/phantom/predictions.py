"""Predictions of a model that does not exist, for 18 findings as rare as in chest CT, with known truth.

A scan's true logit of a finding is normal around a mean that gives the finding its prevalence; its label is
drawn from that probability. So the reported probability is exactly right when `slope` is 1, and the AUROC of
every finding is an integral. A patient's scans are alike. Scans without text, and scans of the site `C`,
are told apart less well. Prevalences: those behind the class weights of CT-CLIP's training script for
CT-RATE (Hamamci et al. 2024, arXiv 2403.17834).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from medmm.types import FloatArray

PREVALENCE = {
    "medical_material": 0.098, "arterial_wall_calcification": 0.296, "cardiomegaly": 0.108, "pericardial_effusion": 0.030,
    "coronary_artery_wall_calcification": 0.250, "hiatal_hernia": 0.142, "lymphadenopathy": 0.239, "emphysema": 0.193,
    "atelectasis": 0.249, "lung_nodule": 0.451, "lung_opacity": 0.373, "pulmonary_fibrotic_sequela": 0.241,
    "pleural_effusion": 0.123, "mosaic_attenuation_pattern": 0.052, "peribronchial_thickening": 0.067, "consolidation": 0.136,
    "bronchiectasis": 0.085, "interlobular_septal_thickening": 0.069,
}  # fmt: skip
PATTERNS = {"image+text": 0.7, "image": 0.3}
"""Share of scans by what was at hand."""
SITES = {"A": 0.5, "B": 0.3, "C": 0.2}
"""Share of patients by site."""

_SPREAD = {"image+text": 2.4, "image": 1.6}
_HARDER = {"A": 1.0, "B": 1.0, "C": 0.6}
_ALIKE = 0.5  # share of the variance of a logit that is the patient's
_GRID = np.linspace(-9, 9, 4001)


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What to simulate.

    Attributes:
        slope: Calibration slope of the reported probabilities; below 1 they are too extreme.
        seed: Seed of every random choice.
    """

    slope: float = 1.0
    seed: int = 0

    def rows(self, patients: int, scans: int = 2) -> Iterator[dict[str, Any]]:
        """Rows of a predictions file, split `test`.

        Args:
            patients: How many.
            scans: Of each patient.
        """
        rng = np.random.default_rng(self.seed)
        labels = list(PREVALENCE)
        for patient in range(patients):
            site, sex, age = rng.choice(list(SITES), p=list(SITES.values())), rng.choice(["F", "M"]), int(rng.integers(20, 90))
            own = rng.standard_normal(len(labels))
            for scan in range(scans):
                pattern = str(rng.choice(list(PATTERNS), p=list(PATTERNS.values())))
                z = self._logits(rng, own, pattern, str(site))
                truth = rng.random(len(labels)) < expit(z)
                reported = z / self.slope
                yield {
                    "sample_id": f"P{patient:05d}-{scan}", "patient_id": f"P{patient:05d}", "split": "test", "pattern": pattern,
                    "site": str(site), "sex": str(sex), "age": str(age),
                    **{f"label__{name}": int(t) for name, t in zip(labels, truth, strict=True)},
                    **{f"p__{name}": float(p) for name, p in zip(labels, expit(reported), strict=True)},
                    **{f"logit__{name}": float(v) for name, v in zip(labels, reported, strict=True)},
                }  # fmt: skip

    @staticmethod
    def _logits(rng: np.random.Generator, own: FloatArray, pattern: str, site: str) -> FloatArray:
        spread = _SPREAD[pattern] * _HARDER[site]
        standard = np.sqrt(_ALIKE) * own + np.sqrt(1 - _ALIKE) * rng.standard_normal(len(own))
        centres = np.array([_centre(share, spread) for share in PREVALENCE.values()])
        logits: FloatArray = centres + spread * standard
        return logits


def true_auroc(label: str, pattern: str | None = None, site: str | None = None) -> float:
    """AUROC of a finding in the limit of many scans.

    Args:
        label: One of `PREVALENCE`.
        pattern: Of these scans only; of all when None.
        site: Likewise.
    """
    z = np.linspace(-40, 40, 80_001)
    density = np.zeros_like(z)
    for at_hand, share in PATTERNS.items():
        for place, part in SITES.items():
            if pattern in (None, at_hand) and site in (None, place):
                spread = _SPREAD[at_hand] * _HARDER[place]
                density += share * part * np.exp(-0.5 * ((z - _centre(PREVALENCE[label], spread)) / spread) ** 2) / spread
    positive, negative = density * expit(z), density * expit(-z)
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))


@cache
def _centre(prevalence: float, spread: float) -> float:
    """Mean logit at which so large a share is positive."""
    weight = np.exp(-0.5 * _GRID**2) / np.exp(-0.5 * _GRID**2).sum()
    return float(brentq(lambda mean: float(weight @ expit(mean + spread * _GRID)) - prevalence, -60, 60))
