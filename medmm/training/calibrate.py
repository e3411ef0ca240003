"""From held-out logits to calibrators and thresholds, one for each subset of modalities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medmm.metrics import decide
from medmm.metrics.recalibration import Calibrator, fit_calibrator
from medmm.metrics.thresholds import best_thresholds
from medmm.model import MultimodalClassifier
from medmm.model_folder import Thresholds
from medmm.sources.cohort import Case
from medmm.table import write_csv
from medmm.training.fit import Examples
from medmm.transforms.batch import Preprocessor
from medmm.types import AnyArray, FloatArray, IntArray, Kind, pattern_name

_MIN_HELDOUT = 10


@dataclass(frozen=True, eq=False)
class Heldout:
    """Logits for samples the weights did not see.

    Attributes:
        target: (n, K), NaN where unknown.
        logits: For each pattern name (n, K).
        complete: For each pattern name (n,) bool, samples that have all its modalities.
    """

    target: FloatArray
    logits: dict[str, FloatArray]
    complete: dict[str, AnyArray]

    @classmethod
    def joined(cls, parts: dict[int, Heldout], fold: IntArray) -> Heldout:
        """Put the parts of all folds back in the order of the cases."""
        order = np.argsort(np.concatenate([np.flatnonzero(fold == f) for f in parts]))
        patterns = next(iter(parts.values())).logits
        return cls(
            np.concatenate([p.target for p in parts.values()])[order],
            {n: np.concatenate([p.logits[n] for p in parts.values()])[order] for n in patterns},
            {n: np.concatenate([p.complete[n] for p in parts.values()])[order] for n in patterns},
        )

    def take(self, rows: AnyArray) -> Heldout:
        """A subset of samples."""
        return Heldout(
            self.target[rows], {n: v[rows] for n, v in self.logits.items()}, {n: v[rows] for n, v in self.complete.items()}
        )


@torch.no_grad()
def heldout_logits(model: MultimodalClassifier, preprocessor: Preprocessor, examples: Examples, batch_size: int) -> Heldout:
    """Logits of every sample for every subset of modalities."""
    model.eval()
    logits: dict[str, list[FloatArray]] = {pattern_name(p): [] for p in model.patterns}
    complete: dict[str, list[AnyArray]] = {name: [] for name in logits}
    for start in range(0, len(examples), batch_size):
        chunk = [examples.samples[i] for i in range(start, min(start + batch_size, len(examples)))]
        for pattern, (values, whole) in model.answer_patterns(preprocessor.collate(chunk).to(model.device)).items():
            logits[pattern_name(pattern)].append(values.double().cpu().numpy())
            complete[pattern_name(pattern)].append(whole.cpu().numpy())
    classes = len(model.config.labels)
    none, empty = np.zeros((0, classes)), np.zeros(0, dtype=bool)
    return Heldout(
        examples.target if len(examples) else none,
        {n: np.concatenate(v) if v else none for n, v in logits.items()},
        {n: np.concatenate(v) if v else empty for n, v in complete.items()},
    )


def fit_decisions(kind: Kind, heldout: Heldout, split: str) -> tuple[dict[str, Calibrator], dict[str, Thresholds]]:
    """Calibrators and macro-F1 thresholds of every pattern with enough held-out samples of every class.

    Args:
        kind: Kind of task.
        heldout: Logits of samples the weights did not see.
        split: Name of where they come from, recorded with the thresholds.
    """
    calibrators: dict[str, Calibrator] = {}
    thresholds: dict[str, Thresholds] = {}
    for name, logits in heldout.logits.items():
        rows = heldout.complete[name]
        target = heldout.target[rows]
        if len(target) < _MIN_HELDOUT or (np.nansum(target, axis=0) == 0).any():
            continue
        calibrators[name] = fit_calibrator(kind, target, logits[rows])
        best = best_thresholds(kind, target, calibrators[name](logits[rows]))
        values = None if best is None else tuple(float(v) for v in best)
        thresholds[name] = Thresholds(values, "most_probable" if best is None else "max_f1_macro", split)
    return calibrators, thresholds


def write_predictions(
    path: Path, kind: Kind, labels: tuple[str, ...], cases: Sequence[Case], heldout: Heldout, fold: IntArray
) -> None:
    """Write out-of-fold predictions in the predictions-file format.

    Calibration and threshold applied to a fold are fitted on the other folds, so no case had a part
    in its own probability.
    """
    columns = ["sample_id", "patient_id", "arm", "pattern", "split"]
    columns += ["label"] if kind != "multilabel" else [f"label__{name}" for name in labels]
    columns += [f"p__{name}" for name in labels] + [f"logit__{name}" for name in labels] + ["called"]
    write_csv(path, columns, _prediction_rows(kind, labels, cases, heldout, fold))


def _prediction_rows(
    kind: Kind, labels: tuple[str, ...], cases: Sequence[Case], heldout: Heldout, fold: IntArray
) -> Iterable[dict[str, Any]]:
    full = next(iter(heldout.logits))
    for f in np.unique(fold):
        calibrators, thresholds = fit_decisions(kind, heldout.take(fold != f), "out-of-fold")
        for name, logits in heldout.logits.items():
            if name not in calibrators:
                continue
            for i in map(int, np.flatnonzero((fold == f) & heldout.complete[name])):
                p = calibrators[name](logits[i : i + 1])
                values = thresholds[name].values
                called = decide(kind, p, None if values is None else np.asarray(values))[0]
                row = {"sample_id": cases[i].study_id, "patient_id": cases[i].patient_id, "pattern": name, "split": "test"}
                row["arm"] = "full" if name == full else name
                row["called"] = "|".join(label for label, c in zip(labels, called, strict=True) if c)
                yield row | _values(kind, labels, heldout.target[i], p[0], logits[i])


def _values(kind: Kind, labels: tuple[str, ...], target: FloatArray, p: FloatArray, logits: FloatArray) -> dict[str, Any]:
    values: dict[str, Any] = {f"p__{name}": float(v) for name, v in zip(labels, p, strict=True)}
    values |= {f"logit__{name}": float(v) for name, v in zip(labels, logits, strict=True)}
    if kind != "multilabel":
        return values | {"label": labels[int(target.argmax())]}
    return values | {f"label__{n}": "" if np.isnan(t) else int(t) for n, t in zip(labels, target, strict=True)}
