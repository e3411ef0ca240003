from __future__ import annotations

import numpy as np
import pytest
import torch

from medmm.evaluation.attack import attacked, attacked_answer
from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.transforms.batch import Sample
from medmm.transforms.perturb import ATTACKS, Perturbation


@pytest.fixture(scope="module")
def predictor(tiny_model) -> Predictor:
    return Predictor.load(tiny_model, "cpu")


@pytest.fixture(scope="module")
def sample(phantom, predictor) -> Sample:
    case = next(c for c in read_cohort(phantom / "cohort.csv").cases if c.split == "test")
    return predictor.folder.preprocessor.prepare(case.open())[0]


def loss(predictor: Predictor, sample: Sample, truth: int) -> float:
    _, answer = predictor.answer(sample)
    logits = torch.tensor(list(answer.logits.values()), dtype=torch.float64)
    return float(torch.nn.functional.cross_entropy(logits[None], torch.tensor([truth])))


@pytest.mark.parametrize("truth", [0, 1])
def test_a_small_change_along_the_gradient_raises_the_loss_more_than_chance_does(predictor, sample, truth) -> None:
    target = np.eye(2)[truth]
    worse = attacked(predictor, sample, target, 2.0)
    change = worse.inputs["image"][0] - sample.inputs["image"][0]
    assert float(change.abs().max()) == pytest.approx(2.0, abs=1e-4)  # a voxel of 1,000 HU has four digits after the point
    rng = torch.Generator().manual_seed(0)
    image = sample.inputs["image"][0]
    random = sample.having("image", image + 2.0 * torch.randn(image.shape, generator=rng).sign())
    before = loss(predictor, sample, truth)
    assert loss(predictor, worse, truth) > before
    assert loss(predictor, worse, truth) - before > 2 * abs(loss(predictor, random, truth) - before)


def test_it_is_deterministic_leaves_the_sample_alone_and_gathers_no_gradients(predictor, sample) -> None:
    image = sample.inputs["image"][0].clone()
    one, two = (attacked(predictor, sample, np.eye(2)[1], 4.0).inputs["image"][0] for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(image, sample.inputs["image"][0])
    assert all(p.grad is None for p in predictor.folder.model.parameters())


def loss_under(predictor: Predictor, sample: Sample, name: str, level: float) -> float:
    _, answer = attacked_answer(predictor, sample, np.eye(2)[1], Perturbation(name, level), "s")
    logits = torch.tensor(list(answer.logits.values()), dtype=torch.float64)
    return float(torch.nn.functional.cross_entropy(logits[None], torch.tensor([1])))


@pytest.mark.parametrize(
    ("attack", "chance", "level"),
    [("fgsm", "random_sign", 2.0), ("pgd", "random_sign", 2.0), ("words", "random_words", 0.2), ("words_pgd", "random_words", 0.2)],
)
def test_an_attack_does_more_harm_than_chance_of_the_same_size(predictor, sample, attack, chance, level) -> None:
    before = loss(predictor, sample, 1)
    harm, by_chance = (loss_under(predictor, sample, name, level) - before for name in (attack, chance))
    assert harm > 2 * abs(by_chance)
    assert by_chance != 0


@pytest.mark.parametrize("name", ATTACKS)
def test_the_answer_under_an_attack_repeats_and_nothing_of_it_stays(predictor, sample, name) -> None:
    before = predictor.answer(sample)
    found = [attacked_answer(predictor, sample, np.eye(2)[1], Perturbation(name, 0.2), "s") for _ in range(2)]
    assert found[0] == found[1]
    assert found[0] != before
    assert predictor.answer(sample) == before


def test_several_steps_stay_within_the_distance_of_one(predictor, sample) -> None:
    away = attacked(predictor, sample, np.eye(2)[1], 2.0, "pgd").inputs["image"][0] - sample.inputs["image"][0]
    assert float(away.abs().max()) == pytest.approx(2.0, abs=1e-3)
