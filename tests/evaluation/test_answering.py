"""The rows of one study, as it is and made worse."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from medmm.evaluation.answering import Answering, Item
from medmm.evaluation.predictions import from_store
from medmm.evaluation.run import run_evaluation
from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.transforms.perturb import parse_perturbations

WORSE = ("noise=20,400", "slices=3", "typos=0.3", "no_note=1", "fgsm=8")
ARMS = ["noise=20", "noise=400", "slices=3", "typos=0.3", "no_note=1", "fgsm=8"]


@pytest.fixture(scope="module")
def perturbed(phantom, tiny_model, tmp_path_factory):
    """Run folder of four test studies and their worse versions."""
    out = tmp_path_factory.mktemp("perturbed") / "run"
    run_evaluation(phantom / "cohort.csv", tiny_model, out, limit=2, perturbations=parse_perturbations(WORSE))
    return out


def test_every_worse_version_is_an_arm_that_decides_as_the_full_one(perturbed) -> None:
    found = from_store(perturbed)
    rows = {(r.sample_id, r.arm): r for r in found.records}
    samples = sorted({s for s, _ in rows})
    assert sorted({a for _, a in rows}) == sorted(["full", "image", "text", *ARMS])
    assert len(rows) == 2 * 9
    assert all(found.decided[arm] == found.decided["full"] for arm in ARMS if arm in found.decided)
    for sample in samples:
        full = rows[sample, "full"]
        assert rows[sample, "no_note=1"].probability == rows[sample, "image"].probability
        assert rows[sample, "no_note=1"].pattern == "image"
        for arm in ("noise=400", "slices=3", "fgsm=8"):
            assert rows[sample, arm].probability != full.probability
            assert (rows[sample, arm].target, rows[sample, arm].pattern) == (full.target, "image+text")


def test_worse_versions_leave_the_plain_answers_alone_and_come_out_the_same_again(perturbed, phantom, tiny_model, tmp_path) -> None:
    run_evaluation(phantom / "cohort.csv", tiny_model, tmp_path / "plain", limit=2)
    run_evaluation(phantom / "cohort.csv", tiny_model, tmp_path / "again", limit=2, perturbations=parse_perturbations(WORSE))

    def answers(folder):
        with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
            return {(row["sample_id"], row["arm"]): row for row in csv.DictReader(file)}

    worse, plain = answers(perturbed), answers(tmp_path / "plain")
    assert {key: row for key, row in worse.items() if "=" not in key[1]} == plain
    assert answers(tmp_path / "again") == worse


def test_a_study_without_what_is_left_is_a_failed_row_of_that_arm_alone(notes_cohort, notes_model, tmp_path) -> None:
    cohort = notes_cohort(tmp_path, 4, seed=8)
    worse = parse_perturbations(["no_note=1", "noise=10", "typos=0.5"])
    summary = run_evaluation(cohort, notes_model, tmp_path / "run", perturbations=worse)
    assert (summary.failed, summary.done) == (0, 4)
    rows = from_store(tmp_path / "run").records
    assert {(r.arm, r.code) for r in rows} == {("full", ""), ("no_note=1", "E_MISSING_MODALITY"), ("typos=0.5", "")}
    again = run_evaluation(cohort, notes_model, tmp_path / "run", perturbations=worse, retry=True)
    assert (again.resumed, again.failed) == (4, 0)


def test_what_a_model_does_not_read_is_not_made_worse(notes_cohort, notes_model, phantom, tmp_path) -> None:
    imaged = next(c for c in read_cohort(phantom / "cohort.csv").cases if c.images).open()
    case = read_cohort(notes_cohort(tmp_path, 4, seed=8)).cases[0]
    worse = parse_perturbations(["noise=10", "random_sign=2", "words=0.1"])
    answering = Answering(Predictor.load(notes_model, "cpu"), "test", worse)
    rows = answering.rows(Item(0, case), replace(imaged, note=case.read_note()))
    assert {(row.arm, row.code) for row in rows} == {("full", ""), ("words=0.1", "")}
