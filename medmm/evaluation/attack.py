"""Answers under the smallest harm that hurts most, and under random changes of the same size, to be compared with.

Images are moved by FGSM (Goodfellow et al. 2015) or PGD (Madry et al. 2018), word embeddings along the gradient (Miyato et
al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from medmm.inference import Predictor
from medmm.prediction import Answer
from medmm.training.adversarial import Attack, words_moved_by
from medmm.training.adversarial import attacked as worst_of
from medmm.transforms.batch import Sample
from medmm.transforms.perturb import WORD_ATTACKS, Perturbation
from medmm.types import FloatArray

if TYPE_CHECKING:
    import torch

_STEPS = 10


def attacked_answer(
    predictor: Predictor, sample: Sample, target: FloatArray, perturbation: Perturbation, sample_id: str
) -> tuple[str, Answer]:
    """The pattern used and the answer for a sample under one of `perturb.ATTACKS`.

    Args:
        predictor: The model to mislead.
        sample: One prepared study with what the perturbation touches.
        target: (K,) its truth; labels that are NaN do not count.
        perturbation: Which, and how far.
        sample_id: Seeds random choices together with the perturbation.
    """
    name, level = perturbation.name, perturbation.level
    if name in WORD_ATTACKS:
        shift = _word_shift(predictor, sample, target, perturbation, sample_id)
        with words_moved_by(predictor.folder.model, shift):
            return predictor.answer(sample)
    if name == "random_sign":
        return predictor.answer(_moved_at_random(sample, perturbation, sample_id))
    return predictor.answer(attacked(predictor, sample, target, level, "pgd" if name == "pgd" else "fgsm"))


def attacked(
    predictor: Predictor, sample: Sample, target: FloatArray, level: float, method: Literal["fgsm", "pgd"] = "fgsm"
) -> Sample:
    """The sample with every voxel of its image moved by up to `level` in the direction that raises the loss of the truth.

    Args:
        predictor: The model to mislead.
        sample: One prepared study with an image.
        target: (K,) its truth; labels that are NaN do not count.
        level: Change in the unit of the voxels, HU in CT.
        method: One step to the border, or ten smaller ones from a random start.
    """
    (worse,), _ = _worst(predictor, sample, target, Attack(method, image=level, text=0, steps=_STEPS))
    return worse


def _worst(
    predictor: Predictor, sample: Sample, target: FloatArray, attack: Attack
) -> tuple[list[Sample], dict[int, torch.Tensor]]:
    import torch

    model, preprocessor = predictor.folder.model, predictor.folder.preprocessor

    def loss_of(samples: Sequence[Sample]) -> torch.Tensor:
        batch = preprocessor.collate(samples).to(model.device)
        return _loss(model.config.kind, model.answer(model.encode(batch), batch.present)[0], target)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return worst_of(model, [sample], loss_of, attack)


def _word_shift(
    predictor: Predictor, sample: Sample, target: FloatArray, perturbation: Perturbation, sample_id: str
) -> dict[int, torch.Tensor]:
    """(1, T, D) for each network to add to the embeddings of the words, of a length that is a share of their own."""
    import torch

    if perturbation.name != "random_words":
        method: Literal["fgsm", "pgd"] = "pgd" if perturbation.name == "words_pgd" else "fgsm"
        return _worst(predictor, sample, target, Attack(method, image=0, text=perturbation.level, steps=_STEPS))[1]
    with words_moved_by(predictor.folder.model, {}) as words:
        predictor.answer(sample)
    rng = perturbation.rng(sample_id)
    drawn = {n: torch.from_numpy(rng.standard_normal(seen.shape)).to(seen) for n, seen in words.seen.items()}
    return {n: perturbation.level * seen.norm() * drawn[n] / drawn[n].norm() for n, seen in words.seen.items()}


def _moved_at_random(sample: Sample, perturbation: Perturbation, sample_id: str) -> Sample:
    import torch

    image = sample.inputs["image"][0]
    signs = perturbation.rng(sample_id).choice([-1.0, 1.0], image.shape)
    return sample.having("image", image + perturbation.level * torch.from_numpy(signs).to(image))


def _loss(kind: str, logits: torch.Tensor, target: FloatArray) -> torch.Tensor:
    import torch

    truth = torch.as_tensor(target, dtype=logits.dtype, device=logits.device)
    known = ~truth.isnan()
    if kind == "multilabel":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known])
    return torch.nn.functional.cross_entropy(logits[None], truth.argmax()[None])
