"""Which studies are predicted, and the record of what the model was fitted on."""

from __future__ import annotations

import csv

import pytest

from medmm.errors import TaskError
from medmm.evaluation.cases import choose_cases, recorded_sides
from medmm.evaluation.partition import FILE
from medmm.evaluation.predictions import from_store
from medmm.evaluation.run import run_evaluation
from medmm.sources.cohort import read_cohort


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(phantom, tiny_model, tmp_path_factory):
    """Run folder of two test studies."""
    out = tmp_path_factory.mktemp("cases") / "run"
    run_evaluation(phantom / "cohort.csv", tiny_model, out, limit=2)
    return out


def test_training_records_the_image_of_every_study_it_read_and_of_no_other(phantom, tiny_model) -> None:
    sides = recorded_sides(tiny_model)
    cases = {c.study_id: c for c in read_cohort(phantom / "cohort.csv").cases}
    assert set(sides) == set(cases)
    assert {s for s, side in sides.items() if side.image_sha256} == {s for s, side in sides.items() if side.split != "test"}
    assert len({side.image_sha256 for side in sides.values() if side.image_sha256}) == 45
    study = next(s for s, side in sides.items() if side.split == "train")
    assert sides[study].image_sha256 == cases[study].open().volumes[0].sha256()


def test_a_run_keeps_the_images_it_saw_and_those_of_the_fitting_sides(phantom, tiny_model, run) -> None:
    cases = {c.study_id: c for c in read_cohort(phantom / "cohort.csv").cases}
    for record in from_store(run).records:
        assert record.image_sha256 == cases[record.sample_id].open().volumes[0].sha256()
    sides = recorded_sides(tiny_model)
    expected = [(s, side.patient_id, side.split, side.image_sha256) for s, side in sides.items() if side.split != "test"]
    assert [tuple(row.values()) for row in rows_of(run / FILE)] == expected


def test_a_model_folder_of_before_is_still_read(tiny_model, tmp_path) -> None:
    rows = rows_of(tiny_model / "split.csv")
    with (tmp_path / "split.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["study_id", "patient_id", "split"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    assert {side.image_sha256 for side in recorded_sides(tmp_path).values()} == {""}
    assert recorded_sides(tmp_path / "none") == {}


def test_cohort_columns_that_predictions_give_another_meaning_are_refused(notes_cohort, notes_model, tmp_path) -> None:
    path = notes_cohort(tmp_path, 4)
    path.write_text(path.read_text().replace("site", "arm", 1))
    with pytest.raises(TaskError, match="got arm"):
        choose_cases(read_cohort(path), notes_model, "test")
