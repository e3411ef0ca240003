"""The cohort as written: reproducible, and drawn from the law that `truth.json` states."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medmm import make_phantom, open_study, read_cohort
from medmm.errors import CohortError
from medmm.sources.phantom import _design
from medmm.sources.phantom.truth import Table


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def truth(folder: Path) -> dict:
    return json.loads((folder / "truth.json").read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of 20 as NIfTI under a law of one's own."""
    folder = tmp_path_factory.mktemp("custom")
    make_phantom(folder, 20, seed=3, table=Table.from_text("0.1,0.9,0.8,0.2"), image_format="nifti", matrix=48)
    return folder


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(custom: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 3), ("other", 4)):
        law = Table.from_text("0.1,0.9,0.8,0.2")
        make_phantom(tmp_path / name, 20, seed=seed, table=law, image_format="nifti", matrix=48)
    assert contents(tmp_path / "same") == contents(custom)
    assert contents(tmp_path / "other") != contents(custom)


def test_a_larger_cohort_does_not_redraw_the_images_of_its_patients(custom: Path, tmp_path: Path) -> None:
    """Each patient has a random stream of their own: image and note depend on seed, number and finding alone."""
    make_phantom(tmp_path / "more", 24, seed=3, image_format="nifti", matrix=48)
    small, large = ({r["study_id"]: r for r in rows(f)} for f in (custom, tmp_path / "more"))
    same = [i for i, r in small.items() if r["image_finding"] == large[i]["image_finding"]]
    assert same
    assert all((custom / small[i]["image"]).read_bytes() == (tmp_path / "more" / large[i]["image"]).read_bytes() for i in same)


def test_the_cohort_reads_as_a_cohort_with_a_patient_level_split(phantom: Path) -> None:
    cohort = read_cohort(phantom / "cohort.csv")
    assert (cohort.kind, cohort.labels) == ("binary", ("negative", "positive"))
    assert {s: len(cohort.with_split(s)) for s in ("train", "val", "test")} == {"train": 36, "val": 9, "test": 15}
    assert cohort.cases[0].open().modalities == {"image", "text"}


@pytest.mark.parametrize("which", ["phantom", "custom"])
def test_labels_given_findings_occur_as_often_as_the_table_of_truth_says(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    table, groups = truth(folder)["positive_given_image_text"], defaultdict(list)
    for row in rows(folder):
        groups[row["split"], int(row["image_finding"]), int(row["text_finding"])].append(row["label"] == "positive")
    assert {(i, t) for _, i, t in groups} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for (_, image, text), labels in groups.items():
        assert abs(sum(labels) - len(labels) * table[image][text]) < 1  # whole patients


def test_over_many_cohorts_every_label_has_exactly_its_probability() -> None:
    """Rounding to whole patients must not favour a side."""
    law, counts = Table(), np.zeros((2, 2, 2))
    for seed in range(600):
        for _, image, text, label in _design(30, law, np.random.default_rng(seed)):
            counts[image, text, label] += 1
    total = counts.sum(-1)
    error = 3.5 * np.sqrt(0.25 / total)  # three and a half binomial deviations, though the design deviates less
    assert (np.abs(counts[..., 1] / total - np.array(law.positive)) < error).all()
    assert (np.abs(total / total.sum() - 0.25) < 0.01).all()


def test_findings_split_and_label_come_in_random_order(phantom: Path) -> None:
    for column in ("split", "image_finding", "text_finding", "label"):
        values = [r[column] for r in rows(phantom)]
        changes = sum(a != b for a, b in pairwise(values))
        assert changes > 10, column


def test_posterior_columns_are_those_of_the_law(custom: Path) -> None:
    law = Table.from_text("0.1,0.9,0.8,0.2")
    for row in rows(custom):
        image, text = int(row["image_finding"]), int(row["text_finding"])
        assert float(row["posterior_image_text"]) == pytest.approx(law.positive[image][text])
        assert float(row["posterior_image"]) == pytest.approx(np.mean(law.positive[image]))
        assert float(row["posterior_text"]) == pytest.approx((law.positive[0][text] + law.positive[1][text]) / 2)


def test_notes_say_what_the_text_finding_is(phantom: Path) -> None:
    telling = [r for r in rows(phantom) if "eight loss" in r["note"]]
    assert len(telling) > 20
    for row in telling:
        denied = re.search(r"(No|Denies|Without any|Negative for) weight loss", row["note"])
        assert bool(denied) == (row["text_finding"] == "0")


def test_truth_states_the_users_law_and_its_limits(custom: Path) -> None:
    stated = truth(custom)
    law = Table.from_text("0.1,0.9,0.8,0.2")
    assert stated["positive_given_image_text"] == [[0.1, 0.9], [0.8, 0.2]]
    assert stated["limits"] == law.summary()["limits"]
    assert (stated["n"], stated["seed"], stated["labels"]) == (20, 3, ["negative", "positive"])


def test_masks_belong_to_the_patients_with_a_mass_and_lie_on_it(phantom: Path) -> None:
    masks = truth(phantom)["masks"]
    having = {r["study_id"]: r["image"] for r in rows(phantom) if r["image_finding"] == "1"}
    assert masks.keys() == having.keys()
    assert {f"masks/{f.name}" for f in (phantom / "masks").iterdir()} == set(masks.values())
    for study_id in list(masks)[:8]:
        volume = open_study(phantom / having[study_id]).volumes[0]
        mask = nibabel.load(phantom / masks[study_id])
        np.testing.assert_allclose(mask.affine, volume.grid.affine, atol=1e-4)
        inside = np.asarray(mask.dataobj) > 0
        lung = (volume.array[0] < -700) & (volume.array[0] > -950)
        assert volume.array[0][inside].mean() > volume.array[0][lung].mean() + 500


@pytest.mark.parametrize("bad", [{"n": 19}, {"matrix": 47}, {"matrix": 513}, {"image_format": "png"}], ids=lambda b: next(iter(b)))
def test_arguments_out_of_range_are_refused_before_anything_is_written(tmp_path: Path, bad: dict) -> None:
    arguments = {"n": 20, **bad}
    with pytest.raises(CohortError, match="Expected n of at least 20"):
        make_phantom(tmp_path / "out", arguments.pop("n"), **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("left", ["cohort.csv", "images"])
def test_a_folder_with_a_finished_or_unfinished_cohort_is_not_mixed_with_another(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    with pytest.raises(CohortError, match="Give another folder"):
        make_phantom(tmp_path, 20)


def test_progress_counts_patients(tmp_path: Path) -> None:
    seen = []
    make_phantom(tmp_path, 20, matrix=48, image_format="zip", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 20) for i in range(1, 21)]
    assert all(r["image"].endswith(".zip") for r in rows(tmp_path))


def test_another_seed_makes_other_patients(custom: Path, tmp_path: Path) -> None:
    """Or a model fitted on one cohort could not be scored on another: the shared names would look like leakage."""
    make_phantom(tmp_path / "other", 20, seed=4, image_format="nifti", matrix=48)
    one, other = ({r["patient_id"] for r in rows(f)} for f in (custom, tmp_path / "other"))
    assert len(one) == 20
    assert not one & other
