"""The cohort of pictures as written, and that the commands take it as any other."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medmm.errors import CohortError
from medmm.evaluation.ablation import Plan, ablate
from medmm.sources.cohort import read_cohort
from medmm.sources.phantom.lesion import FORMS
from medmm.sources.phantom.pictures import _design, make_pictures
from medmm.sources.phantom.signs import Signs
from medmm.training import TrainConfig
from tests.conftest import run_medmm


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 60 patients."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder, 60, seed=3, side=48)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_other_patients(pictures: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 3), ("other", 4)):
        make_pictures(tmp_path / name, 60, seed=seed, side=48)
    assert contents(tmp_path / "same") == contents(pictures)
    assert not {r["patient_id"] for r in rows(tmp_path / "other")} & {r["patient_id"] for r in rows(pictures)}


def test_it_reads_as_a_cohort_of_five_classes_with_one_or_two_pictures_a_study(pictures: Path) -> None:
    cohort = read_cohort(pictures / "cohort.csv")
    assert (cohort.kind, set(cohort.labels)) == ("multiclass", set(Signs().labels))
    assert {s: len(cohort.with_split(s)) for s in ("train", "val", "test")} == {"train": 36, "val": 9, "test": 15}
    counts = Counter(len(case.images) for case in cohort.cases)
    assert set(counts) == {1, 2}
    assert 5 < counts[2] < 32
    study = next(case for case in cohort.cases if len(case.images) == 2).open()
    assert study.modalities == {"image", "text"}
    assert [v.grid.shape for v in study.volumes] == [(48, 48, 1)] * 2
    assert not np.array_equal(study.volumes[0].array, study.volumes[1].array)


def test_posterior_columns_are_those_of_bayes_rule(pictures: Path) -> None:
    law = Signs()
    for row in rows(pictures):
        form, course = FORMS.index(row["form"]), int(row["course"])
        shown, told = np.asarray(law.forms)[:, form], np.asarray(law.courses)[:, course]
        for arm, likelihood in (("image_text", shown * told), ("image", shown), ("text", told)):
            stated = [float(row[f"posterior_{arm}__{name}"]) for name in law.labels]
            np.testing.assert_allclose(stated, likelihood / likelihood.sum(), atol=1e-9)


def test_truth_states_the_law_and_its_limits(pictures: Path) -> None:
    stated = json.loads((pictures / "truth.json").read_text(encoding="utf-8"))
    assert stated["limits"] == Signs().summary()["limits"]
    assert (stated["n"], stated["seed"], len(stated["labels"])) == (60, 3, 5)


def test_every_combination_is_as_frequent_as_the_law_says() -> None:
    law, design = Signs(), _design(2000, Signs(), np.random.default_rng(1))
    for split, size in (("train", 1200), ("val", 300), ("test", 500)):
        counts = Counter(row[1:] for row in design if row[0] == split)
        assert sum(counts.values()) == size
        exact = {cell: size * p for cell, p in np.ndenumerate(law.joint)}
        assert max(abs(counts[cell] - exact[cell]) for cell in exact) < 1
    assert len({row[1] for row in design[:30]}) == 5  # in random order


@pytest.mark.parametrize("bad", [{"n": 19}, {"side": 47}, {"side": 513}], ids=lambda b: next(iter(b)))
def test_arguments_out_of_range_are_refused_before_anything_is_written(tmp_path: Path, bad: dict) -> None:
    with pytest.raises(CohortError, match="Expected n of at least 20"):
        make_pictures(tmp_path / "out", **{"n": 20, **bad})
    assert not (tmp_path / "out").exists()


def test_a_used_folder_is_refused(pictures: Path) -> None:
    with pytest.raises(CohortError, match="Give another folder"):
        make_pictures(pictures, 20)


def test_it_is_trained_on_answered_and_compared_as_any_other_cohort(pictures: Path, tmp_path: Path) -> None:
    """Five classes, flat images, several of them in a study; nothing is told but sizes."""
    config = TrainConfig(epochs=1, width=16, voxels=576, batch_size=16, tracker="none")
    found = ablate(pictures / "cohort.csv", tmp_path, Plan(("concat",), (frozenset({"image", "text"}),), (0,), config))
    assert (found.n, found.endpoint) == (15, "auroc_macro")
    assert {row.name for row in found.rows} == {"image+text, concat", "prevalence", "logistic regression, words of the note"}
    assert all(row.metrics["auroc_macro"].value is not None for row in found.rows)
    config_file = tmp_path / "cells" / "image+text-concat-0" / "config.json"
    recipe = json.loads(config_file.read_text(encoding="utf-8"))["model"]["image"]["recipe"]
    assert (recipe["shape"], recipe["unit"], recipe["volumes"]) == ([24, 24, 1], "intensity", 2)


def test_options_of_chests_are_refused_for_pictures(tmp_path: Path) -> None:
    told = run_medmm("phantom", tmp_path / "ph", "--kind", "pictures", "--format", "zip")
    assert told.returncode == 2
    assert "E_COHORT" in told.stderr
    assert not (tmp_path / "ph").exists()


def test_the_command_draws_pictures(tmp_path: Path) -> None:
    run_medmm("phantom", tmp_path / "ph", "--kind", "pictures", "--n", "20", "--matrix", "64", check=True)
    assert read_cohort(tmp_path / "ph" / "cohort.csv").cases[0].open().volumes[0].grid.shape == (64, 64, 1)
