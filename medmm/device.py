"""Where to compute, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from medmm.errors import DeviceError

Precision = Literal["auto", "fp32", "bf16", "fp16"]


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


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The type in which matrix products are computed; weights stay in float32.

    `auto` takes bfloat16 on CUDA devices that have it. On CPUs it is asked for: it moves probabilities by up to
    about 0.01 (docs/method.md), and what it gains depends on the processor (benchmarks/image_encoders.py).

    Raises:
        DeviceError: If `fp16` is asked for on a device without the scaling of losses that it needs.
    """
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if precision == "fp16" and device.type == "mps":
        msg = "Expected precision fp32 or bf16 on mps, where losses are not scaled; got fp16."
        raise DeviceError(msg)
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
