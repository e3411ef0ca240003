"""Does out-of-fold calibration show what the finished model will do? In simulations, where fresh patients are to be had.

    python benchmarks/nested.py --simulations 200

Patients with normal columns and a label by a logistic law; a logistic regression of the columns stands for the network.
Its log-loss and Brier score are measured out of fold, each fold calibrated by the answers that `medmm train --folds`
fits it on: of weights that saw neither the fold nor what they answer (`nested`), or of the other folds' own weights
(`nested=false`). The truth is what the regression of all patients, calibrated on all out-of-fold answers, comes to on
4,000 fresh patients. Prints what each way is off by, with standard errors.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from medmm.metrics.recalibration import Calibrator, fit_calibrator
from medmm.training.calibrate import Heldout, apart
from medmm.types import AnyArray, FloatArray

SETTINGS = ((300, 18, 0.03), (300, 18, 1.0), (300, 18, 100.0), (100, 10, 0.1), (100, 10, 10.0))  # patients, columns, C
WEIGHTS, INTERCEPT = (1.0, 0.5, 0.3, 0.3, -0.3), -1.1
FOLDS, FRESH = 5, 4000


def drawn(rng: np.random.Generator, patients: int, columns: int) -> tuple[FloatArray, FloatArray]:
    """Columns and labels."""
    x = rng.normal(size=(patients, columns))
    return x, (rng.random(patients) < expit(x[:, : len(WEIGHTS)] @ WEIGHTS + INTERCEPT)).astype(float)


def answered(x: FloatArray, y: FloatArray, learned: AnyArray, asked: FloatArray, c: float) -> FloatArray:
    """(n, 2) logits of the asked by a regression of the learned."""
    margin = LogisticRegression(C=c, max_iter=1000).fit(x[learned], y[learned]).decision_function(asked)
    return np.stack([-margin / 2, margin / 2], axis=1)


def one_hot(y: FloatArray) -> FloatArray:
    """(n, 2)."""
    return np.stack([1 - y, y], axis=1)


def calibrated(told: Heldout) -> Calibrator:
    """As a finished fold is."""
    return fit_calibrator("binary", told.target, told.logits["tabular"])


def losses(y: FloatArray, p: FloatArray) -> FloatArray:
    """Log-loss and Brier score."""
    return np.array([log_loss(y, p), brier_score_loss(y, p)])


def simulated(seed: int, patients: int, columns: int, c: float) -> FloatArray:
    """(2, 2): how far off nested and shared calibration are, in log-loss and Brier score."""
    rng = np.random.default_rng(seed)
    (x, y), (fresh, truth) = drawn(rng, patients, columns), drawn(rng, FRESH, columns)
    fold = np.arange(patients) % FOLDS

    def unseen(*folds: int) -> list[Heldout]:
        outside = ~np.isin(fold, folds)
        return [told(fold == f, answered(x, y, outside, x[fold == f], c)) for f in folds]

    def told(rows: AnyArray, logits: FloatArray) -> Heldout:
        return Heldout(one_hot(y[rows]), {"tabular": logits}, {"tabular": np.ones(len(logits), dtype=bool)})

    heldout = Heldout.joined({f: unseen(f)[0] for f in range(FOLDS)}, fold)
    finished = calibrated(heldout)(answered(x, y, fold >= 0, fresh, c))[:, 1]
    ways = (apart(fold, unseen), {f: heldout.take(fold != f) for f in range(FOLDS)})
    found = []
    for beside in ways:
        p = np.zeros(patients)
        for f, others in beside.items():
            p[fold == f] = calibrated(others)(heldout.logits["tabular"][fold == f])[:, 1]
        found.append(losses(y, p) - losses(truth, finished))
    return np.stack(found)


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=200)
    given = parser.parse_args()
    print("| patients, columns, C | nested: log-loss | Brier | shared: log-loss | Brier |\n|---|---|---|---|---|")
    for setting in SETTINGS:
        off = np.stack([simulated(seed, *setting) for seed in range(given.simulations)]).reshape(-1, 4)
        mean, error = off.mean(0), off.std(0, ddof=1) / np.sqrt(len(off))
        cells = " | ".join(f"{m:+.4f} ({e:.4f})" for m, e in zip(mean, error, strict=True))
        print(f"| {', '.join(map(str, setting))} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
