"""Everything needed to rebuild a pretraining network; stored beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter

from medmm.model import Side, rebuilt
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe
from medmm.types import Modality

Masked = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class PretrainedConfig:
    """The architecture.

    Attributes:
        image, text: How each is read, None when it is not.
        objectives: Names, in the order of their losses.
        width: Channels of the space in which images and notes meet.
        image_masked: Share of patches of an image that are hidden.
        mask_patch: Voxels along each axis of a patch.
        text_masked: Share of tokens of a note that are hidden.
        hidden_id: Token shown instead.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    image: Side[VolumeRecipe] | None
    text: Side[TextRecipe] | None
    objectives: tuple[str, ...]
    width: int = 128
    image_masked: Masked = 0.6
    mask_patch: Annotated[int, Field(ge=1)] = 8
    text_masked: Masked = 0.15
    hidden_id: int | None = None

    @property
    def sides(self) -> dict[Modality, Side[Any]]:
        """What is read and how, in canonical order."""
        given: dict[Modality, Side[Any] | None] = {"image": self.image, "text": self.text}
        return {name: side for name, side in given.items() if side is not None}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        content: dict[str, Any] = _CONFIG.dump_python(self, mode="json")
        return content

    @classmethod
    def from_dict(cls, content: Any) -> PretrainedConfig:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If a key is unknown or a value does not fit.
        """
        return rebuilt(_CONFIG, content, "pretraining")


_CONFIG = TypeAdapter(PretrainedConfig)
