"""Names of arms: `full`, the modalities that were allowed, or `<perturbation>=<level>` for worse versions of the samples."""

from __future__ import annotations

import re

from medmm.store import FULL_ARM

_WORSE = re.compile(r"([A-Za-z]\w*)=(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def worse_version(arm: str) -> tuple[str, float] | None:
    """Perturbation and level of an arm of worse versions, e.g. `noise=20`; None of any other arm."""
    parts = _WORSE.fullmatch(arm)
    return None if parts is None else (parts[1], float(parts[2]))


def decides_as(arm: str) -> str:
    """The arm whose thresholds and recalibration an arm uses: nobody knows of an input that it is a worse one."""
    return arm if worse_version(arm) is None else FULL_ARM
