"""Curves of how metrics change as inputs get worse, from the arms that hold worse versions of the samples.

Every level of a perturbation is measured on the same samples, those that all its levels answered, with the
same patients drawn, so that the differences to the samples as they are can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence

from medmm.evaluation.arms import worse_version
from medmm.evaluation.compare import Pair
from medmm.evaluation.resample import Resampling
from medmm.evaluation.sides import Side
from medmm.metrics import Metric
from medmm.results import RobustnessCurve
from medmm.transforms.perturb import UNITS

_SHOWN = ("auroc", "auroc_macro", "f1_macro", "brier")


def robustness_curves(
    full: Side, worse: Sequence[Side], metrics: Sequence[Metric], resampling: Resampling
) -> tuple[RobustnessCurve, ...]:
    """One curve a perturbation and metric; none where no sample was answered at every level.

    Args:
        full: The samples as they are.
        worse: Arms of worse versions.
        metrics: Those at hand, of which a few are shown.
        resampling: Draws of patients.
    """
    shown = [m for m in metrics if m.name in _SHOWN]
    curves: list[RobustnessCurve] = []
    for name, levels in _by_perturbation(worse).items():
        sides = _on_common_samples([full, *levels.values()])
        if sides[0].rows:
            curves += _curves(name, tuple(levels), sides, shown, resampling)
    return tuple(curves)


def _curves(
    name: str, levels: tuple[float, ...], sides: Sequence[Side], metrics: Sequence[Metric], resampling: Resampling
) -> list[RobustnessCurve]:
    plain, *others = [resampling.estimate(side.scores, metrics) for side in sides]
    return [
        RobustnessCurve(
            perturbation=name,
            unit=UNITS.get(name, ""),
            metric=metric.name,
            n=len(sides[0].rows),
            levels=(0.0, *levels),
            values=tuple(resampling.value(metric, found) for found in (plain, *others)),
            differences=tuple(resampling.value(metric, found - plain) for found in others),
        )
        for metric in metrics
    ]


def _by_perturbation(worse: Sequence[Side]) -> dict[str, dict[float, Side]]:
    """Levels of each perturbation in order."""
    found: dict[str, dict[float, Side]] = {}
    for side in worse:
        if (version := worse_version(side.name)) is not None:
            found.setdefault(version[0], {})[version[1]] = side
    return {name: dict(sorted(levels.items())) for name, levels in sorted(found.items())}


def _on_common_samples(sides: list[Side]) -> list[Side]:
    """All sides on the samples that each of them has, in the order of the first."""
    first = sides[0]
    for other in sides[1:]:
        first = Pair.of(first, other).first
    return [Pair.of(first, side).second for side in sides]
