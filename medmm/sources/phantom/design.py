"""What the phantom cohorts share: their split, whole patients from shares, and a folder of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medmm.errors import CohortError
from medmm.types import AnyArray

SPLITS = {"train": 0.6, "val": 0.15, "test": 0.25}


def apportion(total: int, shares: AnyArray, rng: np.random.Generator) -> AnyArray:
    """Whole numbers that sum to `total`, nearest to `shares`; leftovers fall by chance."""
    exact = total * shares / shares.sum()
    whole: AnyArray = np.floor(exact).astype(int)
    rest = exact - whole
    if left := total - int(whole.sum()):
        whole[rng.choice(len(shares), size=left, replace=False, p=rest / rest.sum())] += 1
    return whole


def refuse_used(folder: Path) -> None:
    """Keep a cohort from being mixed with another.

    Raises:
        CohortError: If the folder holds one, finished or not.
    """
    if any((folder / part).exists() for part in ("cohort.csv", "images", "masks", "audio")):
        msg = "Expected a folder without a cohort; there is one already, perhaps unfinished. Give another folder or delete it."
        raise CohortError(msg)
