"""Oracle: every combination of class, form and course as a weighted sample, measured by scikit-learn."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score

from medmm.sources.phantom.signs import Signs
from medmm.sources.phantom.truth import ARMS

UNEVEN = Signs(
    ("a", "b", "c"), (0.5, 0.3, 0.2),
    ((0.7, 0.1, 0.1, 0.05, 0.05), (0.0, 0.5, 0.2, 0.2, 0.1), (0.1, 0.1, 0.1, 0.1, 0.6)),
    ((0.2, 0.2, 0.2, 0.2, 0.2), (0.9, 0.1, 0.0, 0.0, 0.0), (0.1, 0.2, 0.3, 0.2, 0.2)),
)  # fmt: skip
LAWS = [Signs(), UNEVEN]
SEEN = {"image": 1, "text": 2}


def atoms(law: Signs) -> np.ndarray:
    """(n, 3) class, form, course."""
    return np.array(list(product(range(len(law.labels)), range(5), range(5))))


def weights(law: Signs) -> np.ndarray:
    return np.array([law.rates[k] * law.forms[k][f] * law.courses[k][h] for k, f, h in atoms(law)])


def posterior(law: Signs, arm: frozenset[str]) -> np.ndarray:
    """(n, K) P(class | what the arm sees) of every atom, by summing over all atoms that look the same."""
    all_, w = atoms(law), weights(law)
    columns = [SEEN[m] for m in arm]
    alike = (all_[:, None, columns] == all_[None, :, columns]).all(-1)
    each = np.stack([(alike * w * (all_[:, 0] == k)).sum(1) for k in range(len(law.labels))], axis=1)
    return each / each.sum(1, keepdims=True)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("arm", ARMS)
def test_posterior_and_limits_are_those_of_all_combinations(law: Signs, arm: frozenset[str]) -> None:
    true, w, p = atoms(law)[:, 0], weights(law), posterior(law, arm)
    _, f, h = atoms(law).T
    found = law.posterior(arm)
    np.testing.assert_allclose([found[:, i, j] for i, j in zip(f, h, strict=True)], p, atol=1e-12)
    one_hot, limits = np.eye(len(law.labels))[true], law.limits(arm)
    aurocs = [roc_auc_score(one_hot[:, c], p[:, c].round(12), sample_weight=w) for c in range(len(law.labels))]
    assert limits["auroc_macro"] == pytest.approx(np.mean(aurocs), abs=1e-9)
    assert limits["log_loss"] == pytest.approx(log_loss(true, p, sample_weight=w), abs=1e-9)
    brier = sum(brier_score_loss(one_hot[:, c], p[:, c], sample_weight=w) for c in range(len(law.labels)))
    assert limits["brier"] == pytest.approx(brier, abs=1e-9)


def test_limits_of_one_modality_by_hand() -> None:
    """Given a form, its own class has 0.72, the one before 0.22, and each other 0.02."""
    by_hand = {
        "f1_macro": 0.72,  # as many are called each class as are of it
        "brier": 1 - (0.72**2 + 0.22**2 + 3 * 0.02**2),
        "log_loss": -(0.72 * np.log(0.72) + 0.22 * np.log(0.22) + 0.06 * np.log(0.02)),
        # of one class 72, 22 and 6 in a hundred have probability 0.72, 0.22, 0.02; of the others 7, 19.5 and 73.5
        "auroc_macro": 0.72 * (0.5 * 0.07 + 0.195 + 0.735) + 0.22 * (0.5 * 0.195 + 0.735) + 0.06 * 0.5 * 0.735,
    }
    for arm in ("image", "text"):
        assert Signs().limits(frozenset({arm})) == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("arm", ARMS)
def test_f1_is_that_of_calling_the_most_probable_class_and_equal_ones_in_turn(law: Signs, arm: frozenset[str]) -> None:
    p = posterior(law, arm).round(12)
    best = p == p.max(1, keepdims=True)
    rows, called = np.nonzero(best)
    w = (weights(law)[:, None] * best / best.sum(1, keepdims=True))[rows, called]
    assert law.limits(arm)["f1_macro"] == pytest.approx(f1_score(atoms(law)[rows, 0], called, sample_weight=w, average="macro"))


def test_no_rule_on_one_modality_has_a_higher_f1_by_default() -> None:
    """All 3125 ways to call a class from a form."""
    mass = 0.2 * np.asarray(Signs().forms)
    rules = np.array(list(product(range(5), repeat=5)))
    called = np.eye(5)[rules]  # (rules, form, class)
    hits, calls = np.einsum("rfk,kf->rk", called, mass), np.einsum("rfk,f->rk", called, mass.sum(0))
    assert (2 * hits / (mass.sum(1) + calls)).mean(1).max() == pytest.approx(Signs().limits(frozenset({"image"}))["f1_macro"])


def test_both_together_say_far_more_than_either_alone() -> None:
    limits = Signs().summary()["limits"]
    for lone in ("image", "text"):
        assert limits["image+text"]["f1_macro"] > limits[lone]["f1_macro"] + 0.15
        assert limits["image+text"]["log_loss"] < 0.5 * limits[lone]["log_loss"]


def test_form_and_course_are_dependent_only_through_the_class() -> None:
    joint = Signs().joint
    for given in joint:
        np.testing.assert_allclose(given * given.sum(), np.outer(given.sum(1), given.sum(0)), atol=1e-15)
    together = joint.sum(0)
    assert np.abs(together - np.outer(together.sum(1), together.sum(0))).max() > 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"rates": (0.5, 0.5)},
        {"rates": (0.0, 0.25, 0.25, 0.25, 0.25)},
        {"forms": ((0.5, 0.5, 0.0, 0.0, 0.0),) * 5},
        {"forms": ((0.3, 0.3, 0.3, 0.3, 0.3),) * 5},
        {"courses": ((1.2, -0.2, 0.0, 0.0, 0.0),) * 5},
        {"courses": ((0.5, 0.5),) * 5},
    ],
)
def test_what_is_no_law_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="Expected"):
        Signs(**wrong)


def test_summary_is_finite_json() -> None:
    summary = json.loads(json.dumps(UNEVEN.summary(), allow_nan=False))
    assert list(summary["limits"]) == ["image+text", "image", "text"]
    assert summary["labels"] == ["a", "b", "c"]
