"""Where to compute, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from medmm.errors import DeviceError

Precision = Literal["auto", "fp32", "bf16"]


def choose_device(name: str = "auto") -> torch.device:
    """The device to use: CUDA, else Apple's MPS, else the CPU; or exactly the one named.

    Raises:
        DeviceError: If a named device is not there; never falls back silently.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = name.partition(":")[0]
    if not available.get(kind, False):
        msg = f"Expected one of the devices {', '.join(k for k, there in available.items() if there)}; got {name!r}."
        raise DeviceError(msg)
    return torch.device(name)


def use_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bfloat16.

    `auto` does so on CUDA devices that have it. On CPUs the default network gains about a tenth
    from it (see benchmarks/), not worth giving up reproducible digits.
    """
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16"
