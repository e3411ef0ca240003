"""Learning what belongs together, a note and its image or two halves of a note: pairs are to lie close in one space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medmm.model import build_projection
from medmm.pretrained.config import PretrainedConfig
from medmm.transforms.batch import Batch
from medmm.types import Modality

_FIRST, _STEEPEST = 1 / 0.07, math.log(100)  # of the learned factor on similarities (Radford et al. 2021)
_GAP = 3  # tokens between halves of a note that neither shows: a phrase cut in two would tell them
_SHORTEST = 4 * _GAP


class _Scaled(nn.Module):
    """A learned factor on cosine similarities.

    Args:
        factor: Its first value.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.log_factor = nn.Parameter(torch.tensor(math.log(factor)))

    @property
    def factor(self) -> torch.Tensor:
        """What similarities are multiplied by to become logits."""
        return self.log_factor.clamp_max(_STEEPEST).exp()


class _Contrast(_Scaled):
    """What both kinds of pairs share: one projection a modality beside the factor.

    Args:
        config: Width of the common space.
        encoders: By modality.
        factor: Its first value.
    """

    reads: tuple[Modality, ...] = ("image", "text")

    def __init__(self, config: PretrainedConfig, encoders: Any, factor: float) -> None:
        super().__init__(factor)
        self.project = nn.ModuleDict({name: build_projection(encoders[name], config.width) for name in self.reads})

    def embed(self, encoders: Any, name: Modality, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """(B, width) unit vectors of the samples whose inputs these are."""
        return functional.normalize(self.project[name](encoders[name](*inputs).pooled).float(), dim=1)

    def forward(self, encoders: Any, batch: Batch) -> torch.Tensor | None:
        """Loss of the pairs of a batch against each other, None when there are fewer than two."""
        paired = batch.present["image"] & batch.present["text"]
        if int(paired.sum()) < 2:
            return None
        image, text = (self.embed(encoders, name, tuple(t[paired] for t in batch.inputs[name])) for name in self.reads)
        return self.loss(image @ text.T)

    def loss(self, similarity: torch.Tensor) -> torch.Tensor:
        """Of (n, n) cosine similarities whose pairs lie on the diagonal."""
        raise NotImplementedError


class InfoNce(_Contrast):
    """Each image is to choose its note among those of the batch, and each note its image (CLIP, Radford et al. 2021).

    Args:
        config: Width of the common space.
        encoders: By modality.
    """

    def __init__(self, config: PretrainedConfig, encoders: Any) -> None:
        super().__init__(config, encoders, factor=_FIRST)

    def loss(self, similarity: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of both directions."""
        return _chosen_both_ways(self.factor * similarity)


class Opened(InfoNce):
    """The space of published weights: an encoder leads into it by itself, or by one linear layer.

    Args:
        config: Width of the common space.
        encoders: By modality.
    """

    def __init__(self, config: PretrainedConfig, encoders: Any) -> None:
        super().__init__(config, encoders)
        widths = {name: int(encoders[name].out_features) for name in self.reads}
        self.project = nn.ModuleDict(
            {name: nn.Identity() if width == config.width else nn.Linear(width, config.width) for name, width in widths.items()}
        )

    @property
    def factor(self) -> torch.Tensor:
        """What similarities are multiplied by; published ones are taken as they are."""
        return self.log_factor.exp()


class Sigmoid(_Contrast):
    """Every image and note of a batch are to say whether they belong together (SigLIP, Zhai et al. 2023).

    Args:
        config: Width of the common space.
        encoders: By modality.
    """

    def __init__(self, config: PretrainedConfig, encoders: Any) -> None:
        super().__init__(config, encoders, factor=10.0)
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def loss(self, similarity: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy of all n x n pairs, divided by n as published."""
        logits = self.factor * similarity + self.bias
        truth = torch.eye(len(logits), device=logits.device)
        losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return losses.sum(1).mean()


class Halves(_Scaled):
    """Each first half of a note is to choose its second half among those of the batch, and the reverse.

    Parts of one text belong together (DeCLUTR, Giorgi et al. 2021): what a patient has shows all over his note, so that a
    half that knows it finds the other. Unlike `masked_language` it teaches what stands for the note as a whole.

    Args:
        config: Width of the space.
        encoders: By modality.
    """

    reads: tuple[Modality, ...] = ("text",)

    def __init__(self, config: PretrainedConfig, encoders: Any) -> None:
        super().__init__(_FIRST)
        self.project = build_projection(encoders["text"], config.width)

    def forward(self, encoders: Any, batch: Batch) -> torch.Tensor | None:
        """Mean cross-entropy of both directions over notes long enough to be cut, None when there are fewer than two."""
        inputs = batch.inputs.get("text")
        if inputs is None:
            return None
        asked = batch.present["text"] & (inputs[-1].sum(1) >= _SHORTEST)
        if int(asked.sum()) < 2:
            return None
        first, second = (
            functional.normalize(self.project(encoders["text"](*half).pooled).float(), dim=1)
            for half in self.cut(*(tensor[asked] for tensor in inputs))
        )
        return _chosen_both_ways(self.factor * first @ second.T)

    def cut(
        self, ids: torch.Tensor, values: torch.Tensor, is_number: torch.Tensor, mask: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Both parts of (B, T) notes, each beginning at place 0, cut at random in the middle third."""
        length = mask.sum(1, keepdim=True)
        begin = ((1 + torch.rand(length.shape, device=mask.device)) / 3 * length).long()
        place = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        moved = (place + begin).clamp_max(mask.shape[1] - 1)
        first, second = place < begin - _GAP, place < length - begin
        return (ids, values, is_number, first), (*(tensor.gather(1, moved) for tensor in (ids, values, is_number)), second)


def _chosen_both_ways(logits: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of rows and of columns, whose own lie on the diagonal."""
    own = torch.arange(len(logits), device=logits.device)
    return 0.5 * (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own))
