"""Cases that weights learn from, and what weights that did not see them answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medmm.fusion import Present
from medmm.model import Classifier
from medmm.training.config import Asked, TrainConfig
from medmm.transforms.augment import Augmenter
from medmm.transforms.batch import Preprocessor, Sample
from medmm.types import AnyArray, FloatArray, IntArray, pattern_name


@dataclass(frozen=True, slots=True)
class Examples:
    """Samples with their targets.

    Attributes:
        samples: Network-ready studies.
        target: (n, K), NaN where unknown.
        taught: (n, K) probabilities of a teacher, NaN rows where it has none; None without a teacher.
        further: Of each further task (n, k), NaN where unknown.
    """

    samples: Sequence[Sample]
    target: FloatArray
    taught: FloatArray | None = None
    further: tuple[FloatArray, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)


class Varied:
    """Samples as training meets them: varied anew in every epoch, where the configuration says so.

    Args:
        samples: Network-ready studies.
        preprocessor: Made them.
        config: Choices.
    """

    def __init__(self, samples: Sequence[Sample], preprocessor: Preprocessor, config: TrainConfig) -> None:
        self.samples, self.preprocessor, self.config = samples, preprocessor, config
        self._augment: Augmenter | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def begin_epoch(self, seed: int) -> None:
        """Vary from this seed."""
        self._augment = Augmenter(self.preprocessor, self.config.augmentation, seed) if self.config.augment else None

    def take(self, chosen: Sequence[int]) -> list[Sample]:
        """Some of them."""
        samples = [self.samples[i] for i in chosen]
        return samples if self._augment is None else [self._augment(sample) for sample in samples]


@dataclass(frozen=True, eq=False)
class Heldout:
    """Logits for samples the weights did not see.

    Attributes:
        target: (n, K), NaN where unknown.
        logits: For each pattern name (n, K), NaN where a sample lacks part of it; or under `whole` from all that each has.
        complete: For the same names (n,) bool, samples that have all of it.
        further: Of each further task (n, k) target and (n, m) output of its head, from everything the sample has.
    """

    target: FloatArray
    logits: dict[str, FloatArray]
    complete: dict[str, AnyArray]
    further: tuple[tuple[FloatArray, FloatArray], ...] = ()

    @classmethod
    def joined(cls, parts: dict[int, Heldout], fold: IntArray) -> Heldout:
        """Put the parts of all folds back in the order of the cases."""
        order = np.argsort(np.concatenate([np.flatnonzero(fold == f) for f in parts]))
        patterns = next(iter(parts.values())).logits
        return cls(
            np.concatenate([p.target for p in parts.values()])[order],
            {n: np.concatenate([p.logits[n] for p in parts.values()])[order] for n in patterns},
            {n: np.concatenate([p.complete[n] for p in parts.values()])[order] for n in patterns},
            tuple(
                (np.concatenate([t for t, _ in task])[order], np.concatenate([o for _, o in task])[order])
                for task in zip(*(p.further for p in parts.values()), strict=True)
            ),
        )

    def take(self, rows: AnyArray) -> Heldout:
        """A subset of samples."""
        logits, complete = ({n: v[rows] for n, v in part.items()} for part in (self.logits, self.complete))
        return Heldout(self.target[rows], logits, complete, tuple((t[rows], output[rows]) for t, output in self.further))


@torch.no_grad()
def heldout_logits(
    model: Classifier, preprocessor: Preprocessor, examples: Examples, batch_size: int, asked: Asked = "subsets"
) -> Heldout:
    """Logits of every sample, in float64, and the outputs for each further task.

    Args:
        model: Is put into use.
        preprocessor: Collates samples.
        examples: Whom to ask about.
        batch_size: Samples answered at once.
        asked: For every subset of modalities, or for the `whole` of what each sample has, which costs less.
    """
    model.eval()
    logits: dict[str, list[FloatArray]] = defaultdict(list)
    complete: dict[str, list[AnyArray]] = defaultdict(list)
    outputs: list[tuple[torch.Tensor, ...]] = []
    for batch in preprocessor.batches(examples.samples, batch_size, model.device):
        features = model.encode(batch)
        outputs.append(model.further(features, batch.present))
        for name, (values, has_all) in _answers(model, features, batch.present, asked).items():
            logits[name].append(values.double().cpu().numpy())
            complete[name].append(has_all.cpu().numpy())
    return Heldout(
        examples.target,
        {n: np.concatenate(v) for n, v in logits.items()},
        {n: np.concatenate(v) for n, v in complete.items()},
        tuple(
            (target, torch.cat(output).double().cpu().numpy())
            for target, output in zip(examples.further, zip(*outputs, strict=True), strict=True)
        ),
    )


def _answers(model: Classifier, features: Any, present: Present, asked: Asked) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """For each name of what is asked the logits of a batch, and which of its samples have all of that."""
    if asked == "whole":
        logits = model.answer(features, present)
        return {"whole": (logits, torch.ones(len(logits), dtype=torch.bool))}
    return {pattern_name(pattern): answer for pattern, answer in model.answer_patterns(features, present).items()}
