"""Builders of what metrics take, and the reference values they are held against."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.metrics import Scores, decide
from medmm.types import FloatArray

Make = Callable[..., Scores]
Sample = tuple[FloatArray, FloatArray]


@pytest.fixture(scope="session")
def make() -> Make:
    """(kind, target, probability, ...) to `Scores`; a binary target and probability are given for the positive class alone."""

    def build(kind: str, target: Any, probability: Any, *, called: Any = None, cluster: Any = None, labels: Any = None) -> Scores:
        target, p = np.asarray(target, dtype=float), np.asarray(probability, dtype=float)
        if kind == "binary":
            target, p = np.stack([1 - target, target], axis=1), np.stack([1 - p, p], axis=1)
        if kind == "multiclass":
            target = np.eye(p.shape[1])[target.astype(int)]
        labels = labels or tuple("abcdefghij"[: p.shape[1]])
        called = decide(kind, p) if called is None else called
        return Scores(kind, labels, target, p, called, np.arange(len(p)) if cluster is None else np.asarray(cluster))

    return build


@pytest.fixture(scope="session")
def refs() -> dict[str, Any]:
    """Values computed by R, with their inputs and tolerances."""
    return json.loads((Path(__file__).parents[1] / "golden" / "eval_refs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def inference_refs() -> dict[str, Any]:
    """Intervals and tests computed by R on the data of `refs`, with their tolerances."""
    return json.loads((Path(__file__).parents[1] / "golden" / "inference_refs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def generated() -> Callable[[int, str], Sample]:
    """(seed, kind) to labels and probabilities: smooth, with ties, with certain and wrong probabilities, or constant."""

    def generate(seed: int, kind: str) -> Sample:
        rng = np.random.default_rng(seed)
        y = (rng.random(60) < 0.4).astype(float)
        p = {
            "smooth": rng.random(60),
            "ties": rng.random(60).round(1),
            "certain": rng.choice([0.0, 0.3, 1.0], 60),
            "constant": np.full(60, 0.4),
        }
        return y, p[kind]

    return generate


@pytest.fixture(scope="session")
def reference(make: Make, refs: dict[str, Any]) -> Callable[[str], Scores]:
    """The samples R was given, by name of the probabilities: p1, p2 or p3."""
    return lambda name: make("binary", refs["data_synthetic"]["y"], refs["data_synthetic"][name])
