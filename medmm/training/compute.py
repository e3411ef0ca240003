"""The same numbers for less memory or time: activations computed again, encoders compiled, bf16 where it can be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medmm.encoders.volumes import own_encoder
from medmm.errors import TaskError
from medmm.types import Modality


class CompilerWarning(UserWarning):
    """Nothing was compiled."""


@contextmanager
def recomputed(encoders: nn.ModuleDict, names: Sequence[Modality]) -> Iterator[None]:
    """Keep the inputs of an encoder's blocks alone, and compute what is inside again on the way back (Chen et al. 2016).

    Raises:
        TaskError: If an encoder cannot.
    """
    with ExitStack() as stack:
        for name in names:
            if name in encoders:
                for block in _blocks_of(own_encoder(encoders[name])):
                    _run_as(block, _forgetting(block), stack)
        yield


@contextmanager
def compiled(encoders: nn.ModuleDict, device: torch.device, wanted: bool) -> Iterator[None]:
    """Compile encoders inside the block; without a compiler say so and go on."""
    with ExitStack() as stack:
        if wanted and not _compiles(device):
            msg = "Nothing was compiled: torch found no working compiler here, such as g++. Training goes on without."
            warnings.warn(msg, CompilerWarning, stacklevel=2)
        elif wanted:
            for encoder in encoders.values():
                own: Any = own_encoder(encoder)
                _run_as(own, torch.compile(own.forward), stack)
        yield


@contextmanager
def thin_in_float32(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute strided convolutions to a map one wide in its last axis in float32, where bf16 is asked of a CPU.

    In bf16 they answer anything, up to infinity (https://github.com/pytorch/pytorch/issues/169688).
    """
    with ExitStack() as stack:
        if device.type == "cpu" and dtype == torch.bfloat16:
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.Conv3d) and module.stride[-1] > 1:
                    _run_as(module, _exact_if_thin(module), stack)
        yield


def _exact_if_thin(convolution: nn.Conv2d | nn.Conv3d) -> Callable[[torch.Tensor], torch.Tensor]:
    forward, padding = convolution.forward, int(convolution.padding[-1])  # a stride allows no padding in words
    reach = convolution.dilation[-1] * (convolution.kernel_size[-1] - 1)

    def run(x: torch.Tensor) -> torch.Tensor:
        if (x.shape[-1] + 2 * padding - reach - 1) // convolution.stride[-1] > 0:
            return forward(x)
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    return run


def _blocks_of(encoder: Any) -> list[nn.Module]:
    within = encoder.get_submodule(encoder.recomputable)
    if isinstance(within, nn.ModuleList | nn.Sequential):
        return list(within)
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks = [module for module in within.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not blocks:
        msg = "Expected no gradient_checkpointing with this Hugging Face encoder, which has no blocks for it. Leave it out."
        raise TaskError(msg)
    return blocks


def _forgetting(block: nn.Module) -> Callable[..., Any]:
    forward = block.forward

    def run(*inputs: Any, **named: Any) -> Any:
        if torch.is_grad_enabled():
            return checkpoint(forward, *inputs, use_reentrant=False, **named)
        return forward(*inputs, **named)

    return run


def _run_as(module: Any, forward: Callable[..., Any], stack: ExitStack) -> None:
    """Let this be a module's forward, and its own again in the end; names of weights stay."""
    module.forward = forward
    stack.callback(delattr, module, "forward")


def _compiles(device: torch.device) -> bool:
    try:
        torch.compile(lambda x: (2 * x + 1).relu())(torch.ones(8, device=device))
    except Exception:  # a missing compiler shows in many ways
        return False
    return True
