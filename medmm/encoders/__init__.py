"""Encoders turn one modality into tokens and one pooled vector, whatever the modality.

Contract: `ENCODERS[modality].get(name)(recipe, **options)` builds an `Encoder`. The recipe says how
its input was made (`VolumeRecipe`, `TextRecipe`, `AudioRecipe`, `TableRecipe`), so that an encoder
takes from it what it needs: channels, vocabulary, mels, columns. `forward` takes the tensors that
the recipe's `stack` makes, for the samples that have the modality, and returns an `Encoded`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from medmm.registry import Registry
from medmm.types import MODALITIES, Modality

if TYPE_CHECKING:
    import torch


class Encoded(NamedTuple):
    """What an encoder says about B samples.

    Attributes:
        tokens: (B, T, D) local features.
        mask: (B, T) bool, True where a token is real.
        pooled: (B, D) the whole.
        trust: (B,) how far the input itself is to be trusted, above 0 and at most 1; fully when None. The model sets it.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    pooled: torch.Tensor
    trust: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> Encoded:
        """Some of the samples; `rows` is (B,) bool or indices."""
        trust = None if self.trust is None else self.trust[rows]
        return Encoded(self.tokens[rows], self.mask[rows], self.pooled[rows], trust)


class Encoder(Protocol):
    """What every encoder offers, being a `torch.nn.Module`; see the module's contract.

    Attributes:
        modality: What it reads.
        out_features: D of what it returns.

    One with blocks that may be computed again in training (`gradient_checkpointing`) also has `recomputable`, the name of the
    list of them or of the Hugging Face model that knows its own. One whose features are weighted sums of its input, to be kept
    so by what follows, has `is_linear`.
    """

    modality: Modality
    out_features: int

    def __call__(self, *inputs: torch.Tensor) -> Encoded:
        """Encode the samples that have this modality."""
        ...


class EncoderFactory(Protocol):
    """What is registered: a class of encoders, built from the recipe of its input."""

    modality: Modality

    def __call__(self, recipe: Any, **options: Any) -> Any:
        """Build an `Encoder`."""
        ...


ENCODERS: dict[Modality, Registry[EncoderFactory]] = {name: Registry(f"{name}_encoders", callable) for name in MODALITIES}
"""By modality; entry-point groups are `medmm.image_encoders`, `medmm.text_encoders` and so on."""

ENCODERS["image"].add("resnet", "medmm.encoders.image:ResNet")
ENCODERS["image"].add("densenet", "medmm.encoders.image:DenseNet")
ENCODERS["image"].add("vit", "medmm.encoders.image:ViT")
ENCODERS["image"].add("swin", "medmm.encoders.image:Swin")
ENCODERS["image"].add("slices", "medmm.encoders.image:SliceAttention")
ENCODERS["image"].add("merlin", "medmm.encoders.opened:Merlin")
ENCODERS["image"].add("ct_clip", "medmm.encoders.ct_clip:CtClip")
ENCODERS["image"].add("colipri", "medmm.encoders.colipri:Colipri")
ENCODERS["image"].add("patch", "medmm.encoders.patch:PatchConv")
ENCODERS["text"].add("transformer", "medmm.encoders.text:NumberTransformer")
ENCODERS["text"].add("huggingface", "medmm.encoders.text:HuggingFace")
ENCODERS["text"].add("tower", "medmm.encoders.tower:TextTower")
ENCODERS["text"].add("recurrent", "medmm.encoders.recurrent:NumberRecurrent")
ENCODERS["audio"].add("cnn", "medmm.encoders.audio:MelCnn")
ENCODERS["audio"].add("dilated", "medmm.encoders.audio:MelDilated")
ENCODERS["audio"].add("recurrent", "medmm.encoders.recurrent:MelRecurrent")
ENCODERS["audio"].add("huggingface_mel", "medmm.encoders.speech:HuggingFaceMel")
ENCODERS["audio"].add("huggingface_waveform", "medmm.encoders.speech:HuggingFaceWaveform")
ENCODERS["tabular"].add("columns", "medmm.encoders.tabular:ColumnTokens")
ENCODERS["tabular"].add("linear", "medmm.encoders.tabular:LinearColumns")
