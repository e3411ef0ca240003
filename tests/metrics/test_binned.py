"""Calibration error in bins, against definitions written out, R and published examples."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import Scores, point
from medmm.metrics.binned import TopLabel, WidthBins, bin_index, mass_errors, width_errors
from medmm.metrics.column import column
from medmm.types import FloatArray

EXACT = {"rel": 0, "abs": 1e-12}
KINDS = pytest.mark.parametrize("kind", ["smooth", "ties", "certain", "constant"])


def in_width_bins(scores: Scores, bins: int, index: int = 1) -> list[float]:
    """ECE, its l2 form, largest gap."""
    made = WidthBins.of([column(scores, index)], len(scores), bins)
    return width_errors(made.sums(np.ones((len(scores), 1))))[:, 0, 0].tolist()


def gaps_by_hand(y: FloatArray, p: FloatArray, bins: int) -> list[tuple[int, float]]:
    """Size and gap of every occupied bin of equal width."""
    edges, found = [k / bins for k in range(bins + 1)], []
    for k in range(bins):
        inside = [i for i in range(len(y)) if (edges[k] < p[i] or k == 0) and p[i] <= edges[k + 1]]
        if inside:
            found.append((len(inside), abs(np.mean(y[inside]) - np.mean(p[inside]))))
    return found


@KINDS
@pytest.mark.parametrize("bins", [2, 10, 15])
def test_errors_in_bins_of_equal_width_equal_their_definitions(make, generated, kind, bins) -> None:
    y, p = generated(1, kind)
    by_hand = gaps_by_hand(y, p, bins)
    expected = [
        sum(n / 60 * gap for n, gap in by_hand),
        np.sqrt(sum(n / 60 * gap**2 for n, gap in by_hand)),
        max(gap for _, gap in by_hand),
    ]
    assert in_width_bins(make("binary", y, p), bins) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(("p", "bin_"), [(0.0, 0), (1 / 15, 0), (np.nextafter(1 / 15, 1), 1), (0.6, 8), (1.0, 14)])
def test_bins_of_equal_width_are_closed_on_the_right_and_hold_0_and_1(p, bin_) -> None:
    assert bin_index(np.array([p]), 15, "equal_width").tolist() == [bin_]


def test_bins_of_equal_mass_are_equal_and_keep_equal_probabilities_together() -> None:
    assert np.bincount(bin_index(np.random.default_rng(0).random(100), 10, "equal_mass")).tolist() == [10] * 10
    assert bin_index(np.full(30, 0.4), 10, "equal_mass").tolist() == [0] * 30


@KINDS
@pytest.mark.parametrize("seed", range(5))
def test_errors_in_bins_of_equal_mass_equal_their_definitions(make, generated, kind, seed) -> None:
    y, p = generated(seed, kind)
    places = bin_index(p, 10, "equal_mass")
    parts = [(y[places == b], p[places == b]) for b in np.unique(places)]
    ece = sum(len(a) / 60 * abs(a.mean() - b.mean()) for a, b in parts)
    square = sum(
        len(a) / 60 * ((a.mean() - b.mean()) ** 2 - a.mean() * (1 - a.mean()) / (len(a) - 1)) for a, b in parts if len(a) > 1
    )
    scores = make("binary", y, p)
    assert point("ece[equal_mass,10]", scores) == pytest.approx(ece, **EXACT)
    assert point("ece_l2_debiased[equal_mass,10]", scores) == pytest.approx(max(square, 0) ** 0.5, **EXACT)


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_errors_in_bins_equal_r(reference, refs, name) -> None:
    scores, tolerance = reference(name), {"rel": 0, "abs": refs["suggested_tolerance"]["ece"]}
    width, mass = refs["results"]["ece_equal_width_right_closed"], refs["results"]["ece_equal_mass_rank"]
    assert point("ece[equal_width,15]", scores) == pytest.approx(width[f"{name}_15_l1"], **tolerance)
    assert point("ece[equal_mass,10]", scores) == pytest.approx(mass[f"{name}_10_l1"], **tolerance)
    if name == "p1":
        names = ("ece_l2[equal_width,15]", "mce[equal_width,15]")
        assert [point(n, scores) for n in names] == pytest.approx([width["p1_15_l2"], width["p1_15_max"]], **tolerance)
        assert in_width_bins(scores, 10)[0] == pytest.approx(width["p1_10_l1"], **tolerance)


@pytest.mark.parametrize("bins", [2, 5, 10])
def test_errors_in_bins_equal_metrics_reloaded(make, refs, bins) -> None:
    example = refs["published"]["metrics_reloaded_ece"]
    ece, _, mce = in_width_bins(make("binary", example["y"], example["p_positive"]), bins)
    assert [ece, mce] == pytest.approx([example["recomputed"][f"ece{bins}"], example["recomputed"][f"mce{bins}"]], **EXACT)
    assert [ece, mce] == pytest.approx([example["published"][f"ece{bins}"], example["published"][f"mce{bins}"]], abs=0.01)


def test_a_probability_of_1_belongs_to_the_last_bin(make, refs) -> None:
    trap = refs["published"]["torchmetrics_trap"]
    found = in_width_bins(make("binary", trap["y"], trap["p"]), trap["n_bins"])[0]
    assert found == pytest.approx(trap["textbook_ece"], **EXACT)


def test_the_classwise_error_equals_metrics_reloaded_and_the_top_label_one_its_definition(make, refs) -> None:
    example = refs["published"]["metrics_reloaded_classwise"]
    scores, bins = make("multiclass", example["y"], example["P"]), example["bins"]
    classwise = np.mean([in_width_bins(scores, bins, k)[0] for k in range(3)])
    assert classwise == pytest.approx(example["cwece"], **EXACT)
    top = TopLabel(bins).batch(scores, np.ones((4, 1)))[0, 0]
    assert top == pytest.approx(1 - np.mean([0.6, 0.8, 1.0, 0.7]), **EXACT)


def test_top_label_error_of_two_classes_is_about_the_class_called_not_the_positive_one(make) -> None:
    scores = make("binary", [0, 0, 0, 1], [0.1, 0.1, 0.1, 0.1])
    assert point("ece_top_label[equal_width,15]", scores) == pytest.approx(0.9 - 0.75)


def test_the_debiased_error_of_a_calibrated_model_is_0_more_often_than_not_and_the_plain_one_never(make) -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        p = rng.random(300)
        scores = make("binary", rng.random(300) < p, p)
        found.append([point(n, scores) for n in ("ece_l2_debiased[equal_mass,10]", "ece[equal_mass,10]")])
    debiased, plain = np.array(found).T
    assert (debiased == 0).mean() > 0.5
    assert plain.min() > 0.01


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_hosmer_lemeshow_equals_r(reference, refs, name) -> None:
    expected = refs["results"]["hosmer_lemeshow"][name]["chi2"]
    assert point("hosmer_lemeshow[10]", reference(name)) == pytest.approx(expected, rel=1e-10)


def test_hosmer_lemeshow_is_undefined_where_certainty_is_wrong_and_0_where_it_is_right(make) -> None:
    assert np.isnan(point("hosmer_lemeshow[10]", make("binary", [1, 0], [0.0, 1.0])))
    assert point("hosmer_lemeshow[10]", make("binary", [0, 1], [0.0, 1.0])) == 0


def test_no_known_label_gives_no_error(make) -> None:
    scores = make("multilabel", np.full((4, 1), np.nan), np.full((4, 1), 0.5))
    ones = np.ones((4, 1))
    assert np.isnan(width_errors(WidthBins.of([column(scores, 0)], 4, 15).sums(ones))).all()
    assert np.isnan(mass_errors(column(scores, 0), ones)).all()
