"""Where to compute is chosen, never guessed twice."""

from __future__ import annotations

import pytest
import torch

from medmm.device import Precision, choose_device, choose_dtype
from medmm.errors import DeviceError


def test_auto_takes_the_best_there_is() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device().type == best


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_named_device_is_used_or_refused_but_never_replaced(name: str) -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[name.partition(":")[0]]
    if there:
        assert choose_device(name).type == name.partition(":")[0]
    else:
        with pytest.raises(DeviceError, match="cpu"):
            choose_device(name)


@pytest.mark.parametrize("name", ["", "tpu", "CPU", "../cpu"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError):
        choose_device(name)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_on_a_cpu_half_precision_is_used_only_when_asked_for(precision: Precision, expected: torch.dtype) -> None:
    assert choose_dtype(precision, torch.device("cpu")) == expected


def test_fp16_is_refused_where_losses_are_not_scaled() -> None:
    with pytest.raises(DeviceError, match="fp32 or bf16 on mps"):
        choose_dtype("fp16", torch.device("mps"))
