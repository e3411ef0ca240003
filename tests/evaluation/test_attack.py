from __future__ import annotations

import numpy as np
import pytest
import torch

from medmm.evaluation.attack import attacked
from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.transforms.batch import Sample


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
