"""The catalogue: names, order, and access by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medmm.metrics import FAMILIES, Metric, Single, batch, catalogue, evaluate, point

KINDS = pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture
def sample(make):
    """Kind to scores of 80 generated samples with ties."""

    def build(kind):
        rng = np.random.default_rng(0)
        if kind == "binary":
            return make(kind, rng.random(80) < 0.4, rng.random(80).round(1))
        if kind == "multiclass":
            return make(kind, rng.integers(0, 3, 80), rng.dirichlet([1] * 3, 80))
        return make(kind, rng.random((80, 3)) < 0.4, rng.random((80, 3)).round(1))

    return build


def names(scores) -> list[str]:
    return [m.name for _, metrics in catalogue(scores) for m in metrics]


def test_a_binary_task_is_scored_by_the_names_the_documents_state(sample) -> None:
    assert {
        "f1_macro", "balanced_accuracy", "accuracy", "f1_micro", "f1_weighted", "mcc", "kappa", "f1[a]", "f1[b]",
        "sensitivity[b]", "specificity[b]", "precision[b]", "npv[b]", "youden[b]", "lr_positive[b]", "lr_negative[b]", "dor[b]",
        "prevalence[b]", "auroc", "auprc", "brier", "log_loss", "ece[equal_width,15]", "ece[equal_mass,10]",
        "cal_slope", "cal_intercept", "cal_in_the_large",
    } <= set(names(sample("binary")))  # fmt: skip
    assert names(sample("binary"))[0] == "f1_macro"


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_other_tasks_have_a_macro_average_and_one_value_a_label(sample, kind) -> None:
    assert {
        "auroc_macro", "auroc[a]", "auroc[c]", "ece_macro[equal_width,15]", "ece[a,equal_mass,10]", "cal_slope[b]",
        "sensitivity_macro", "precision[c]",
    } <= set(names(sample(kind)))  # fmt: skip


@KINDS
def test_names_are_unique(sample, kind) -> None:
    found = names(sample(kind))
    assert len(set(found)) == len(found)


@KINDS
def test_a_metric_is_the_same_by_itself_in_a_block_and_among_all(sample, kind) -> None:
    scores = sample(kind)
    drawn = np.random.default_rng(2).integers(0, 3, (80, 37))
    every = evaluate(scores, drawn)
    assert list(every) == names(scores)
    for name in ("f1_macro", names(scores)[-1]):
        assert batch(name, scores, drawn).tolist() == every[name].tolist()
        assert point(name, scores, drawn[:, 36]) == pytest.approx(every[name][36], rel=1e-12)
        assert point(name, scores) == evaluate(scores, np.ones((80, 1)), [name])[name][0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_weights_may_be_of_any_type(sample, dtype) -> None:
    scores = sample("multilabel")
    drawn = np.random.default_rng(2).integers(0, 3, (80, 20))
    expected, found = evaluate(scores, drawn.astype(float)), evaluate(scores, drawn.astype(dtype))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_metric_nobody_knows_is_named_with_its_nearest(sample) -> None:
    with pytest.raises(KeyError, match="Did you mean 'auroc'"):
        point("aurocc", sample("binary"))
    with pytest.raises(KeyError, match="got 'zzz'"):
        catalogue(sample("binary"), ["zzz"])


def test_a_name_used_twice_is_refused(sample, monkeypatch) -> None:
    monkeypatch.setitem(FAMILIES._targets, "again", Single(Metric("auroc", "higher", "never", 0, 1), lambda s, w: w.sum(0)))
    with pytest.raises(ValueError, match="auroc is defined twice"):
        catalogue(sample("binary"))


@KINDS
def test_better_says_which_way_is_better(make, kind) -> None:
    classes = np.array([0, 1, 2] * 10)
    target = {"binary": classes == 1, "multiclass": classes, "multilabel": np.eye(3)[classes]}[kind]
    p = 0.98 * (np.eye(3)[classes] if kind == "multiclass" else target) + 0.02 / 3
    right, wrong = make(kind, target, p), make(kind, target, np.roll(p, 1, axis=1) if kind == "multiclass" else 1 - p)
    for _, family in catalogue(right):
        for metric in family:
            values = point(metric.name, right), point(metric.name, wrong)
            if metric.better != "target" and not np.isnan(values).any():
                assert (values[0] > values[1]) is (metric.better == "higher"), metric.name


def test_an_installed_package_adds_a_metric(tmp_path) -> None:
    about = tmp_path / "medmm_plugin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: medmm-plugin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[medmm.metrics]\nsharpness = medmm_plugin:SHARPNESS\n")
    code = """
import numpy as np
from medmm.metrics import Scores, point
p = np.array([[0.9, 0.1], [0.3, 0.7]])
print(point("sharpness", Scores("binary", ("a", "b"), np.eye(2), p, p > 0.5, np.arange(2))))
"""
    paths = os.pathsep.join([str(tmp_path), str(PLUGIN), str(Path(__file__).parents[2])])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert float(run.stdout) == pytest.approx(0.3)
