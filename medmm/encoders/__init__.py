"""Encoders turn one modality into tokens and one pooled vector, whatever the modality.

Contract of `Encoder`: `forward` takes the fields of `transforms.batch.Batch` that belong to its
modality, for the samples that have it, and returns an `Encoded` of `out_features` channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from medmm.registry import Registry
from medmm.types import Modality

if TYPE_CHECKING:
    import torch


class Encoded(NamedTuple):
    """What an encoder says about B samples.

    Attributes:
        tokens: (B, T, D) local features.
        mask: (B, T) bool, True where a token is real.
        pooled: (B, D) the whole.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    pooled: torch.Tensor


class Encoder(Protocol):
    """What every encoder offers; see the module's contract."""

    out_features: int
    modality: Modality

    def __call__(self, *inputs: torch.Tensor) -> Encoded:
        """Encode the samples that have this modality."""
        ...


EncoderFactory = Callable[..., Any]

IMAGE_ENCODERS: Registry[EncoderFactory] = Registry("image_encoders")
IMAGE_ENCODERS.add("resnet", "medmm.encoders.image:ResNet")

TEXT_ENCODERS: Registry[EncoderFactory] = Registry("text_encoders")
TEXT_ENCODERS.add("transformer", "medmm.encoders.text:NumberTransformer")
TEXT_ENCODERS.add("huggingface", "medmm.encoders.text:HuggingFace")
