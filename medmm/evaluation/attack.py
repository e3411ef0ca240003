"""The smallest harm that hurts most: an image changed along the gradient of the loss (Goodfellow et al. 2015, FGSM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medmm.inference import Predictor
from medmm.transforms.batch import Sample
from medmm.types import FloatArray

if TYPE_CHECKING:
    import torch


def attacked(predictor: Predictor, sample: Sample, target: FloatArray, level: float) -> Sample:
    """The sample with every voxel of its image moved by `level` in the direction that raises the loss of the truth.

    Args:
        predictor: The model to mislead.
        sample: One prepared study with an image.
        target: (K,) its truth; labels that are NaN do not count.
        level: Change in the unit of the voxels, HU in CT.
    """
    import torch

    model, preprocessor = predictor.folder.model, predictor.folder.preprocessor
    image = sample.inputs["image"][0].detach().requires_grad_()  # another tensor: the sample's own stays as it is
    batch = preprocessor.collate([sample.having("image", image)]).to(model.device)
    with torch.enable_grad():
        logits = model.answer(model.encode(batch), batch.present)[0]
        (gradient,) = torch.autograd.grad(_loss(model.config.kind, logits, target), image)
    return sample.having("image", image.detach() + level * gradient.sign())


def _loss(kind: str, logits: torch.Tensor, target: FloatArray) -> torch.Tensor:
    import torch

    truth = torch.as_tensor(target, dtype=logits.dtype, device=logits.device)
    known = ~truth.isnan()
    if kind == "multilabel":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known])
    return torch.nn.functional.cross_entropy(logits[None], truth.argmax()[None])
