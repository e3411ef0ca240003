"""The pretraining network: encoders, under the names they have in a classifier, and the heads of the objectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from medmm.errors import ModelError
from medmm.model import build_encoder
from medmm.pretrained import OBJECTIVES
from medmm.pretrained.config import PretrainedConfig
from medmm.pretrained.contrast import Opened
from medmm.transforms.batch import Batch, Preprocessor, Sample
from medmm.types import FloatArray, Modality

OPENED = "opened"
"""In place of an objective: the space that published weights come with, which nothing is trained by here."""

_BATCH = 32


class PretrainedNetwork(nn.Module):
    """The network of `PretrainedConfig`.

    Args:
        config: What to build.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict({name: build_encoder(name, side) for name, side in config.sides.items()})
        self.objectives = nn.ModuleDict({name: _objective(name)(config, self.encoders) for name in config.objectives})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Loss of each objective that the batch has samples for."""
        losses = {name: objective(self.encoders, batch) for name, objective in self.objectives.items()}
        return {name: loss for name, loss in losses.items() if loss is not None}

    @property
    def alignment(self) -> Any:
        """The objective that brought images and notes into one space.

        Raises:
            ModelError: If there was none.
        """
        for objective in self.objectives.values():
            if hasattr(objective, "embed"):
                return objective
        msg = (
            "Expected encoders pretrained to match images and notes; these were not. "
            "Pretrain with the objective infonce or sigmoid."
        )
        raise ModelError(msg)

    def embed(self, name: Modality, samples: Sequence[Sample], preprocessor: Preprocessor) -> FloatArray:
        """(n, width) unit vectors in the common space of samples that all have this modality.

        Raises:
            ModelError: If images and notes have no common space.
        """
        alignment = self.alignment
        return self._in_batches(lambda *inputs: alignment.embed(self.encoders, name, inputs), name, samples, preprocessor)

    def features(self, name: Modality, samples: Sequence[Sample], preprocessor: Preprocessor) -> FloatArray:
        """(n, D) what the encoder itself says of samples that all have this modality."""
        return self._in_batches(lambda *inputs: self.encoders[name](*inputs).pooled, name, samples, preprocessor)

    @torch.no_grad()
    def _in_batches(
        self, encode: Callable[..., torch.Tensor], name: Modality, samples: Sequence[Sample], preprocessor: Preprocessor
    ) -> FloatArray:
        self.eval()
        reader, rows = preprocessor.readers[name], []
        for start in range(0, len(samples), _BATCH):
            chunk = [samples[i].inputs[name] for i in range(start, min(start + _BATCH, len(samples)))]
            rows.append(encode(*(tensor.to(self.device) for tensor in reader.stack(chunk))).double().cpu())
        return torch.cat(rows).numpy()


def _objective(name: str) -> Any:
    return Opened if name == OPENED else OBJECTIVES.get(name)
