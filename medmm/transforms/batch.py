"""From studies to the tensors of one network step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from medmm.errors import MissingModalityError
from medmm.study import Notice, Study
from medmm.transforms.text import NoteTokenizer, Tokens
from medmm.transforms.volume import VolumeRecipe, resample, to_channels
from medmm.types import MODALITIES, Modality


@dataclass(frozen=True, slots=True)
class Sample:
    """One study ready for the network.

    Attributes:
        image: (1, R, A, S) float32 in the recipe's unit on its grid, or None.
        tokens: Tokenised note, or None.
    """

    image: torch.Tensor | None
    tokens: Tokens | None

    @property
    def modalities(self) -> frozenset[Modality]:
        """What is present."""
        present: set[Modality] = set()
        if self.image is not None:
            present.add("image")
        if self.tokens is not None:
            present.add("text")
        return frozenset(present)


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples; a modality that no sample has is None, an absent one of a sample is zeros.

    Attributes:
        image: (B, windows, R, A, S) float32 in -1..1.
        ids, values, is_number, token_mask: (B, T) the notes; `token_mask` is True on real tokens.
        present: For each modality (B,) bool.
    """

    image: torch.Tensor | None
    ids: torch.Tensor | None
    values: torch.Tensor | None
    is_number: torch.Tensor | None
    token_mask: torch.Tensor | None
    present: dict[Modality, torch.Tensor]

    def __len__(self) -> int:
        return len(self.present["image"])

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""

        def move(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            move(self.image), move(self.ids), move(self.values), move(self.is_number), move(self.token_mask),
            {name: mask.to(device) for name, mask in self.present.items()},
        )  # fmt: skip

    def keeping(self, kept: dict[Modality, torch.Tensor]) -> Batch:
        """The same batch with fewer modalities present; `kept` holds (B,) masks."""
        return replace(self, present={name: mask & kept[name] for name, mask in self.present.items()})

    def only(self, modalities: frozenset[Modality]) -> Batch:
        """The same batch as if only these modalities had been handed in."""
        return self.keeping({name: torch.full_like(mask, name in modalities) for name, mask in self.present.items()})


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Turns studies into samples and samples into batches, as the stored recipe says.

    Attributes:
        volume: Image recipe, None for a model that reads no images.
        tokenizer: Note tokenizer, None for a model that reads no text.
    """

    volume: VolumeRecipe | None
    tokenizer: NoteTokenizer | None

    @property
    def modalities(self) -> frozenset[Modality]:
        """What this preprocessor, and so its model, can read."""
        readable = {"image": self.volume is not None, "text": self.tokenizer is not None}
        return frozenset(name for name in MODALITIES if readable[name])

    def prepare(self, study: Study) -> tuple[Sample, list[Notice]]:
        """One study to one sample, with what to tell the reader.

        Raises:
            MissingModalityError: If the study holds nothing this model reads.
            ScopeError: If its image is of another kind.
        """
        usable = study.modalities & self.modalities
        if not usable:
            wanted, got = sorted(self.modalities), list[str](sorted(study.modalities)) or ["nothing"]
            msg = f"Expected {' or '.join(wanted)}; got {' and '.join(got)}. Hand in something this model reads."
            raise MissingModalityError(msg)
        notices: list[Notice] = []
        image, tokens = None, None
        if self.volume is not None and "image" in usable:
            resampled, told = resample(study.volumes[0], self.volume)
            image = resampled.as_tensor()
            notices += told
            if len(study.volumes) > 1:
                notices.append(Notice("W_EXTRA_IMAGES", f"Only the first of {len(study.volumes)} images was used."))
        if self.tokenizer is not None and "text" in usable and study.note is not None:
            tokens, told = self.tokenizer.encode(study.note.text)
            notices += told
        return Sample(image, tokens), notices

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples; images are windowed into channels, notes padded to the longest."""
        present: dict[Modality, torch.Tensor] = {name: torch.tensor([name in s.modalities for s in samples]) for name in MODALITIES}
        image = self._stack_images(samples) if present["image"].any() else None
        if not present["text"].any():
            return Batch(image, None, None, None, None, present)
        ids, values, is_number, mask = self._stack_tokens(samples)
        return Batch(image, ids, values, is_number, mask, present)

    def _stack_images(self, samples: Sequence[Sample]) -> torch.Tensor:
        assert self.volume is not None  # samples hold images only when there is a recipe
        shape = (1, *self.volume.shape)
        grids = [torch.zeros(shape) if s.image is None else s.image for s in samples]
        return to_channels(torch.stack(grids), self.volume.windows)

    def _stack_tokens(self, samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        assert self.tokenizer is not None  # samples hold tokens only when there is a tokenizer
        longest = max(len(s.tokens.ids) for s in samples if s.tokens is not None)
        ids = np.full((len(samples), longest), self.tokenizer.pad_id, dtype=np.int64)
        values = np.zeros(ids.shape, dtype=np.float32)
        is_number, mask = np.zeros(ids.shape, dtype=bool), np.zeros(ids.shape, dtype=bool)
        for row, sample in enumerate(samples):
            if sample.tokens is not None:
                count = len(sample.tokens.ids)
                ids[row, :count], values[row, :count] = sample.tokens.ids, sample.tokens.values
                is_number[row, :count], mask[row, :count] = sample.tokens.is_number, True
        return torch.from_numpy(ids), torch.from_numpy(values), torch.from_numpy(is_number), torch.from_numpy(mask)
