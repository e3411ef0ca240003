"""Training studies varied: one seeded generator, one file of changes a modality. Never used outside of training."""

from __future__ import annotations

import numpy as np

from medmm.study import Study
from medmm.transforms.augment.audio import change_recording
from medmm.transforms.augment.choice import Augmentation
from medmm.transforms.augment.image import change_image
from medmm.transforms.augment.tabular import change_values
from medmm.transforms.augment.text import change_note, hide_tokens
from medmm.transforms.batch import Preprocessor, Sample

__all__ = ["Augmentation", "Augmenter"]


class Augmenter:
    """Varies prepared samples.

    Args:
        preprocessor: Made them.
        choices: What may be varied.
        seed: Of every random choice.
    """

    def __init__(self, preprocessor: Preprocessor, choices: Augmentation, seed: int) -> None:
        self.preprocessor, self.choices = preprocessor, choices
        self._rng = np.random.default_rng(seed)

    def __call__(self, sample: Sample) -> Sample:
        """The sample with each of its modalities varied."""
        image, audio, table = sample.inputs.get("image"), sample.inputs.get("audio"), sample.inputs.get("tabular")
        if image is not None and self.preprocessor.image is not None:
            sample = sample.having("image", change_image(image[0], self.preprocessor.image, self.choices.image, self._rng))
        if audio is not None:
            sample = sample.having("audio", change_recording(audio[0], self.choices.audio, self._rng))
        if table is not None:
            sample = sample.having("tabular", *change_values(table[0], table[1], self.choices.tabular, self._rng))
        return self._with_other_words(sample)

    def _with_other_words(self, sample: Sample) -> Sample:
        reader, changes = self.preprocessor.text, self.choices.text
        if reader is None or "text" not in sample.inputs:
            return sample
        tokens = sample.inputs["text"]
        if sample.note is not None and (changes.synonyms or changes.typos or changes.sections):
            tokens, _ = reader.read(Study(note=change_note(sample.note, changes, self._rng)))
        if changes.tokens:
            tokens = hide_tokens(tokens, reader.hidden_id, changes.tokens, self._rng)
        return sample.having("text", *tokens)
