"""Adapters: few new weights inside an encoder that itself stays as it is, merged into it in the end (through `peft`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import nn

from medmm.encoders.volumes import own_encoder
from medmm.errors import TaskError
from medmm.optional import require
from medmm.types import Modality

Kind = Literal["lora", "dora", "loha", "lokr", "ia3"]

_FITS: dict[Kind, tuple[type[nn.Module], ...]] = {
    "lora": (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "dora": (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "loha": (nn.Linear, nn.Conv1d, nn.Conv2d),
    "lokr": (nn.Linear, nn.Conv1d, nn.Conv2d),
    "ia3": (nn.Linear, nn.Conv2d, nn.Conv3d),
}


@dataclass(frozen=True, slots=True)
class Peft:
    """Adapters of one encoder.

    Attributes:
        kind: `lora` (Hu et al. 2022), `dora` (Liu et al. 2024), `loha` (Hyeon-Woo et al. 2022), `lokr` (Yeh et al. 2024) or
            `ia3` (Liu et al. 2022).
        rank: Of the change of a matrix; `ia3` has none.
        alpha: The change counts `alpha / rank` times; `ia3` has none.
        targets: Ends of names of the layers that get one; every linear layer and convolution it fits when empty.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Kind = "lora"
    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16.0
    targets: tuple[str, ...] = ()


class Adapters:
    """What was put into encoders, until it is merged; all weights that were there before are frozen.

    Args:
        encoders: Changed in place.
        choices: By modality; those of which there is no encoder are left out.

    Raises:
        TaskError: If an encoder has no layer that fits.
        DependencyError: If `peft` is not installed.
    """

    def __init__(self, encoders: nn.ModuleDict, choices: Mapping[Modality, Peft]) -> None:
        self._tuners = [_adapt(own_encoder(encoders[name]), choice) for name, choice in choices.items() if name in encoders]

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Keep torch from its fused transformer layers, which read weights past their adapters."""
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(fused and not self._tuners)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)

    def merge(self) -> None:
        """Add what was learned to the weights of the encoders, which have the layers they had before."""
        for tuner in self._tuners:
            tuner.merge_and_unload()
        self._tuners = []


def _adapt(encoder: nn.Module, choice: Peft) -> Any:
    peft = require("peft", "An adapter", "peft")
    plain = _of_zeros(encoder) if choice.kind == "dora" else []
    fitting = [name for name in _layers_for(encoder, choice.kind) if name not in plain]
    targets = list(choice.targets) or "|".join(map(re.escape, fitting))  # a list would also name layers that end alike
    size: dict[str, Any] = {"r": choice.rank}
    match choice.kind:
        case "ia3":
            config = peft.IA3Config(target_modules=targets, feedforward_modules=[])
        case "loha":
            config = peft.LoHaConfig(target_modules=targets, alpha=choice.alpha, **size)
        case "lokr":
            config = peft.LoKrConfig(target_modules=targets, alpha=choice.alpha, **size)
        case "lora" | "dora":
            size |= {"lora_alpha": choice.alpha, "use_dora": choice.kind == "dora", "modules_to_save": plain or None}
            config = peft.LoraConfig(target_modules=targets, **size)
    try:
        return peft.get_peft_model(encoder, config)
    except (ValueError, NotImplementedError, TypeError):
        known = sorted({name.rpartition(".")[2] for name in fitting})
        msg = f"Expected layers that {choice.kind} fits, such as those ending in {', '.join(known) or 'none'}; got other targets."
        raise TaskError(msg) from None


def _layers_for(encoder: nn.Module, kind: Kind) -> list[str]:
    """Names of layers that an adapter fits.

    Left out are the output layer of torch's attention, whose weights are read past any adapter, convolutions of Hugging Face
    encoders, of which some ask a convolution for its stride, convolutions in groups, dilated ones where the adapter is a
    convolution too, which peft 0.21 does not dilate, and those of one voxel in three dimensions, which it cannot merge.
    """
    from transformers import PreTrainedModel

    left_out = {id(m.out_proj) for m in encoder.modules() if isinstance(m, nn.MultiheadAttention)}
    foreign = {id(m) for net in encoder.modules() if isinstance(net, PreTrainedModel) for m in net.modules()}
    for module in encoder.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            dilated = max(module.dilation) > 1 and kind in ("lora", "dora")
            if id(module) in foreign or module.groups > 1 or dilated or module.kernel_size[:2] == (1, 1):
                left_out.add(id(module))
    return [name for name, m in encoder.named_modules() if isinstance(m, _FITS[kind]) and id(m) not in left_out]


def _of_zeros(encoder: nn.Module) -> list[str]:
    """Linear layers whose weights begin with zeros, as those of number values: DoRA would divide by their length."""
    return [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear) and not module.weight.any()]
