"""Weights on disk: safetensors, hashed, and refused when anything is missing, extra or not finite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from medmm.disk import replace_bytes, sha256_of
from medmm.errors import MedmmError, ModelError
from medmm.packed import Packing, pack, unpack

MANIFEST = "sha256.json"


def save_weights(module: nn.Module, path: Path, packing: Packing | None = None) -> None:
    """Write all parameters and buffers in one step, packed if asked; an interrupted write leaves the old file."""
    from safetensors.torch import save

    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    replace_bytes(path, save(pack(state, packing) if packing else state))


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module exactly, from weights as they are or packed.

    Raises:
        ModelError: If a tensor is missing, extra, of another shape, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError):
        msg = "Expected readable weights in safetensors format; the file is missing or damaged."
        raise ModelError(msg) from None
    expected = module.state_dict()
    state = unpack(state, expected)
    missing, extra = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or extra:
        msg = f"Expected exactly the weights of the configuration; missing {missing[:3] or 'none'}, extra {extra[:3] or 'none'}."
        raise ModelError(msg)
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            msg = f"Expected shape {tuple(expected[name].shape)} for {name}; got {tuple(tensor.shape)}."
            raise ModelError(msg)
    refuse_not_finite(state, expected, ModelError)
    module.load_state_dict(state, strict=True)


def refuse_not_finite(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], error: type[MedmmError]) -> None:
    """Refuse weights that would make every answer NaN; each tensor is read once and no copy is made.

    Args:
        state: Tensors by name, as read.
        expected: Tensors they are copied to, whose type may be narrower; others are not looked at.
        error: To raise.

    Raises:
        MedmmError: Of that class, if one holds NaN, infinity or a value beyond the range of its place.
    """
    for name, place in expected.items():
        tensor = state[name]
        if tensor.is_floating_point() and tensor.numel() and not bool(_ends(tensor).to(place.dtype).isfinite().all()):
            msg = f"Expected finite weights; {name} holds NaN, infinity or a value too large."
            raise error(msg)


def _ends(tensor: torch.Tensor) -> torch.Tensor:
    """(2,) least and greatest value; both are NaN where one value is."""
    return torch.stack(torch.aminmax(tensor))


def write_manifest(folder: Path, names: list[str]) -> None:
    """Record the SHA-256 of the files that make up a model folder."""
    digests = {name: sha256_of(folder / name) for name in sorted(names)}
    replace_bytes(folder / MANIFEST, (json.dumps(digests, indent=2) + "\n").encode())


def check_manifest(folder: Path, required: set[str], optional: set[str]) -> str:
    """Check every file of a model folder.

    Args:
        folder: Model folder.
        required: Files that must be listed.
        optional: Files that must be listed if they are there.

    Returns:
        SHA-256 of the manifest: the identity of the model.

    Raises:
        ModelError: If a file is missing or differs from its recorded digest.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
        digests = dict(json.loads(content))
        listed = set(digests)
    except (OSError, ValueError, TypeError):
        msg = f"Expected a model folder with {MANIFEST}; there is none. Is training finished?"
        raise ModelError(msg) from None
    there = {name for name in optional if (folder / name).exists()}
    if (required | there) - listed or any(Path(name).name != name for name in listed):
        msg = f"Expected {', '.join(sorted(required | there))} in {MANIFEST}; the list is incomplete."
        raise ModelError(msg)
    for name, digest in digests.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            msg = f"Expected {name} as it was saved; it is missing or has been altered."
            raise ModelError(msg)
    return hashlib.sha256(content).hexdigest()
