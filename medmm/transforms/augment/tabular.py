"""Random changes of tabular values of training patients."""

from __future__ import annotations

import numpy as np
import torch

from medmm.transforms.augment.choice import TabularChanges


def change_values(
    numbers: torch.Tensor, places: torch.Tensor, changes: TabularChanges, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Changed copies of (numbers,) standardised values, NaN where missing, and (categories,) places, 0 where missing."""
    noise = torch.from_numpy(rng.standard_normal(len(numbers), dtype=np.float32))
    gone = torch.from_numpy(rng.random(len(numbers) + len(places)) < changes.missing)
    numbers = (numbers + changes.noise * noise).masked_fill(gone[: len(numbers)], torch.nan)
    return numbers, places.masked_fill(gone[len(numbers) :], 0)
