"""Calibration and thresholds: from held-out samples only, and crossed between folds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from medmm.inference import Predictor
from medmm.metrics.recalibration import fit_calibrator
from medmm.sources.cohort import Case, read_cohort
from medmm.training import TrainConfig, train
from medmm.training.calibrate import fit_decisions, write_predictions
from medmm.training.examples import Heldout

LABELS = ("no", "yes")
N, FOLDS = 60, 3


def heldout(seed: int = 0, missing_text: int = 0) -> tuple[Heldout, np.ndarray]:
    rng = np.random.default_rng(seed)
    margin = rng.normal(0, 2, N)
    y = (rng.random(N) < 1 / (1 + np.exp(-0.5 * margin))).astype(int)
    logits = np.c_[np.zeros(N), margin]
    whole = np.ones(N, dtype=bool)
    has_text = np.arange(N) >= missing_text
    names = {"image+text": (logits, has_text), "image": (logits * 2, whole), "text": (-logits, has_text)}
    made = Heldout(np.eye(2)[y], {n: v for n, (v, _) in names.items()}, {n: c for n, (_, c) in names.items()})
    return made, rng.permutation(np.arange(N) % FOLDS)


def written(made: Heldout, fold: np.ndarray, path: Path) -> list[dict[str, str]]:
    cases = [Case(f"S{i}", f"P{i}", (), None, made.target[i], None, {}) for i in range(N)]
    write_predictions(path, "binary", LABELS, cases, made, {f: made.take(fold != f) for f in range(FOLDS)}, fold)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_pattern_is_calibrated_on_the_samples_that_have_it() -> None:
    made, _ = heldout(missing_text=35)
    calibrators, thresholds = fit_decisions("binary", made, "val")
    assert {name: c.n for name, c in calibrators.items()} == {"image+text": 25, "image": 60, "text": 25}
    for name, calibrator in calibrators.items():
        rows = made.complete[name]
        assert calibrator == fit_calibrator("binary", made.target[rows], made.logits[name][rows])
    assert {(t.policy, t.split) for t in thresholds.values()} == {("max_f1_macro", "val")}


@pytest.mark.parametrize("reason", ["few", "one_class"])
def test_too_few_samples_or_one_class_give_no_calibration_rather_than_a_bad_one(reason: str) -> None:
    made, _ = heldout()
    rows = np.arange(9) if reason == "few" else np.flatnonzero(made.target[:, 0] == 1)
    assert fit_decisions("binary", made.take(rows), "val") == ({}, {})


def test_the_threshold_is_the_best_of_all_on_the_calibrated_probabilities() -> None:
    from sklearn.metrics import f1_score

    made, _ = heldout(3)
    calibrators, thresholds = fit_decisions("binary", made, "val")
    p = calibrators["image"](made.logits["image"])[:, 1]
    y = made.target[:, 1]
    chosen = thresholds["image"].values
    assert chosen is not None
    best = max(f1_score(y, p >= t, average="macro", zero_division=0) for t in [0, *p])
    assert f1_score(y, p >= chosen[0], average="macro", zero_division=0) == pytest.approx(best)


def test_a_multiclass_answer_needs_no_threshold() -> None:
    rng = np.random.default_rng(0)
    made = Heldout(np.eye(3)[np.arange(30) % 3], {"text": rng.normal(size=(30, 3))}, {"text": np.ones(30, dtype=bool)})
    calibrators, thresholds = fit_decisions("multiclass", made, "val")
    assert (thresholds["text"].values, thresholds["text"].policy) == (None, "most_probable")
    slope, bias = calibrators["text"].slope[0], np.array(calibrators["text"].bias)
    assert calibrators["text"](made.logits["text"]) == pytest.approx(softmax(slope * made.logits["text"] + bias, axis=1))


def test_no_case_has_a_part_in_its_own_probability(tmp_path: Path) -> None:
    made, fold = heldout()
    before = {(r["sample_id"], r["arm"]): r for r in written(made, fold, tmp_path / "a.csv")}
    flipped = made.target.copy()
    flipped[fold == 0] = flipped[fold == 0][:, ::-1]
    after = {(r["sample_id"], r["arm"]): r for r in written(Heldout(flipped, made.logits, made.complete), fold, tmp_path / "b.csv")}
    for key, row in before.items():
        own = fold[int(key[0][1:])] == 0
        assert (row["p__yes"] == after[key]["p__yes"]) == own
        assert (row["label"] == after[key]["label"]) == (not own)


def test_probabilities_of_a_fold_come_from_a_calibration_on_the_others(tmp_path: Path) -> None:
    made, fold = heldout()
    rows = written(made, fold, tmp_path / "p.csv")
    assert len(rows) == 3 * N
    for f in range(FOLDS):
        calibrator = fit_calibrator("binary", made.target[fold != f], made.logits["text"][fold != f])
        expected = calibrator(made.logits["text"])[:, 1]
        mine = [r for r in rows if r["arm"] == "text" and fold[int(r["sample_id"][1:])] == f]
        assert [float(r["p__yes"]) for r in mine] == pytest.approx([expected[int(r["sample_id"][1:])] for r in mine])
    assert {(r["arm"], r["pattern"]) for r in rows} == {("full", "image+text"), ("image", "image"), ("text", "text")}


@pytest.mark.parametrize("loss", ["focal", "logit_adjusted"])
def test_probabilities_are_near_the_truth_whatever_the_loss_did_to_the_logits(loss: Any, write_cohort: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    truth = 1 / (1 + np.exp(2 - 1.5 * x))
    y, sides = rng.random(400) < truth, np.repeat(["train", "val", "test"], [160, 160, 80])
    rows = [
        {"study_id": f"S{i}", "patient_id": f"P{i}", "x": x[i], "label": LABELS[int(y[i])], "split": sides[i]} for i in range(400)
    ]
    config = TrainConfig(
        epochs=8, batch_size=16, width=16, modalities=("tabular",), tabular=("x",), loss=loss, class_weights="none"
    )
    path = write_cohort(tmp_path, rows)
    train(path, tmp_path / "m", config, device="cpu", labels=LABELS, on_scan=lambda _: None)
    predictor = Predictor.load(tmp_path / "m", "cpu")
    cases = read_cohort(path, fields=predictor.folder.preprocessor.tabular.fields).with_split("test")  # type: ignore[union-attr]
    p = np.array([predictor.predict(case.open()).answer.probabilities["yes"] for case in cases])
    assert np.abs(p - truth[sides == "test"]).mean() < 0.08
    assert abs(p.mean() - truth[sides == "test"].mean()) < 0.06
    assert f"Loss {loss}, class weights none, frequencies here: no " in predictor.folder.card
