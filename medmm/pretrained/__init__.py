"""Encoders that learned from studies without labels, and what they can do before they are fine-tuned.

Contract of an objective: `OBJECTIVES.get(name)(config, encoders)` builds a module whose `reads` names the
modalities it needs, and whose call with the encoders and a batch gives a scalar loss over the samples that
have them, None when too few do. Encoders are handed in at every call, so that objectives share them and
only their own heads are theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from medmm.registry import Registry
from medmm.types import Modality

if TYPE_CHECKING:
    import torch

    from medmm.transforms.batch import Batch


class Objective(Protocol):
    """What every objective offers, being a `torch.nn.Module`; see the module's contract."""

    reads: tuple[Modality, ...]

    def __call__(self, encoders: Any, batch: Batch) -> torch.Tensor | None:
        """Loss of a batch, None when too few of its samples have what is read."""
        ...


class ObjectiveFactory(Protocol):
    """What is registered: a class of objectives."""

    reads: tuple[Modality, ...]

    def __call__(self, config: Any, encoders: Any) -> Any:
        """Build an `Objective`."""
        ...


OBJECTIVES: Registry[ObjectiveFactory] = Registry("objectives")
OBJECTIVES.add("masked_image", "medmm.pretrained.masked:MaskedImage")
OBJECTIVES.add("masked_language", "medmm.pretrained.masked:MaskedLanguage")
OBJECTIVES.add("halves", "medmm.pretrained.contrast:Halves")
OBJECTIVES.add("infonce", "medmm.pretrained.contrast:InfoNce")
OBJECTIVES.add("sigmoid", "medmm.pretrained.contrast:Sigmoid")
