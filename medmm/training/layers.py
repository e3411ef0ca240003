"""An encoder as layers from its input to its output: which of them learn in an epoch, and how fast."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import groupby

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medmm.encoders.text import HuggingFace
from medmm.encoders.volumes import own_encoder
from medmm.training.config import TrainConfig
from medmm.types import MODALITIES, Modality

Layer = list[nn.Parameter]

_NUMBERED = re.compile(r"^(?:.*?\.)??\w*?\d(?=\.)")  # the name up to its first part that ends in a number


class LoneCaseWarning(UserWarning):
    """Norms that average batches see one case at a time."""


def layers_of(encoder: nn.Module) -> list[Layer]:
    """Parameters in order of definition, the pooling ones last, cut where the number in their names changes.

    What comes before the first numbered part (embeddings, a stem) is a layer, so is what comes after the last (pooling).
    Norms belong to the layer before them.
    """
    named = sorted(encoder.named_parameters(), key=lambda item: "pool" in item[0].split("."))
    layers: list[Layer] = []
    for _, group in groupby(named, key=lambda item: _place(item[0])):
        layer = [parameter for _, parameter in group]
        if layers and all(p.ndim <= 1 for p in layer):
            layers[-1] += layer
        else:
            layers.append(layer)
    return layers


def choose_learning(encoders: nn.ModuleDict, config: TrainConfig, epoch: int) -> None:
    """Set which parameters of encoders in training mode learn in this epoch.

    Frozen encoders neither drop out nor average batches; of one that is opened layer by layer (Howard and Ruder 2018) the
    last layer follows after `unfreeze` epochs, the one before it after as many again.
    """
    for name, encoder in _named(encoders):
        own: nn.Module = own_encoder(encoder)
        if name in config.frozen:
            encoder.requires_grad_(False)
            encoder.eval()
        elif name in config.unfreeze:
            layers = layers_of(own)
            closed = max(0, len(layers) - epoch // config.unfreeze[name])
            for index, layer in enumerate(layers):
                for parameter in layer:
                    parameter.requires_grad_(index >= closed)
            if closed:
                keep_statistics(own)
        elif name in config.peft:
            keep_statistics(own)


def keep_statistics(encoder: nn.Module) -> None:
    """An encoder whose norms average batches goes on with the averages it has; they would move although nothing learns."""
    if _averages_batches(encoder):
        encoder.eval()


def warn_of_lone_cases(encoders: nn.ModuleDict, config: TrainConfig, processes: int) -> None:
    """Warn where norms of an image encoder average batches that never hold two images: they keep the averages they begin with."""
    if "image" not in encoders or "image" in (*config.frozen, *config.peft) or config.batch_size >= 2 * processes:
        return
    if _averages_batches(own_encoder(encoders["image"])):
        msg = (
            f"Expected a batch_size of {2 * processes} or more, two cases for each process; got {config.batch_size}. The norms of "
            "the image encoder average batches and learn nothing from single cases. Raise it, or take image_encoder=patch or vit."
        )
        warnings.warn(msg, LoneCaseWarning, stacklevel=2)


def _averages_batches(encoder: nn.Module) -> bool:
    return any(isinstance(module, _BatchNorm) for module in encoder.modules())


def paces_of(encoders: nn.ModuleDict, config: TrainConfig) -> dict[nn.Parameter, float]:
    """Learning rate of encoders' parameters over the common one, 1 where it is not stated.

    Encoders that came with weights, Hugging Face text encoders among them, know something already and move at
    `pretrained_rate`; `layer_decay` slows each layer against the one after it (Clark et al. 2020).
    """
    paces: dict[nn.Parameter, float] = {}
    for name, encoder in _named(encoders):
        own = own_encoder(encoder)
        knows = isinstance(own, HuggingFace) or config.source(name) is not None
        if knows and name not in config.peft:  # adapters are new
            paces |= dict.fromkeys(getattr(own, "net", own).parameters(), config.pretrained_rate / config.learning_rate)
        decay = config.layer_decay.get(name, 1.0)
        for depth, layer in enumerate(reversed(layers_of(own))):
            paces |= {parameter: paces.get(parameter, 1.0) * decay**depth for parameter in layer}
    return paces


def _named(encoders: nn.ModuleDict) -> Iterator[tuple[Modality, nn.Module]]:
    return ((name, encoders[name]) for name in MODALITIES if name in encoders)


def _place(name: str) -> str:
    found = _NUMBERED.match(name)
    return found[0] if found else ""
