"""How long intervals take: a thousand patient-clustered replicates of five metrics against a loop over scikit-learn.

    python benchmarks/bootstrap.py

Macro-F1, AUROC, AUPRC, Brier score and 15-bin ECE of 20,000 samples of 5,000 patients, with 18 labels and with 5
classes; one thread, no compiled extra. Both sides draw the same patients. The loop is run for a few replicates and
its time extrapolated to a thousand; both are CPU seconds, medians of alternating rounds in one process. The largest
difference is that from scikit-learn's values with `sample_weight`, over all replicates the loop was run for.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from medmm.metrics import Scores, decide, evaluate
from medmm.metrics.intervals import patient_weights
from medmm.types import FloatArray, IntArray

SAMPLES, PATIENTS, REPLICATES, BINS = 20_000, 5_000, 1000, 15
ROUNDS, LOOPED = 5, 2  # the loop runs so many replicates in each round
NAMES = ("f1_macro", "auroc_macro", "auprc_macro", "brier", "ece_macro[equal_width,15]")


def main() -> None:
    """Print peak memory, then seconds, ratio and the largest difference of both shapes."""
    shapes = {"18 labels": _multilabel(18), "5 classes": _multiclass(5)}
    with threadpool_limits(1):
        before = _peak_mb()
        found = {title: _replicates(scores) for title, scores in shapes.items()}  # also warms up
        print(f"Peak memory of the process: {_peak_mb():.0f} MB, {before:.0f} MB of it before the first replicate")
        for title, scores in shapes.items():
            _report(title, scores, found[title])


def _report(title: str, scores: Scores, found: dict[str, FloatArray]) -> None:
    ours, theirs, differences = [], [], []
    for round_ in range(ROUNDS):
        ours.append(_seconds(lambda: _replicates(_fresh(scores))))
        looped = range(round_ * LOOPED, (round_ + 1) * LOOPED)
        theirs.append(_seconds(lambda looped=looped: [_loop(scores, rows) for rows in _drawn_rows(scores, looped)]) / LOOPED)
        for replicate, weight in zip(looped, _drawn_weights(scores, looped), strict=True):
            expected = _by_scikit_learn(scores, weight)
            differences += [abs(expected[name] - found[name][replicate]) for name in NAMES]
    fast, slow = statistics.median(ours), statistics.median(theirs) * REPLICATES
    print(f"{SAMPLES} x {title}, {REPLICATES} replicates of {', '.join(NAMES)}")
    print(f"  medmm                     {fast:8.2f} s   (rounds {', '.join(f'{s:.2f}' for s in ours)})")
    print(f"  loop over scikit-learn    {slow:8.1f} s   (extrapolated from {ROUNDS * LOOPED} replicates)")
    print(f"  ratio                     {slow / fast:8.0f}")
    print(f"  largest difference        {max(differences):8.1e}")


def _replicates(scores: Scores) -> dict[str, FloatArray]:
    blocks = [evaluate(scores, weights, NAMES) for weights in patient_weights(scores.cluster, REPLICATES, 0)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in NAMES}


def _fresh(scores: Scores) -> Scores:
    """Without what a run before has sorted."""
    return scores.take(slice(None))


def _drawn_weights(scores: Scores, wanted: range) -> Iterator[IntArray]:
    (block,) = patient_weights(scores.cluster, 64, 0)  # the first block is that of any number of replicates
    return (block[:, r] for r in wanted)


def _drawn_rows(scores: Scores, wanted: range) -> Iterator[IntArray]:
    """Rows of the drawn patients, as a loop would gather them."""
    rows = np.arange(len(scores))
    return (np.repeat(rows, weight) for weight in _drawn_weights(scores, wanted))


def _loop(scores: Scores, rows: IntArray) -> list[float]:
    """One replicate as it is usually written: index, then call."""
    from sklearn import metrics as sk

    y, p, called = scores.target[rows], scores.probability[rows], scores.called[rows]
    labels = range(y.shape[1])
    f1, areas = sk.f1_score(y, called, average="macro"), [sk.roc_auc_score(y[:, k], p[:, k]) for k in labels]
    precisions = [sk.average_precision_score(y[:, k], p[:, k]) for k in labels]
    brier = [sk.brier_score_loss(y[:, k], p[:, k]) for k in labels]
    ece = [_ece(y[:, k], p[:, k]) for k in labels]
    return [f1, *(float(np.mean(each)) for each in (areas, precisions, brier, ece))]


def _by_scikit_learn(scores: Scores, weight: IntArray) -> dict[str, float]:
    from sklearn import metrics as sk

    y, p, called = scores.target, scores.probability, scores.called
    labels, weighted = range(y.shape[1]), {"sample_weight": weight}
    brier = [sk.brier_score_loss(y[:, k], p[:, k], **weighted) for k in labels]
    rows = np.repeat(np.arange(len(y)), weight)
    each = {
        "f1_macro": [sk.f1_score(y[:, k], called[:, k], **weighted) for k in labels],
        "auroc_macro": [sk.roc_auc_score(y[:, k], p[:, k], **weighted) for k in labels],
        "auprc_macro": [sk.average_precision_score(y[:, k], p[:, k], **weighted) for k in labels],
        "brier": brier if scores.kind == "multilabel" else [sum(brier)],
        "ece_macro[equal_width,15]": [_ece(y[rows, k], p[rows, k]) for k in labels],
    }
    return {name: float(np.mean(values)) for name, values in each.items()}


def _ece(y: FloatArray, p: FloatArray) -> float:
    bins = np.clip(np.ceil(p * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    gap = np.bincount(bins, y, minlength=BINS) - np.bincount(bins, p, minlength=BINS)
    return float(np.abs(gap)[count > 0].sum() / len(y))


def _multilabel(labels: int) -> Scores:
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(2 - 1.5 * rng.normal(size=(SAMPLES, labels))))
    target = (rng.random(p.shape) < p).astype(np.float64)
    names = tuple(f"label {k}" for k in range(labels))
    return Scores("multilabel", names, target, p, decide("multilabel", p), rng.integers(0, PATIENTS, SAMPLES))


def _multiclass(classes: int) -> Scores:
    rng = np.random.default_rng(0)
    p = np.exp(1.5 * rng.normal(size=(SAMPLES, classes)))
    p /= p.sum(1, keepdims=True)
    truth = (p.cumsum(1) > rng.random((SAMPLES, 1))).argmax(1)
    names = tuple(f"class {k}" for k in range(classes))
    return Scores("multiclass", names, np.eye(classes)[truth], p, decide("multiclass", p), rng.integers(0, PATIENTS, SAMPLES))


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
