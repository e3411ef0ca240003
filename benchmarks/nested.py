"""Does out-of-fold calibration show what the finished model will do? In simulations, where fresh patients are to be had.

    python benchmarks/nested.py OUT --simulations 200

Patients with normal columns and a label by a logistic law; a logistic regression of the columns stands for the network.
Its log-loss and Brier score are measured out of fold, each fold calibrated by the answers that `medmm train --folds`
fits it on: of weights that saw neither the fold nor what they answer (`nested`), or of the other folds' own weights
(`nested=false`). The truth is what the regression of all patients, calibrated on all out-of-fold answers, comes to on
4,000 fresh patients. Writes what each way is off by, with standard errors, as `regressions.json` and `.md`, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

import medmm
from medmm.metrics.recalibration import Calibrator, fit_calibrator
from medmm.training.calibrate import apart
from medmm.training.examples import Heldout
from medmm.types import AnyArray, FloatArray

SETTINGS = ((300, 18, 0.03), (300, 18, 1.0), (300, 18, 100.0), (100, 10, 0.1), (100, 10, 10.0))  # patients, columns, C
WEIGHTS, INTERCEPT = (1.0, 0.5, 0.3, 0.3, -0.3), -1.1
FOLDS, FRESH = 5, 4000
WAYS, LOSSES = ("nested", "shared"), ("log_loss", "brier")


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


def measured(setting: tuple[int, int, float], simulations: int) -> dict[str, Any]:
    """Mean over simulations and its standard error, of each way and loss."""
    off = np.stack([simulated(seed, *setting) for seed in range(simulations)])
    mean, error = off.mean(0), off.std(0, ddof=1) / np.sqrt(simulations)
    found = {way: {loss: {"mean": mean[i, j], "error": error[i, j]} for j, loss in enumerate(LOSSES)} for i, way in enumerate(WAYS)}
    return {**dict(zip(("patients", "columns", "c"), setting, strict=True)), **found}


def lines_of(found: dict[str, Any]) -> list[str]:
    """Markdown."""
    lines = [
        f"`{found['command']}`", "",
        f"Out of fold minus fresh patients, {found['simulations']} simulations, standard errors in brackets.", "",
        "| patients | columns | C | nested: log-loss | Brier | shared: log-loss | Brier |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in found["rows"]:
        cells = " | ".join("{mean:+.4f} ({error:.4f})".format(**row[way][loss]) for way in WAYS for loss in LOSSES)
        lines.append(f"| {row['patients']} | {row['columns']} | {row['c']:g} | {cells} |")
    return lines


def main() -> None:
    """Simulate, write and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--simulations", type=int, default=200)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = {
        "command": shlex.join(["python", "benchmarks/nested.py", "OUT", *sys.argv[2:]]),
        "medmm": medmm.__version__, "simulations": given.simulations,
        "rows": [measured(setting, given.simulations) for setting in SETTINGS],
    }  # fmt: skip
    lines = lines_of(found)
    for ending, text in (("json", json.dumps(found, indent=2)), ("md", "\n".join(lines))):
        (given.out / f"regressions.{ending}").write_text(text + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
