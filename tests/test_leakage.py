"""The scan finds what is planted, and nothing where nothing is; its areas and intervals are those of others."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from medmm.leakage import SUSPICIOUS, LeakageWarning, Scan, area_bounds, scan_cases, warn_of_leakage
from medmm.sources.cohort import Case
from medmm.types import Kind

WORDS = ["cough", "fever", "pain", "chest", "dyspnea", "trauma", "staging", "follow"]


def case(i: int, positive: bool, note: str, **columns: str) -> Case:
    target = np.array([1.0 - positive, float(positive)])
    return Case(f"S{i}", f"P{i}", (), note, target, "train" if i % 4 else "val", columns)


def noise(i: int) -> str:
    return " ".join(np.random.default_rng(i).permutation(WORDS)[:4])


def scanned(cases: list[Case], columns: tuple[str, ...] = (), kind: Kind = "binary") -> Scan:
    return scan_cases(cases, [str(c.split) for c in cases], kind, ("no", "yes"), columns)


def test_notes_and_columns_that_tell_nothing_alone_are_not_suspicious() -> None:
    rng = np.random.default_rng(0)
    cases = [case(i, bool(i % 2), noise(i), age=str(rng.normal(60 + 5 * (i % 2), 10))) for i in range(200)]
    found = scanned(cases, ("age",))
    assert not found.suspicious
    assert found.predictors == len(WORDS) + 1
    assert not found.repeated  # short notes are alike by chance


def test_a_word_that_states_the_label_is_found_with_its_area() -> None:
    cases = [case(i, bool(i % 2), noise(i) + (" Malignant" if i % 2 and i % 20 != 1 else "")) for i in range(200)]
    (found,) = scanned(cases).giveaways
    truth, there = [i % 2 for i in range(200)], ["Malignant" in str(c.note) for c in cases]
    assert (found.what, found.name, found.label, found.n) == ("word", "malignant", "yes", 200)
    assert found.auroc == pytest.approx(roc_auc_score(truth, there))
    assert found.interval[0] < found.auroc < found.interval[1]


def test_a_word_that_states_the_absence_is_found_too() -> None:
    (found,) = scanned([case(i, bool(i % 2), noise(i) + ("" if i % 2 else " unremarkable")) for i in range(100)]).giveaways
    assert (found.name, found.auroc) == ("unremarkable", 1.0)


@pytest.mark.parametrize(
    ("cell", "what", "name"),
    [(lambda i: str(10 * (i % 2) + i / 1000), "column", "stay"), (lambda i: ("ward", "icu")[i % 2], "column", "stay=icu"),
     (lambda i: "3" if i % 2 else "", "missing", "stay")],
)  # fmt: skip
def test_a_column_known_only_afterwards_is_found(cell, what: str, name: str) -> None:  # type: ignore[no-untyped-def]
    found = scanned([case(i, bool(i % 2), noise(i), stay=cell(i)) for i in range(100)], ("stay",)).giveaways
    assert (what, name) in {(g.what, g.name) for g in found}


def test_a_column_that_is_not_read_is_not_looked_at() -> None:
    assert not scanned([case(i, bool(i % 2), noise(i), stay=str(i % 2)) for i in range(100)]).giveaways


def test_too_few_patients_prove_nothing() -> None:
    assert not scanned([case(i, bool(i % 2), "yes" if i % 2 else "no") for i in range(8)]).giveaways


def test_studies_of_one_patient_count_once() -> None:
    cases = [
        dataclasses.replace(case(i, bool(i % 2), noise(i) + (" mass" if i % 2 else "")), patient_id=f"P{i % 6}") for i in range(120)
    ]
    assert not scanned(cases).giveaways


def test_labels_of_the_test_side_are_not_looked_at() -> None:
    told = [case(i, bool(i % 2), noise(i) + (" mass" if i % 2 else "")) for i in range(100)]
    cases = [dataclasses.replace(c, split="test") for c in told]
    assert scanned(cases).predictors == 0


def test_every_label_of_several_is_asked_for() -> None:
    told = [case(i, True, noise(i) + (" mass" if i % 3 else "")) for i in range(120)]
    cases = [dataclasses.replace(c, target=np.array([float(i % 3 > 0), float(i % 2)])) for i, c in enumerate(told)]
    (found,) = scanned(cases, kind="multilabel").giveaways
    assert (found.name, found.label) == ("mass", "no")


def test_a_note_under_several_patients_is_counted_within_and_across_the_split() -> None:
    cases = [case(i, bool(i % 2), f"{noise(i)} {i} " + "of the usual kind " * 4) for i in range(100)]
    twins = [(1, 2), (4, 5)]  # 1, 2 and 5 stand in train, 4 in val
    for first, second in twins:
        cases[second] = dataclasses.replace(cases[second], note=f"  {str(cases[first].note).upper()}")
    (found,) = scanned(cases).repeated
    assert (found.what, found.contents, found.cases, found.across) == ("notes", 2, 4, 2)


def test_images_with_the_same_bytes_are_found_under_any_name_and_same_voxels_in_any_file(tmp_path: Path) -> None:
    folders = []
    for i, content in enumerate([b"first", b"other", b"first"]):  # all of one size
        folder = tmp_path / f"series{i}"
        folder.mkdir()
        (folder / f"{i}.dcm").write_bytes(content)
        folders.append(folder)
    cases = [dataclasses.replace(case(i, False, ""), images=(folder,)) for i, folder in enumerate(folders)]
    sides = ["train", "train", "test"]
    found = scan_cases(cases, sides, "binary", ("no", "yes"), (), {"S0": "a", "S1": "a", "S2": ""})
    by_what = {r.what: (r.contents, r.cases, r.across) for r in found.repeated}
    assert by_what == {"image files": (1, 2, 2), "voxels": (1, 2, 0)}
    assert found.suspicious


def test_a_warning_names_numbers_and_no_word() -> None:
    found = scanned([case(i, bool(i % 2), noise(i) + (" secretname" if i % 2 else "")) for i in range(100)])
    with pytest.warns(LeakageWarning, match="1 of 9 lone words") as caught:
        warn_of_leakage(found)
    assert "secretname" not in str(caught[0].message)
    assert any("secretname" in line for line in found.lines)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_leakage(Scan(3, (), ()))


@pytest.mark.parametrize(("area", "m", "n"), [(0.9, 30, 50), (0.76, 12, 200), (1.0, 40, 40)])
def test_bounds_solve_the_equation_of_their_method(area: float, m: int, n: int) -> None:
    """Newcombe 2006, method 5: bounds lie where the estimate is z standard errors away, the error taken at the bound."""
    z, mean_size = norm.ppf(0.975), (m + n) / 2 - 1
    for bound in area_bounds(area, m, n, 0.95):
        if bound not in (0.0, 1.0):
            variance = bound * (1 - bound) * (1 + mean_size * (1 - bound) / (2 - bound) + mean_size * bound / (1 + bound)) / (m * n)
            assert abs(area - bound) == pytest.approx(z * variance**0.5, rel=1e-6)


def test_few_patients_told_apart_without_fault_prove_little() -> None:
    low, high = area_bounds(1.0, 5, 5, 0.95)
    assert high == 1
    assert 0.5 < low < area_bounds(1.0, 40, 40, 0.95)[0] < 1
    assert area_bounds(0.0, 5, 5, 0.95) == pytest.approx((0, 1 - low))
    size, z = 4, norm.ppf(0.975)
    spread = 1 + size * ((1 - low) / (2 - low) + low / (1 + low))
    assert 1 - low == pytest.approx(z**2 * low * spread / 25)  # Newcombe's equation, divided by the root at 1


def test_bounds_hold_the_true_area_as_often_as_they_say() -> None:
    rng, true = np.random.default_rng(0), 0.92
    shift = norm.ppf(true) * 2**0.5
    held = 0
    for _ in range(600):
        score = np.r_[rng.normal(shift, 1, 40), rng.normal(0, 1, 60)]
        low, high = area_bounds(roc_auc_score([1] * 40 + [0] * 60, score), 40, 60, 0.95)
        held += low <= true <= high
    assert 0.92 <= held / 600 <= 0.99
    assert true > SUSPICIOUS
