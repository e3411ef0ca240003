"""Several networks that differ in their random start and answer as one (deep ensembles, Lakshminarayanan et al. 2017).

Each was trained by itself; the mean of their probabilities is less sure where they disagree. Calibration comes after the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from medmm.fusion import Present
from medmm.model import Classifier, ModelConfig, MultimodalClassifier
from medmm.transforms.batch import Batch
from medmm.types import Modality


class Ensemble(Classifier):
    """The mean of several networks of one configuration.

    Args:
        members: The networks.
    """

    def __init__(self, members: Sequence[MultimodalClassifier]) -> None:
        super().__init__(members[0].config)
        self.members = nn.ModuleList(members)

    @property
    def networks(self) -> tuple[MultimodalClassifier, ...]:
        """In the order of their training."""
        return tuple(self.members)  # type: ignore[arg-type]  # a list of modules does not say of which

    def encode(self, batch: Batch) -> Any:
        """Features of each network."""
        return [network.encode(batch) for network in self.networks]

    def answer(self, features: Any, present: Present) -> torch.Tensor:
        """(B, classes) logits of the mean probabilities."""
        return self._mean(self.answer_each(features, present))

    def answer_each(self, features: Any, present: Present) -> tuple[torch.Tensor, ...]:
        """(B, classes) logits of each network."""
        return tuple(network.answer(own, present) for network, own in self._each(features))

    def answer_patterns(self, features: Any, present: Present) -> dict[frozenset[Modality], tuple[torch.Tensor, torch.Tensor]]:
        """Answers from every subset of modalities; see `Classifier`."""
        first, *others = (network.answer_patterns(own, present) for network, own in self._each(features))
        return {
            pattern: (self._mean([logits, *(answers[pattern][0] for answers in others)]), complete)
            for pattern, (logits, complete) in first.items()
        }

    def further(self, features: Any, present: Present) -> tuple[torch.Tensor, ...]:
        """Mean output of each further task's head."""
        outputs = [network.further(own, present) for network, own in self._each(features)]
        return tuple(torch.stack(of_task).mean(0) for of_task in zip(*outputs, strict=True))

    def learned(self) -> dict[str, float]:
        """What the fusion layer of each network learned."""
        return {f"{key} of member {m}": value for m, n in enumerate(self.networks) for key, value in n.learned().items()}

    def _each(self, features: Any) -> zip[tuple[MultimodalClassifier, Any]]:
        return zip(self.networks, features, strict=True)

    def _mean(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, classes) logits whose probabilities are the mean of those of each (B, classes)."""
        stacked = torch.stack(list(logits))
        if self.config.kind == "multilabel":
            return logsigmoid(stacked).logsumexp(0) - logsigmoid(-stacked).logsumexp(0)
        return stacked.log_softmax(-1).logsumexp(0) - math.log(len(stacked))


def classifier_of(config: ModelConfig) -> Classifier:
    """What a configuration describes, with random weights."""
    members = [MultimodalClassifier(config) for _ in range(config.members)]
    return Ensemble(members) if members[1:] else members[0]
