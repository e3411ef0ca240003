"""Several networks as one: the mean of their probabilities, calibrated after the mean, from one folder like any other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import expit, softmax
from typer.testing import CliRunner

from medmm import open_study
from medmm.cli import app
from medmm.compression import compress
from medmm.ensemble import Ensemble
from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.ablation import Plan, ablate
from medmm.evaluation.attack import attacked_answer
from medmm.inference import Predictor
from medmm.metrics.recalibration import fit_calibrator
from medmm.model import MultimodalClassifier
from medmm.packed import Packing
from medmm.sources.cohort import Case, read_cohort
from medmm.table import read_rows
from medmm.tasks import FurtherTask
from medmm.training import TrainConfig, train
from medmm.training.search import Search, search
from medmm.training.search_space import Choices
from medmm.training.teacher import Teacher
from medmm.transforms.perturb import Perturbation
from medmm.types import pattern_name

CPU = torch.device("cpu")
LABELS = ("no_large", "large")
NOTES = TrainConfig(epochs=2, width=16, learning_rate=4e-3, tracker="none")
ONE = replace(NOTES, tabular=("age",))
THREE = replace(ONE, members=3)


@pytest.fixture(scope="module")
def cohort(note_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes and ages; every fifth study lacks its note."""
    rows = note_rows(80, age=lambda i: 40 + i % 30)
    for row in rows[::5]:
        row["note"] = ""
    path: Path = write_cohort(tmp_path_factory.mktemp("cohort"), rows)
    return path


@pytest.fixture(scope="module")
def three(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(cohort, tmp_path_factory.mktemp("three") / "run", THREE, labels=LABELS).folder


def read(cohort: Path, predictor: Predictor) -> tuple[Case, ...]:
    return read_cohort(cohort, labels=LABELS, fields=predictor.folder.preprocessor.tabular.fields).cases  # type: ignore[union-attr]


def prepared(predictor: Predictor, cases: Sequence[Case]) -> list[Any]:
    return [predictor.folder.preprocessor.prepare(case.open())[0] for case in cases]


def logits_of(model: Any, predictor: Predictor, samples: list[Any]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        batch = predictor.folder.preprocessor.collate(samples)
        answers = model.answer_patterns(model.encode(batch), batch.present)
    return {pattern_name(p): v.double().numpy() for p, (v, _) in answers.items()}


def test_the_answer_is_the_mean_of_the_probabilities_of_networks_that_differ(three: Path, cohort: Path) -> None:
    predictor = Predictor.load(three, "cpu")
    model, samples = predictor.folder.model, prepared(predictor, read(cohort, predictor)[:6])
    assert isinstance(model, Ensemble)
    whole = logits_of(model, predictor, samples)
    parts = [logits_of(network, predictor, samples) for network in model.networks]
    assert set(whole) == {"text+tabular", "text", "tabular"}
    for name, logits in whole.items():
        mean = np.mean([softmax(part[name], axis=1) for part in parts], axis=0)
        np.testing.assert_allclose(softmax(logits, axis=1), mean, atol=1e-6)
        assert np.isnan(logits[[0, 5], 0]).all() == ("text" in name)  # whoever lacks a note has no answer from it
    assert not np.allclose(parts[0]["text"][1], parts[1]["text"][1], atol=1e-2)
    np.testing.assert_allclose(predictor.answer(samples[1])[1].logits["large"], whole["text+tabular"][1, 1], rtol=1e-5)


def test_the_first_member_is_the_model_without_others_and_seeds_share_none(three: Path, cohort: Path, tmp_path: Path) -> None:
    one = train(cohort, tmp_path / "one", ONE, labels=LABELS).folder
    alone, together = load_file(one / "model.safetensors"), load_file(three / "model.safetensors")
    assert all(torch.equal(tensor, together[f"members.0.{name}"]) for name, tensor in alone.items())
    seeds = [replace(THREE, seed=seed).member_seeds for seed in range(3)]
    assert len({seed for of_run in seeds for seed in of_run}) == 9


def test_each_member_keeps_the_weights_of_its_own_best_epoch(cohort: Path, tmp_path: Path) -> None:
    epochs: list[tuple[int, float]] = []
    config = replace(THREE, epochs=8, learning_rate=2e-2, judge="loss")
    found = train(
        cohort, tmp_path / "run", config, labels=LABELS, on_epoch=lambda epoch, values: epochs.append((epoch, values["val/loss"]))
    )
    starts = [i for i, (epoch, _) in enumerate(epochs) if epoch == 0]
    of_members = [[loss for _, loss in epochs[a:b]] for a, b in zip(starts, [*starts[1:], None], strict=True)]
    assert found.best_epochs == tuple(int(np.argmin(losses)) for losses in of_members)
    assert len(set(found.best_epochs)) > 1


def test_probabilities_are_calibrated_after_the_mean(three: Path, cohort: Path) -> None:
    predictor = Predictor.load(three, "cpu")
    cases = [c for c in read(cohort, predictor) if c.split == "val" and c.note]
    samples = prepared(predictor, cases)
    logits = logits_of(predictor.folder.model, predictor, samples)["text+tabular"]
    fitted = fit_calibrator("binary", np.stack([c.target for c in cases if c.target is not None]), logits)
    stored = predictor.folder.calibrators["text+tabular"]
    np.testing.assert_allclose(stored(logits), fitted(logits), atol=1e-4)
    assert "The mean of 3 networks" in predictor.folder.card


def test_a_prediction_carries_what_each_network_says_through_the_calibration_of_the_mean(three: Path, cohort: Path) -> None:
    predictor = Predictor.load(three, "cpu")
    for case in read(cohort, predictor)[:3]:  # the first lacks its note
        made, (sample,) = predictor.predict(case.open()), prepared(predictor, [case])
        calibrator = predictor.folder.calibrators[made.pattern]
        assert made.pattern == ("text+tabular" if case.note else "tabular")
        for network, member in zip(predictor.folder.model.networks, made.members, strict=True):
            logits = logits_of(network, predictor, [sample])[made.pattern][0]
            by_hand = softmax(calibrator.slope[0] * logits + calibrator.bias)
            np.testing.assert_allclose(list(member.probabilities.values()), by_hand, atol=1e-5)
        raw = np.mean([softmax(list(member.logits.values())) for member in made.members], axis=0)
        np.testing.assert_allclose(softmax(list(made.answer.logits.values())), raw, atol=1e-6)
        said = [member.probabilities["large"] for member in made.members]
        assert min(said) < made.answer.probabilities["large"] < max(said)
        assert made.to_dict()["by_member"] == [member.probabilities for member in made.members]


def test_a_model_of_one_network_carries_no_members(student: Path) -> None:
    made = Predictor.load(student, "cpu").predict(open_study(None, note="A lesion of 6.1 cm."))
    assert made.members == ()
    assert "by_member" not in made.to_dict()


def test_predict_says_how_far_the_networks_disagree(three: Path) -> None:
    asked = ["predict", "--model", str(three), "--note", "61-year-old. Lesion of 6.1 cm.", "--value", "age=61"]
    document = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    low, *_, high = sorted(member["large"] for member in document["by_member"])
    told = CliRunner().invoke(app, asked).stdout
    assert "3 networks that differ only in their random start (no confidence interval): " in told
    assert f"large {low:.1%} to {high:.1%}\n" in told


def test_several_labels_and_further_tasks_are_means_too(note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = note_rows(48, size=lambda i: i % 2)
    rows = [{k: v for k, v in r.items() if k != "label"} | {"label__a": i % 2, "label__b": i // 2 % 2} for i, r in enumerate(rows)]
    config = replace(NOTES, members=3, tasks=(FurtherTask("size", "regression"),))
    predictor = Predictor.load(train(write_cohort(tmp_path, rows), tmp_path / "run", config).folder, "cpu")
    model = predictor.folder.model
    samples = [predictor.folder.preprocessor.prepare(open_study(None, note=row["note"]))[0] for row in rows[:4]]
    whole, parts = logits_of(model, predictor, samples), [logits_of(n, predictor, samples) for n in model.networks]
    np.testing.assert_allclose(expit(whole["text"]), np.mean([expit(part["text"]) for part in parts], axis=0), atol=1e-6)
    with torch.no_grad():
        batch = predictor.folder.preprocessor.collate(samples)
        (task,) = model.further(model.encode(batch), batch.present)
        own = [network.further(network.encode(batch), batch.present)[0] for network in model.networks]
    torch.testing.assert_close(task, sum(own) / 3)


def test_what_each_fusion_learned_is_on_the_card(note_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, note_rows(48, age=lambda i: 40 + i))
    config = replace(NOTES, members=2, epochs=1, fusion="weighted", tabular=("age",))
    card = Predictor.load(train(cohort, tmp_path / "run", config, labels=LABELS).folder, "cpu").folder.card
    assert "alpha/tabular of member 0" in card
    assert "alpha/tabular of member 1" in card


def test_interrupted_in_a_later_member_it_ends_with_the_same_bytes(three: Path, cohort: Path, tmp_path: Path) -> None:
    def interrupt(what: str, done: int, _: int) -> None:
        if (what, done) == ("training member1", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(cohort, tmp_path / "run", THREE, labels=LABELS, on_progress=interrupt)
    assert {p.name for p in (tmp_path / "run").glob("*.safetensors")} == {
        "checkpoint.safetensors", "checkpoint-member1.safetensors",
    }  # fmt: skip
    train(cohort, tmp_path / "run", THREE, labels=LABELS)
    for name in ("model.safetensors", "calibration.json", "thresholds.json", "golden.json"):
        assert (tmp_path / "run" / name).read_bytes() == (three / name).read_bytes()
    assert not list((tmp_path / "run").glob("checkpoint*"))


def test_out_of_fold_answers_are_means_of_what_each_member_says_out_of_fold(note_cohort: Path, tmp_path: Path) -> None:
    config = replace(NOTES, epochs=1, nested=False, split_seed=0)
    both = replace(config, members=2)

    def out_of_fold(name: str, choices: TrainConfig) -> np.ndarray:
        folder = train(note_cohort, tmp_path / name, choices, folds=2, labels=LABELS).folder
        rows = read_rows(folder / "predictions.csv", PredictionsError)
        return softmax([[float(row[f"logit__{label}"]) for label in LABELS] for row in rows], axis=1)

    each = [out_of_fold(str(seed), replace(config, seed=seed)) for seed in both.member_seeds]
    np.testing.assert_allclose(out_of_fold("both", both), np.mean(each, axis=0), atol=1e-6)


@pytest.fixture(scope="module")
def student(three: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single network that learned from the three."""
    out = tmp_path_factory.mktemp("student") / "run"
    return train(cohort, out, replace(ONE, epochs=1), teacher=Teacher.open(three, CPU)).folder


def test_it_is_made_smaller_taught_from_and_attacked_like_any_model(
    three: Path, student: Path, cohort: Path, tmp_path: Path
) -> None:
    said = compress(three, tmp_path / "small", Packing(int8=True), cohort, split="val")
    assert said.largest_change < 0.05
    assert len(Predictor.load(tmp_path / "small", "cpu").folder.model.networks) == 3
    assert isinstance(Predictor.load(student, "cpu").folder.model, MultimodalClassifier)
    predictor = Predictor.load(three, "cpu")
    sample = prepared(predictor, read(cohort, predictor)[:2])[1]
    truth, plain = np.eye(2)[0], predictor.answer(sample)[1].probabilities["no_large"]
    for name, level in (("words", 0.5), ("words_pgd", 0.5)):
        _, harmed = attacked_answer(predictor, sample, truth, Perturbation(name, level), "S1")
        assert harmed.probabilities["no_large"] < plain, name
    assert predictor.answer(sample)[1].probabilities["no_large"] == plain


def test_a_search_compares_single_networks_and_passes_members_on(note_cohort: Path, tmp_path: Path) -> None:
    plan = Search({"width": Choices(("8", "16"))}, replace(NOTES, members=3, epochs=1), trials=1, sampler="random")
    search(note_cohort, tmp_path, plan, labels=LABELS)
    assert json.loads((tmp_path / "trials" / "0" / "run" / "train.json").read_text())["config"]["members"] == 1
    assert "members: 3" in (tmp_path / "best.yaml").read_text()
    with pytest.raises(TaskError, match="without members"):
        Search({"members": Choices(("1", "2"))}, NOTES)


def test_a_comparison_says_how_many_members_answer(note_cohort: Path, tmp_path: Path) -> None:
    plan = Plan((), (frozenset({"text"}),), (0,), replace(NOTES, members=2, epochs=1))
    note = "Every network is the mean of 2 members that differ in their random start."
    assert note in ablate(note_cohort, tmp_path, plan).notes
    assert f"- {note}\n" in (tmp_path / "ablation.md").read_text()
