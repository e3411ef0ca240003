"""Results to report on, scored from generated predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.results import (
    Arm,
    Characteristic,
    Comparison,
    ConformalSets,
    Counts,
    Curves,
    FurtherResult,
    Gap,
    Group,
    Heterogeneity,
    LabelCount,
    Overlap,
    Partition,
    Recalibration,
    Results,
    RobustnessCurve,
    RunComparison,
    Value,
    WorstCase,
)
from medmm.store import Record

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', r"$\frac{x$ {{ 7 * 7 }} &amp;", "結節 #010101", "unknown")


@pytest.fixture(scope="session")
def results_of() -> Callable[..., Results]:
    """(kind, n, ...) to results of the arms full and image; `distort` multiplies the logits of full, 1 is calibrated."""
    made: dict[str, Results] = {}

    def once(*args, **changes) -> Results:
        asked = repr((args, sorted(changes.items())))
        if asked not in made:
            made[asked] = build(*args, **changes)
        return made[asked]

    def build(kind: str = "binary", n: int = 150, *, distort: float = 1, one_class: bool = False, labels=None, **task) -> Results:
        rng = np.random.default_rng(0)
        classes = len(labels) if labels else {"binary": 2, "multilabel": 5, "multiclass": 3}[kind]
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

    return once


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
    found = _enriched(results_of("multilabel", 60, labels=HOSTILE, question=text, intended_use=text))
    case = {"sample_id": text, "truth": text, "called": text, "pattern": text}
    return found.model_copy(
        update={
            "notes": (text,),
            "statements": {"reference_standard": text, text: text},
            "worst": tuple(c.model_copy(update=case) for c in found.worst),
            "groups": tuple(g.model_copy(update={"column": text, "value": text}) for g in found.groups),
            "environment": {text: text},
            "failed": tuple(f.model_copy(update={"sample_id": text, "code": text}) for f in found.failed),
        }
    )


LABELS_18 = tuple(f"finding number {i:02d} with a rather long name" for i in range(18))


@pytest.fixture(scope="session")
def rich_of(results_of) -> Callable[..., Results]:
    """Results of which every field is filled; arguments as for `results_of`."""

    def build(kind: str = "binary", n: int = 150, **more) -> Results:
        return _enriched(results_of(kind, n, **more))

    return build


@pytest.fixture(scope="session")
def eighteen(results_of) -> Results:
    """Rich results of 18 labels."""
    return _enriched(results_of("multilabel", 120, labels=LABELS_18, intervals={"replicates": 100}))


@pytest.fixture(scope="session")
def runs_compared(results_of) -> RunComparison:
    """Two runs, side by side."""
    found = results_of(n=150)
    arms = tuple(a.model_copy(update={"name": name}) for a, name in zip(found.arms, ("ours", "theirs"), strict=False))
    difference = {"first": "ours", "second": "theirs", "n": 149, "excludes_zero": True, "test": "delong"}
    return RunComparison(
        medmm=found.medmm, disclaimer=found.disclaimer, task=found.task, task_sha256=found.task_sha256, kind=found.kind,
        labels=found.labels, split=found.split, first={"name": "ours"}, second={"name": "theirs"}, n=149, patients=149,
        left_out=3, intervals=found.intervals, arms=arms, notes=("A note.",),
        comparisons=(
            Comparison(metric="auroc", difference=0.1, low=0.02, high=0.2, p_value=0.01, adjusted_p=0.02, correction="holm",
                       outcome="better", **difference),
            Comparison(metric="brier", difference=0.01, low=-0.02, high=0.04, p_value=0.4, outcome="not_shown", **difference),
            Comparison(metric="f1_macro", difference=-0.01, low=-0.015, high=0.04, p_value=0.0001, margin=0.02,
                       outcome="non_inferior", **difference),
            Comparison(metric="log_loss", difference=0.11, low=0.02, high=0.2, outcome="worse", **difference),
        ),
    )  # fmt: skip


def some(value: float | None, better: str = "higher", **more) -> Value:
    """A value with an interval of 0.05 around it."""
    if value is None:
        return Value(value=None, better=better, reason="needs both classes among the samples")
    return Value(value=value, low=value - 0.05, high=value + 0.05, defined=200, better=better, **more)


def _group(column: str, value: str, n: int, metrics: dict[str, Value], suppressed: str | None = None) -> Group:
    return Group(column=column, value=value, n=n, patients=n, positives={"b": n // 3}, metrics=metrics, suppressed=suppressed)


def _enriched(found: Results) -> Results:
    ranking = "auroc" if "auroc" in found.arms[0].metrics else "auroc_macro"
    labels = tuple(found.arms[0].calibration)
    known = LabelCount(positive=40, negative=90, uncertain=5, unknown=15)
    change = Comparison(first="after", second="before", metric="log_loss", n=149, difference=-0.1, low=-0.2, high=-0.02,
                        excludes_zero=True, outcome="better")  # fmt: skip
    return found.model_copy(
        update={
            "arms": (_enriched_arm(found.arms[0], labels), *found.arms[1:]),
            "counts": Counts(**found.counts.model_dump() | {"labels": {label: known.model_dump() for label in labels}}),
            "failures_as_wrong": {"f1_macro": some(0.7), "accuracy": some(0.6)},
            "groups": (
                *(_group("sex", v, 70, {ranking: some(x), "brier": some(0.2, "lower")}) for v, x in (("F", 0.71), ("M", 0.84))),
                _group("sex", "not stated", 3, {}, suppressed="fewer than 50 samples"),
                *(_group("site", f"hospital {i}", 40, {ranking: some(x)}) for i, x in enumerate((0.7, None, 0.9))),
                *(_group("pattern", v, 70, {ranking: some(x)}) for v, x in (("image+text", 0.85), ("image", 0.6))),
            ),
            "gaps": (
                Gap(column="sex", metric=ranking, best="M", worst="F", gap=some(0.13)),
                Gap(column="site", metric=ranking, best="hospital 2", worst="hospital 0", gap=some(0.03)),
                Gap(column="pattern", metric=ranking, best="image+text", worst="image", gap=some(0.25)),
            ),
            "heterogeneity": (
                Heterogeneity(column="site", metric=ranking, sites=3, mean=some(0.8), scale="logit", tau=0.3,
                              prediction_low=0.55, prediction_high=0.93),
                Heterogeneity(column="site", metric="brier", sites=2, mean=some(None), tau=None, prediction_low=None,
                              prediction_high=None),
            ),
            "tasks": (
                FurtherResult(name="grade", kind="ordinal", labels=("1", "2", "3"), calibrated=True, n=140, patients=139,
                              unanswered=2, metrics={"rps": some(0.1, "lower")}, trivial={"rps": some(0.2, "lower")},
                              trivial_what="a constant"),
                FurtherResult(name="never known", kind="regression", labels=(), calibrated=False, n=0, patients=0, unanswered=0),
            ),
            "recalibration": (
                Recalibration(method="temperature", split="val", n=80, applied=True, helped=True, differences=(change,),
                              before={"log_loss": some(0.7, "lower")}, after={"log_loss": some(0.6, "lower")}),
            ),
            "robustness": (
                RobustnessCurve(perturbation="noise", unit="HU", metric=ranking, levels=(0, 20, 80),
                                values=(some(0.8), some(0.75), some(0.6))),
                RobustnessCurve(perturbation="typos", unit="share of words", metric=ranking, levels=(0, 0.5),
                                values=(some(0.8), some(None))),
            ),
            "partition": Partition(samples={"train": 400, "val": 80, "test": 150}, patients={"train": 390, "val": 80, "test": 150},
                                   overlaps=(Overlap(first="train", second="test", patients=0, images=0),
                                             Overlap(first="val", second="test", patients=0, images=None)),
                                   level="patient and image"),
            "characteristics": (
                Characteristic(column="sex", by_split={"train": {"F": 0.5, "M": 0.5}, "test": {"F": 0.4, "M": 0.5, "X": 0.1}},
                               missing={"train": 0, "test": 3}),
                Characteristic(column="age", by_split={"train": {"q1": 50, "median": 61, "q3": 70}, "test": {}},
                               missing={"train": 0, "test": 150}),
            ),
            "worst": tuple(WorstCase(sample_id=f"s{i}", truth=labels[0], called="another", probability=0.99 - i / 100,
                                     pattern="image+text") for i in range(6)),
            "environment": {"python": "3.11", "numpy": "2.4"},
            "statements": {"reference_standard": "Two radiologists read every scan.", "limitations": "One hospital."},
        }
    )  # fmt: skip


def _enriched_arm(full: Arm, labels: tuple[str, ...]) -> Arm:
    grid = [i / 20 for i in range(1, 20)]
    smooth = tuple((p, p**1.3, max(p**1.3 - 0.08, 0), min(p**1.3 + 0.08, 1)) for p in grid)
    benefit = tuple((t, 0.4 * (1 - t) ** 2, 0.4 - 0.6 * t / (1 - t)) for t in grid)
    curves = {n: Curves(**c.model_dump() | {"smooth": smooth, "net_benefit": benefit}) for n, c in full.curves.items()}
    sets = {"promised": 0.9, "split": "val", "n": 80, "size": some(1.3, "target")}
    return full.model_copy(
        update={
            "curves": curves,
            "metrics": full.metrics | {"smece": some(0.08, "lower", null_low=0.01, null_high=0.06)}
            if len(labels) == 1
            else full.metrics,
            "risk_coverage": tuple((c, 0.2 * c) for c in (0.1, 0.4, 0.7, 1.0)),
            "conformal": (
                ConformalSets(method="split", coverage=some(0.91), by_group={"sex=F": some(0.8)}, **sets),
                ConformalSets(method="class_conditional", coverage=some(0.8), **sets),
            ),
        }
    )
