"""From studies to the tensors of one network step.

A modality is one entry of a family: its `Reader` (image, text, audio, tabular) makes tensors of what a
study holds and stacks those of several studies to the inputs of its encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from medmm.errors import MissingModalityError
from medmm.study import Note, Notice, Study
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.columns import TableRecipe
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe
from medmm.types import MODALITIES, Modality, in_words

Tensors = tuple[torch.Tensor, ...]
"""What is read of one modality; without a batch axis in a sample, with one in a batch."""


class Reader(Protocol):
    """Reads one modality."""

    def read(self, study: Study) -> tuple[Tensors, list[Notice]]:
        """Tensors of what a study holds, with what to tell the reader of the result; called only when it holds something."""
        ...

    def stack(self, inputs: Sequence[Tensors | None]) -> Tensors:
        """(B, ...) inputs of the encoder; None for a sample without the modality, at least one is there."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One study ready for the network.

    Attributes:
        inputs: What its readers made of each modality it has.
        trust: How far a modality is trusted, where less than fully.
        note: What its tokens were made from, so that training can vary it.
    """

    inputs: dict[Modality, Tensors]
    trust: dict[Modality, float] = field(default_factory=dict)
    note: Note | None = None

    @property
    def modalities(self) -> frozenset[Modality]:
        """What is present."""
        return frozenset(self.inputs)

    def having(self, name: Modality, *tensors: torch.Tensor) -> Sample:
        """The same sample with other tensors of one modality."""
        return replace(self, inputs={**self.inputs, name: tensors})


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples.

    Attributes:
        inputs: For each modality that a sample has, what its encoder reads; rows of samples without it mean nothing.
        present: For each modality (B,) bool.
        trust: For each modality that a sample trusts less than fully, (B,) from 0 to 1.
    """

    inputs: dict[Modality, Tensors]
    present: dict[Modality, torch.Tensor]
    trust: dict[Modality, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {name: tuple(t.to(device, non_blocking=True) for t in tensors) for name, tensors in self.inputs.items()}
        present, trust = ({name: t.to(device) for name, t in each.items()} for each in (self.present, self.trust))
        return Batch(moved, present, trust)


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """Turns studies into samples and samples into batches, as the stored recipe says.

    Attributes:
        image, text, audio, tabular: Reader of each modality, None for a model that does not read it.
    """

    image: VolumeRecipe | None = None
    text: NoteTokenizer | None = None
    audio: AudioRecipe | None = None
    tabular: TableRecipe | None = None

    @property
    def readers(self) -> dict[Modality, Reader]:
        """Those there are, in canonical order."""
        return {name: reader for name in MODALITIES if (reader := getattr(self, name)) is not None}

    @property
    def modalities(self) -> frozenset[Modality]:
        """What this preprocessor, and so its model, can read."""
        return frozenset(self.readers)

    def prepare(self, study: Study) -> tuple[Sample, list[Notice]]:
        """One study to one sample, with what to tell the reader.

        Raises:
            MissingModalityError: If the study holds nothing this model reads.
            ScopeError: If its image is of another kind.
        """
        study, notices = self._reading_only_its_sections(study)
        usable = study.modalities & self.modalities
        if not usable:
            wanted = [in_words(name) for name in self.readers]
            got = [in_words(name) for name in MODALITIES if name in study.modalities | study.unopened] or ["none of it"]
            msg = f"Expected {' or '.join(wanted)}; got {' and '.join(got)}. Hand in something this model reads."
            msg = " ".join([msg, *(notice.message for notice in notices)])
            raise MissingModalityError(msg)
        read = {name: reader.read(study) for name, reader in self.readers.items() if name in usable}
        notices += [notice for _, told in read.values() for notice in told]
        note = study.note if "text" in read else None
        trust: dict[Modality, float] = {"text": note.confidence} if note is not None and note.confidence < 1 else {}
        return Sample({name: tensors for name, (tensors, _) in read.items()}, trust, note), notices

    def _reading_only_its_sections(self, study: Study) -> tuple[Study, list[Notice]]:
        if study.note is None or self.text is None:
            return study, []
        kept = study.note.keeping(self.text.sections)
        return replace(study, note=kept), list(kept.notices[len(study.note.notices) :])

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples; what no sample has takes no room."""
        present = {name: torch.tensor([name in s.inputs for s in samples]) for name in self.readers}
        found = {name: reader for name, reader in self.readers.items() if bool(present[name].any())}
        inputs = {name: reader.stack([s.inputs.get(name) for s in samples]) for name, reader in found.items()}
        trust = {name: torch.tensor([s.trust.get(name, 1.0) for s in samples]) for name in {n for s in samples for n in s.trust}}
        return Batch(inputs, present, trust)

    def batches(self, samples: Sequence[Sample], size: int, device: torch.device) -> Iterator[Batch]:
        """All samples in their order, on a device; each is looked up when its batch is due."""
        for start in range(0, len(samples), size):
            yield self.collate([samples[i] for i in range(start, min(start + size, len(samples)))]).to(device)
