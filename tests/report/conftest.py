"""Results to report on, scored from generated predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.results import Results
from medmm.store import Record

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', r"$\frac{x$ {{ 7 * 7 }} &amp;", "結節 #010101", "unknown")


@pytest.fixture(scope="session")
def results_of() -> Callable[..., Results]:
    """(kind, n, ...) to results of the arms full and image; `distort` multiplies the logits of full, 1 is calibrated."""

    def build(kind: str = "binary", n: int = 150, *, distort: float = 1, one_class: bool = False, labels=None, **task) -> Results:
        rng = np.random.default_rng(0)
        classes = 2 if kind == "binary" else 5 if kind == "multilabel" else 3
        labels = labels or tuple("abcde"[:classes])
        rows = []
        for arm, strength in (("full", 2.0), ("image", 1.0)):
            rng = np.random.default_rng(1)
            for i in range(n):
                z = strength * rng.normal(size=classes)
                target, p = _draw(kind, z, distort if arm == "full" else 1, rng)
                target = (1.0, *[0.0] * (classes - 1)) if one_class else target
                rows.append(Record(f"s{i}", f"p{i}", i, arm, target=target, probability=p))
        rows[0] = replace(rows[0], code="E_MISSING_SLICES", probability=())
        task = {"name": "tested", "intervals": {"replicates": 200}} | task
        return score(Predictions(kind, labels, tuple(rows), {"type": "test"}), Task(**task))

    return build


def _draw(kind, z, distort, rng):
    """Target and probabilities from logits."""
    if kind == "multilabel":
        truth = rng.random(len(z)) < 1 / (1 + np.exp(-z))
        # The last label is known of nobody, the one before is always 1.
        target = (*map(float, truth[:-2]), 1.0, None)
        return target, tuple(map(float, 1 / (1 + np.exp(-distort * z))))
    p, q = (np.exp(v) / np.exp(v).sum() for v in (z, distort * z))
    return tuple(map(float, np.eye(len(z))[rng.choice(len(z), p=p)])), tuple(map(float, q))


@pytest.fixture(scope="session")
def hostile(results_of) -> Results:
    """Multilabel results whose every free text tries to get out of its place."""
    text = '</p><script>alert("x")</script>'
    return results_of("multilabel", 60, labels=HOSTILE, question=text, intended_use=text)
