"""How often a perfectly calibrated model is called miscalibrated, and a flawed one is found out.

    python benchmarks/calibration_power.py [--simulations 500]

The truth is known: labels are drawn from the probabilities. `slope 0.6` is a model whose logits are 1 / 0.6 too large
(overconfident), `slope 1.67` one whose logits are 0.6 of what they should be. Where a patient has several scans they share
a label and a probability, the hardest case. Goals: calibrated at least 0.93, slope 0.6 flagged at least 0.99 at n = 1000.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import expit, logit

from medmm.metrics import Scores, decide
from medmm.metrics.calibration import classical_tests, judge_calibration
from medmm.types import FloatArray

_OTHER_SEEDS = 1_000_000  # the null draws must not repeat those of the samples
_CASES = (
    ("1000 patients", 1000, 1, 0.0),
    ("1000 patients, 5 % positive", 1000, 1, -4.0),
    ("500 patients x 2 scans", 500, 2, 0.0),
    ("250 patients x 4 scans", 250, 4, 0.0),
    ("300 patients", 300, 1, 0.0),
)


def draw(rng: np.random.Generator, patients: int, scans: int, shift: float) -> tuple[FloatArray, FloatArray]:
    """Labels and true probabilities, the same for all scans of a patient; log-odds with standard deviation 1.5."""
    p = expit(shift + 1.5 * rng.normal(size=patients))
    return np.repeat((rng.random(patients) < p).astype(float), scans), np.repeat(p, scans)


def scores_of(y: FloatArray, p: FloatArray, scans: int) -> Scores:
    """Binary scores; each run of `scans` samples is a patient."""
    probability = np.stack([1 - p, p], axis=1)
    target = np.stack([1 - y, y], axis=1)
    return Scores("binary", ("no", "yes"), target, probability, decide("binary", probability), np.arange(len(y)) // scans)


def flagged(simulations: int, patients: int, scans: int, shift: float, factor: float) -> tuple[float, float]:
    """Share of simulations in which the verdict, and Spiegelhalter's test, find the model miscalibrated."""
    found = []
    for seed in range(simulations):
        y, p = draw(np.random.default_rng(seed), patients, scans, shift)
        scores = scores_of(y, expit(factor * logit(p)), scans)
        classical = {t.name: t.p_value for t in classical_tests(scores, 1)}["spiegelhalter"]
        found.append(
            (judge_calibration(scores, 1, simulations=1000, seed=_OTHER_SEEDS + seed).calibrated is False, classical < 0.05)
        )
    verdict, spiegelhalter = np.mean(found, axis=0)
    return float(verdict), float(spiegelhalter)


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=500)
    simulations = parser.parse_args().simulations
    print(f"{simulations} simulations; standard error at 0.95: {(0.05 * 0.95 / simulations) ** 0.5:.3f}")
    print(f"{'':30}{'calibrated':>24}{'slope 0.6':>12}{'slope 1.67':>12}")
    print(f"{'':30}{'verdict':>12}{'Spiegelh.':>12}{'flagged':>12}{'flagged':>12}")
    for name, patients, scans, shift in _CASES:
        alarm, classical = flagged(simulations, patients, scans, shift, 1.0)
        powers = [flagged(simulations, patients, scans, shift, factor)[0] for factor in (1 / 0.6, 0.6)]
        print(f"{name:30}{1 - alarm:12.3f}{1 - classical:12.3f}{powers[0]:12.3f}{powers[1]:12.3f}", flush=True)


if __name__ == "__main__":
    main()
