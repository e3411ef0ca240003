"""What every recalibration method keeps to, and the registry of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from medmm.errors import ModelError, TaskError
from medmm.metrics import point
from medmm.metrics.recalibration import fit, load, logits_of, recalibrators
from medmm.types import FloatArray, Kind

EVERY = [(name, kind) for name in recalibrators for kind in recalibrators.get(name).kinds]
METHODS = pytest.mark.parametrize(("method", "kind"), EVERY)


def flawed(kind: Kind, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Labels, of several some unknown, and logits that are too confident and off centre."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    if kind == "multilabel":
        target = (rng.random((n, 3)) < expit(z)).astype(float)
        target[rng.random((n, 3)) < 0.1] = np.nan
        return target, 3 * z + [0.0, 0.8, -0.8]
    z = z[:, :2] if kind == "binary" else z
    labels = (softmax(z, axis=1).cumsum(1) < rng.random((n, 1))).sum(1)
    return np.eye(z.shape[1])[labels], 3 * z + np.array([0.0, 0.8, -0.8])[: z.shape[1]]


def raw(kind: Kind, logits: FloatArray) -> FloatArray:
    return expit(logits) if kind == "multilabel" else softmax(logits, axis=1)


@METHODS
def test_it_lowers_the_log_loss_of_new_samples(make, method, kind) -> None:
    fitted = fit(method, kind, *flawed(kind, 1500, 0))
    target, logits = flawed(kind, 4000, 1)
    labels = target if kind == "multilabel" else target.argmax(1)
    binary = kind == "binary"
    before, after = (make(kind, labels, p[:, 1] if binary else p) for p in (raw(kind, logits), fitted(logits)))
    assert point("log_loss", after) < point("log_loss", before) - 0.05
    ece = "ece[equal_width,15]" if binary else "ece_macro[equal_width,15]"
    assert point(ece, after) < 0.5 * point(ece, before)


@METHODS
def test_it_gives_probabilities_and_counts_its_samples(method, kind) -> None:
    target, logits = flawed(kind, 60, 2)
    fitted = fit(method, kind, target, logits)
    p = fitted(100 * logits)  # far from what was fitted on
    assert p.shape == target.shape
    assert ((p >= 0) & (p <= 1)).all()
    if kind != "multilabel":
        assert p.sum(1) == pytest.approx(np.ones(60))
    assert (fitted.kind, fitted.n) == (kind, 60)


@METHODS
def test_it_is_plain_json_and_comes_back_the_same(method, kind) -> None:
    target, logits = flawed(kind, 50, 3)
    fitted = fit(method, kind, target, logits)
    content = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    again = load(kind, content)
    assert content["method"] == method
    assert again == fitted
    assert again(logits).tolist() == fitted(logits).tolist()


@pytest.mark.parametrize(("method", "kind"), [(m, k) for m, k in EVERY if recalibrators.get(m).monotone and k != "multiclass"])
def test_the_order_of_samples_never_turns_around_where_that_is_promised(method, kind) -> None:
    target, logits = flawed(kind, 40, 4)
    fitted = fit(method, kind, 1 - target, logits)  # even when labels say the opposite
    line = np.linspace(-9, 9, 200)
    ordered = np.stack([np.zeros(200), line], axis=1) if kind == "binary" else np.tile(line[:, None], (1, 3))
    assert (np.diff(fitted(ordered)[:, 1:], axis=0) >= -1e-12).all()


@METHODS
def test_classes_that_are_perfectly_separated_stay_finite(method, kind) -> None:
    classes = 2 if kind == "binary" else 3
    target = np.eye(classes)[np.arange(30) % classes]
    p = fit(method, kind, target, 10 * target - 5)(10 * target - 5)
    assert np.isfinite(p).all()
    assert (p[target == 1] > 0.5).all()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_probabilities_without_logits_stand_for_themselves(kind) -> None:
    p = raw(kind, flawed(kind, 20, 0)[1])
    assert raw(kind, logits_of(kind, p)) == pytest.approx(p, abs=1e-12)
    certain = logits_of(kind, np.eye(p.shape[1]))
    assert np.isfinite(certain).all()
    assert raw(kind, certain) == pytest.approx(np.eye(p.shape[1]), abs=1e-12)


def test_what_is_not_defined_is_refused() -> None:
    with pytest.raises(TaskError, match="vector; got a binary one"):
        fit("vector", "binary", np.eye(2), np.eye(2))
    with pytest.raises(TaskError, match="got none"):
        fit("beta", "binary", np.empty((0, 2)), np.empty((0, 2)))
    with pytest.raises(KeyError, match="Did you mean 'temperature'"):
        fit("temperatur", "binary", np.eye(2), np.eye(2))
    for content in ({"method": "magic"}, {}, None):
        with pytest.raises(ModelError, match="plug-in"):
            load("binary", content)


def test_an_installed_package_adds_a_method(tmp_path) -> None:
    about = tmp_path / "medmm_mild-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: medmm-mild\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[medmm.recalibrators]\nmild = medmm_mild:MILD\n")
    (tmp_path / "medmm_mild.py").write_text("""
from medmm.metrics.recalibration import Calibrator, Method


def fit(kind, target, logits):
    return Calibrator(kind, (0.5,), (0.0, 0.0), len(target), "mild")


def load(kind, content):
    return Calibrator(kind, tuple(content["slope"]), tuple(content["bias"]), content["n"], "mild")


MILD = Method(fit, load, ("binary",), monotone=True)
""")
    code = """
import numpy as np
from medmm.metrics.recalibration import fit, load
fitted = fit("mild", "binary", np.eye(2), 4 * np.eye(2))
print(load("binary", fitted.to_dict()) == fitted, fitted(4 * np.eye(2))[0, 0])
"""
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    same, p = run.stdout.split()
    assert same == "True"
    assert float(p) == pytest.approx(expit(2))
