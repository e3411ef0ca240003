"""Losses against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medmm.heads import Logits
from medmm.losses import Criterion, class_weights, classification_loss, distillation_loss, log_prior, total_loss

NAN = float("nan")
HARD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
FUSED = torch.tensor([[2.0, 0.0], [1.0, -1.0], [0.0, 0.0], [3.0, 1.0]])
IMAGE = torch.tensor([[0.5, 0.0], [0.0, 1.0], [9.0, -9.0], [1.0, 0.0]])
TEXT = torch.tensor([[1.0, 1.0], [-9.0, 9.0], [0.0, 2.0], [0.0, 1.0]])
PRESENT = {"image": torch.tensor([True, True, False, True]), "text": torch.tensor([True, False, True, True])}


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, weights: list[float]) -> float:
    total = 0.0
    for row, one_hot in zip(logits.tolist(), target.tolist(), strict=True):
        k = one_hot.index(1.0)
        total += weights[k] * (math.log(sum(map(math.exp, row))) - row[k])
    return total / len(target)


def test_the_total_is_the_weighted_sum_over_what_is_present() -> None:
    weights = [0.5, 2.0]
    parts = {"fused": 1.0, "image": 0.3, "text": 0.7}
    expected = (
        1.0 * cross_entropy(FUSED[[0, 3]], HARD[[0, 3]], weights)  # samples that have both
        + 0.3 * cross_entropy(IMAGE[[0, 1, 3]], HARD[[0, 1, 3]], weights)
        + 0.7 * cross_entropy(TEXT[[0, 2, 3]], HARD[[0, 2, 3]], weights)
    )
    logits = Logits(FUSED, {"image": IMAGE, "text": TEXT})
    found = total_loss(Criterion("binary", torch.tensor(weights)), logits, HARD, PRESENT, parts)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part", ["fused", "image", "text"])
def test_a_part_left_out_weighs_nothing(part: str) -> None:
    logits = Logits(FUSED, {"image": IMAGE, "text": TEXT})
    both = {name: torch.ones(4, dtype=torch.bool) for name in PRESENT}
    found = total_loss(Criterion("binary", torch.ones(2)), logits, HARD, both, {part: 2.0})  # type: ignore[arg-type]
    alone = {"fused": FUSED, "image": IMAGE, "text": TEXT}[part]
    assert float(found) == pytest.approx(2 * cross_entropy(alone, HARD, [1.0, 1.0]), rel=1e-5)


def test_a_batch_with_nothing_to_learn_from_is_zero_and_can_be_differentiated() -> None:
    fused = FUSED.clone().requires_grad_()
    absent = {name: torch.zeros(4, dtype=torch.bool) for name in PRESENT}
    loss = total_loss(Criterion("binary", torch.ones(2)), Logits(fused, {"image": IMAGE}), HARD, absent, {"fused": 1.0})  # type: ignore[arg-type]
    loss.backward()
    assert float(loss.detach()) == 0
    assert fused.grad is not None
    assert not fused.grad.any()


def test_missing_labels_have_no_part_in_a_multilabel_loss() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -2.0]])
    target = torch.tensor([[1.0, NAN, 0.0], [NAN, 0.0, NAN]])
    weights = torch.tensor([3.0, 1.0, 1.0])
    expected = (3 * math.log1p(math.exp(-0.5)) + math.log1p(math.exp(2.0)) + math.log(2)) / 3
    assert float(classification_loss("multilabel", logits, target, weights)) == pytest.approx(expected, rel=1e-5)
    other = torch.where(target.isnan(), logits + 50, logits)
    assert float(classification_loss("multilabel", other, target, weights)) == pytest.approx(expected, rel=1e-5)


def test_labels_all_missing_give_zero_and_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = classification_loss("multilabel", logits, torch.full((2, 3), NAN), torch.ones(3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()  # type: ignore[union-attr]


def test_smoothing_spreads_its_share_over_all_classes() -> None:
    logits, target = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    log_p = torch.log_softmax(logits.double(), 1)[0]
    expected = -(0.9 * log_p[1] + 0.1 * log_p.mean())
    assert float(classification_loss("multiclass", logits, target, torch.ones(3), 0.1)) == pytest.approx(float(expected), rel=1e-5)


def test_balanced_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 13 + [1] * 5 + [2] * 2)
    found = class_weights("multiclass", torch.nn.functional.one_hot(torch.tensor(labels)).float())
    assert found.tolist() == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels).tolist())


def test_multilabel_weights_are_negatives_over_positives_among_the_known() -> None:
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, NAN, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert class_weights("multilabel", target).tolist() == pytest.approx([3, 0.5, 3])  # a label never seen counts as seen once


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.3, 1.0, 0.2], [-2.0, 0.5, 40.0], [1.0, 1.0, 1.0]])
CLASSES = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_a_discount_the_losses_are_torchs(smoothing: float) -> None:
    weights = torch.tensor([0.5, 2.0, 1.0])
    named = {"weight": weights, "label_smoothing": smoothing, "reduction": "sum"}
    peer = torch.nn.functional.cross_entropy(LOGITS, CLASSES.argmax(1), **named) / len(LOGITS)  # type: ignore[arg-type]
    assert float(classification_loss("multiclass", LOGITS, CLASSES, weights, smoothing)) == pytest.approx(float(peer), rel=1e-5)
    soft = CLASSES * (1 - smoothing) + smoothing / 2
    peer = torch.nn.functional.binary_cross_entropy_with_logits(LOGITS, soft, pos_weight=weights)
    assert float(classification_loss("multilabel", LOGITS, CLASSES, weights, smoothing)) == pytest.approx(float(peer), rel=1e-5)


def test_a_weighted_loss_is_the_mean_of_its_parts() -> None:
    """Whatever the batches, each sample of an epoch counts by the weight of its class."""
    loss = Criterion("multiclass", torch.tensor([0.5, 2.0, 7.0]))
    whole, parts = loss(LOGITS, CLASSES), [loss(LOGITS[i : i + 1], CLASSES[i : i + 1]) for i in range(4)]
    assert float(whole) == pytest.approx(float(sum(parts)) / 4, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_the_focal_loss_is_monais(gamma: float) -> None:
    from monai.losses import FocalLoss

    logits, ones = LOGITS.clone().requires_grad_(), torch.ones(3)
    peer = 3 * FocalLoss(use_softmax=True, gamma=gamma)(LOGITS, CLASSES)  # which averages over the classes too
    found = classification_loss("multiclass", logits, CLASSES, ones, gamma=gamma)
    assert float(found.detach()) == pytest.approx(float(peer), rel=1e-4)
    found.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()  # also for the sample answered with certainty
    peer = FocalLoss(gamma=gamma)(LOGITS, CLASSES)
    assert float(classification_loss("multilabel", LOGITS, CLASSES, ones, gamma=gamma)) == pytest.approx(float(peer), rel=1e-4)


def test_effective_numbers_lie_between_frequencies_and_balance() -> None:
    target = torch.nn.functional.one_hot(torch.tensor([0] * 90 + [1] * 10)).float()
    none, some, full = (class_weights("binary", target, beta) for beta in (0.0, 0.9, 1.0))
    by_hand = (1 - 0.9**90) / (1 - 0.9**10)
    assert float(some[1] / some[0]) == pytest.approx(by_hand, rel=1e-5)
    assert [float(target.matmul(weights).mean()) for weights in (none, some, full)] == pytest.approx([1, 1, 1])
    assert float(none[1] / none[0]) == 1 < by_hand < float(full[1] / full[0]) == pytest.approx(9)


def test_logits_learned_with_an_adjustment_favour_no_class() -> None:
    """Of labels that nothing explains: without the offset logits are log frequencies, with tau = 1 they are equal."""
    target = torch.nn.functional.one_hot(torch.tensor([0] * 70 + [1] * 20 + [2] * 10)).float()
    prior = log_prior("multiclass", target)
    assert prior.exp().tolist() == pytest.approx([0.7, 0.2, 0.1])
    for tau in (0.0, 1.0):
        loss = Criterion("multiclass", torch.ones(3), offset=tau * prior)
        logits = ((1 - tau) * prior).expand(100, 3).clone().requires_grad_()
        loss(logits, target).backward()
        assert logits.grad is not None
        assert logits.grad.sum(0).abs().max() < 1e-6  # the optimum
    odds = log_prior("multilabel", torch.tensor([[1.0, NAN], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])).exp()
    assert odds.tolist() == pytest.approx([1 / 3, 1 / 2])


TAUGHT = torch.tensor([[0.9, 0.1], [0.2, 0.8], [NAN, NAN]])


def softened(p: list[float], temperature: float) -> list[float]:
    powers = [x ** (1 / temperature) for x in p]
    return [x / sum(powers) for x in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_is_the_divergence_of_softened_answers_times_the_square_of_the_temperature(temperature: float) -> None:
    expected = 0.0
    for taught, logits in zip(TAUGHT[:2].tolist(), FUSED[:2].tolist(), strict=True):
        soft = softened(taught, temperature)
        own = softened([math.exp(z) for z in logits], temperature)
        expected += temperature**2 * sum(p * math.log(p / q) for p, q in zip(soft, own, strict=True)) / 2
    assert float(distillation_loss("binary", FUSED[:3], TAUGHT, temperature)) == pytest.approx(expected, rel=1e-5)


def test_each_label_of_a_multilabel_teacher_is_a_distribution_over_yes_and_no() -> None:
    taught, logits, t = torch.tensor([[0.9, 0.3]]), torch.tensor([[1.0, -2.0]]), 3.0
    expected = 0.0
    for p, z in zip(taught[0].tolist(), logits[0].tolist(), strict=True):
        soft, own = softened([p, 1 - p], t), softened([math.exp(z), 1.0], t)
        expected += t**2 * sum(a * math.log(a / b) for a, b in zip(soft, own, strict=True)) / 2
    assert float(distillation_loss("multilabel", logits, taught, t)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(kind: str) -> None:
    taught = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    certain = taught.clamp(1e-6, 1 - 1e-6)
    logits = (certain.log() if kind == "multiclass" else torch.logit(certain)).requires_grad_()
    loss = distillation_loss(kind, logits, taught, 2.0)  # type: ignore[arg-type]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-4
