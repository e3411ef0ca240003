"""Weights kept small: integers of eight bits, only what was not pruned, half precision; on disk and in the network.

A tensor `w` stands in the file as itself, or with one or two companions:

    w (int8), w_scale    w = w_scale * w, one scale for each index of the first axis
    w (1-D), w_kept      the values that are not zero in the order of their places, and a bit for each place
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import nn
from torch.nn import functional

from medmm.errors import ModelError

State = dict[str, torch.Tensor]
Stored = Literal["float32", "float16", "bfloat16"]
PrunedBy = Literal["values", "rows"]
_SCALE, _KEPT = "_scale", "_kept"
_LEVELS = 127
_SMALL = 4096  # values; smaller tensors are little to save and much to lose
_WHOLE = (nn.TransformerEncoderLayer, nn.MultiheadAttention)  # they hand the weights of their linear layers to fused code


@dataclass(frozen=True, slots=True)
class Packing:
    """How weights are kept smaller than they were trained.

    Attributes:
        int8: Large weights as integers of eight bits, and linear layers computed with them.
        pruned: Share of each large weight that is zero, the smallest.
        pruned_by: Whether single values are the smallest, or whole rows: all that leads to one output channel.
        stored: Precision in which all other weights are stored; they are computed in float32.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    int8: bool = False
    pruned: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pruned_by: PrunedBy = "values"
    stored: Stored = "float32"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Any) -> Packing:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If it is not of this form.
        """
        try:
            return _PACKING.validate_python(content)
        except ValidationError:
            msg = "Expected a packing with int8, pruned and stored as this version knows them; got another."
            raise ModelError(msg) from None


_PACKING = TypeAdapter(Packing)


class Int8Linear(nn.Module):
    """A linear layer of eight-bit weights; its input is brought to eight bits row by row as it comes.

    Weights are symmetric with one scale an output, inputs symmetric with one scale a row (dynamic quantisation, after
    Jacob et al. 2018). Where a gradient is asked for, the input is left as it is.

    Args:
        layer: The layer it stands for; its weights are loaded, not taken over.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("weight", torch.zeros(layer.weight.shape, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.ones(layer.out_features))
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out) in float32."""
        if x.requires_grad:
            return functional.linear(x, self.weight * self.weight_scale[:, None], self.bias)
        rows = x.reshape(-1, self.in_features).float()
        scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-30) / _LEVELS
        product = _product((rows / scale).round_().to(torch.int8), self.weight)
        y = product.mul_(scale).mul_(self.weight_scale).reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


def _product(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, in) and (out, in) integers to their (N, out) products; other devices restrict the shapes of their integer kernels."""
    return torch._int_mm(rows, weight.t()).float() if rows.is_cpu else rows.float() @ weight.float().t()


def with_int8_layers(module: nn.Module) -> None:
    """Put `Int8Linear` in the place of every large linear layer whose weights nothing but itself reads."""
    for name, child in module.named_children():
        if type(child) is nn.Linear and child.weight.numel() >= _SMALL:
            setattr(module, name, Int8Linear(child))
        elif not isinstance(child, _WHOLE):
            with_int8_layers(child)


def pack(state: State, packing: Packing) -> State:
    """What is written to the file of a network's weights; what is packed already stays so."""
    packed: State = {}
    for name, tensor in state.items():
        large = tensor.dim() > 1 and tensor.numel() >= _SMALL
        parts = {name: tensor}
        if large and tensor.is_floating_point():
            parts = _pruned_and_narrow(name, tensor, packing)
        elif tensor.is_floating_point() and not _is_scale(name, state):
            parts = {name: _stored(name, tensor, packing.stored)}
        packed |= _sparse(name, parts) if packing.pruned and large else parts
    return packed


def unpack(state: State, expected: State) -> State:
    """Weights for a network that has the tensors `expected`; what the network keeps as integers stays so.

    Raises:
        ModelError: If companions do not fit.
    """
    found = dict(state)
    try:
        for name in _companions(_KEPT, state, expected):
            whole = name.removesuffix(_KEPT)
            found[whole] = _dense(found[whole], found.pop(name), expected[whole].shape)
        for name in _companions(_SCALE, state, expected):
            whole = name.removesuffix(_SCALE)
            found[whole] = found[whole] * found.pop(name).reshape(-1, *[1] * (found[whole].dim() - 1))
    except (KeyError, RuntimeError):
        msg = "Expected packed weights that fill their places exactly; some do not."
        raise ModelError(msg) from None
    return found


def _companions(suffix: str, state: State, expected: State) -> list[str]:
    """Names in a file that belong to a tensor of the network and are none themselves."""
    return [n for n in state if n.endswith(suffix) and n not in expected and n.removesuffix(suffix) in expected]


def _is_scale(name: str, state: State) -> bool:
    whole = state.get(name.removesuffix(_SCALE))
    return name.endswith(_SCALE) and whole is not None and whole.dtype == torch.int8


def _pruned_and_narrow(name: str, tensor: torch.Tensor, packing: Packing) -> State:
    tensor = _pruned(tensor, packing.pruned, packing.pruned_by)
    return _quantised(name, tensor) if packing.int8 else {name: _stored(name, tensor, packing.stored)}


def _pruned(tensor: torch.Tensor, share: float, by: PrunedBy) -> torch.Tensor:
    """Without what is smallest in it (magnitude pruning, Han et al. 2015; of rows by their length, after Li et al. 2017)."""
    parts = tensor.reshape(-1, 1) if by == "values" else tensor.flatten(1)
    smallest = parts.norm(dim=1).argsort(stable=True)[: int(share * len(parts))]
    return parts.index_fill(0, smallest, 0.0).reshape(tensor.shape)


def _quantised(name: str, tensor: torch.Tensor) -> State:
    rows = tensor.flatten(1)
    scale = rows.abs().amax(1).clamp_min(1e-30) / _LEVELS
    return {name: (rows / scale[:, None]).round().to(torch.int8).reshape(tensor.shape), name + _SCALE: scale}


def _stored(name: str, tensor: torch.Tensor, stored: Stored) -> torch.Tensor:
    narrow = tensor.to(getattr(torch, stored))
    if not bool(torch.isfinite(narrow).all()):
        msg = f"Expected weights within the range of {stored}; {name} is not. Store them as bfloat16."
        raise ModelError(msg)
    return narrow


def _sparse(name: str, parts: State) -> State:
    """Only what is not zero, where that is smaller."""
    tensor = parts[name]
    kept = (tensor != 0).flatten()
    bits = -(-kept.numel() // 8)
    if int(kept.sum()) * tensor.element_size() + bits >= tensor.numel() * tensor.element_size():
        return parts
    places = functional.pad(kept.to(torch.uint8), (0, 8 * bits - kept.numel())).view(bits, 8)
    packed = (places << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)
    return {**parts, name: tensor.flatten()[kept], name + _KEPT: packed}


def _dense(values: torch.Tensor, packed: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    places = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    kept = places.flatten().bool()[: prod(shape)]
    if kept.numel() != prod(shape) or int(kept.sum()) != values.numel():
        raise RuntimeError
    whole = torch.zeros(prod(shape), dtype=values.dtype)
    whole[kept] = values
    return whole.reshape(shape)
