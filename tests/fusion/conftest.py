"""Features of four modalities made by chance, as encoders would hand them over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.fusion import FUSIONS

WIDTH = 16
LENGTHS = {"image": 8, "text": 5, "audio": 6, "tabular": 3}


@pytest.fixture
def build() -> Callable[..., Any]:
    """A fusion with weights as after training: nothing is zero."""

    def make(name: str, names: tuple[str, ...] = ("image", "text"), channels: int = WIDTH) -> Any:
        torch.manual_seed(0)
        fusion = FUSIONS.get(name)(channels, names)
        for parameter in fusion.parameters():
            nn.init.normal_(parameter, std=0.5)
        return fusion.eval()

    return make


@pytest.fixture
def features() -> Callable[..., Any]:
    """Tokens of changing number and pooled vectors of some samples."""

    def make(count: int, names: tuple[str, ...] = ("image", "text"), channels: int = WIDTH) -> Any:
        made = torch.Generator().manual_seed(1)
        return {
            name: Encoded(
                torch.randn(count, LENGTHS[name], channels, generator=made),
                torch.arange(LENGTHS[name])[None] < torch.randint(1, LENGTHS[name] + 1, (count, 1), generator=made),
                torch.randn(count, channels, generator=made),
            )
            for name in names
        }

    return make


@pytest.fixture
def mixed() -> Callable[..., Any]:
    """Presence of some samples, every non-empty subset of the names in turn."""

    def make(count: int, names: tuple[str, ...] = ("image", "text")) -> Any:
        subsets = [set(c) for size in range(len(names), 0, -1) for c in combinations(names, size)]
        return {name: torch.tensor([name in subsets[i % len(subsets)] for i in range(count)]) for name in names}

    return make
