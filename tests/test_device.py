"""Where to compute is chosen, never guessed twice."""

from __future__ import annotations

import pytest
import torch

from medmm.device import choose_device, use_bf16
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


@pytest.mark.parametrize(("precision", "expected"), [("auto", False), ("fp32", False), ("bf16", True)])
def test_on_a_cpu_bf16_is_used_only_when_asked_for(precision: str, expected: bool) -> None:
    assert use_bf16(precision, torch.device("cpu")) == expected  # type: ignore[arg-type]
