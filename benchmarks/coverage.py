"""How often 95 % intervals hold the truth when patients have several scans: patients resampled, and rows.

    python benchmarks/coverage.py [simulations]

Samples of 500 patients with four scans each, whose labels and errors have a part in common; the truth is that of a
sample of two million scans. A coverage of 0.95 in 400 simulations has a standard error of 0.011.
"""

from __future__ import annotations

import sys

import numpy as np
from threadpoolctl import threadpool_limits

from medmm.metrics import Scores, decide, evaluate
from medmm.metrics.intervals import patient_weights, percentile_interval
from medmm.types import FloatArray, IntArray

PATIENTS, SCANS, REPLICATES = 500, 4, 800
NAMES = ("auroc", "auprc", "f1[yes]", "brier", "ece[equal_width,15]")


def main() -> None:
    """Print the coverage of both ways and how much wider the intervals of patients are."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with threadpool_limits(1):
        truth = evaluate(sample(500_000, np.random.default_rng(2**31)), np.ones((500_000 * SCANS, 1)), NAMES)
        held, widths = np.zeros((simulations, 2, len(NAMES))), np.zeros((simulations, 2, len(NAMES)))
        for simulation in range(simulations):
            scores = sample(PATIENTS, np.random.default_rng(simulation))
            for way, cluster in enumerate((scores.cluster, np.arange(len(scores)))):
                for k, (low, high) in enumerate(intervals(scores, cluster, simulation)):
                    held[simulation, way, k] = low <= truth[NAMES[k]][0] <= high
                    widths[simulation, way, k] = high - low
    print(f"{simulations} simulations of {PATIENTS} patients x {SCANS} scans, {REPLICATES} replicates, nominal 0.95")
    print(f"{'':22} {'truth':>8} {'patients':>9} {'rows':>9} {'width ratio':>12}")
    for k, name in enumerate(NAMES):
        patients, rows = held[:, :, k].mean(0)
        ratio = widths[:, 0, k].mean() / widths[:, 1, k].mean()
        print(f"{name:22} {truth[name][0]:8.4f} {patients:9.3f} {rows:9.3f} {ratio:12.2f}")


def sample(patients: int, rng: np.random.Generator) -> Scores:
    """Scans of patients: a common part in the risk and in the model's error, and one of each scan's own."""
    cluster = np.repeat(np.arange(patients), SCANS)
    risk = -1 + 1.3 * _shared(rng, patients, 0.8)
    y = rng.random(len(cluster)) < 1 / (1 + np.exp(-risk))
    p = 1 / (1 + np.exp(-(risk + 0.7 * _shared(rng, patients, 0.7))))
    probability = np.stack([1 - p, p], axis=1)
    return Scores(
        "binary", ("no", "yes"), np.stack([~y, y], axis=1).astype(float), probability, decide("binary", probability), cluster
    )


def intervals(scores: Scores, cluster: IntArray, seed: int) -> list[tuple[float, float]]:
    """Percentile intervals when these clusters are drawn."""
    blocks = [evaluate(scores, weights, NAMES) for weights in patient_weights(cluster, REPLICATES, seed)]
    found = [percentile_interval(np.concatenate([block[name] for block in blocks])) for name in NAMES]
    return [interval or (np.nan, np.nan) for interval in found]


def _shared(rng: np.random.Generator, patients: int, share: float) -> FloatArray:
    """Standard normal, of whose variance a share is the patient's."""
    common, own = rng.normal(size=patients), rng.normal(size=patients * SCANS)
    return np.sqrt(share) * np.repeat(common, SCANS) + np.sqrt(1 - share) * own


if __name__ == "__main__":
    main()
