"""Predictions to measured results: every metric with its interval, arms side by side, baselines beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import medmm
from medmm.evaluation.about import versions
from medmm.evaluation.compare import Pair, compare, conclude
from medmm.evaluation.conformal import measure_sets
from medmm.evaluation.describe import characteristics, count
from medmm.evaluation.fit import Fitted
from medmm.evaluation.fitted import target_array
from medmm.evaluation.further import measure_further
from medmm.evaluation.groups import gaps, heterogeneity, measure_groups
from medmm.evaluation.headline import compared, headline, metrics_of
from medmm.evaluation.measure import failures_as_wrong, measure_arm, worst_cases
from medmm.evaluation.notes import notes_on
from medmm.evaluation.partition import members_of, prove_partition
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.resample import Resampling
from medmm.evaluation.robustness import robustness_curves
from medmm.evaluation.scored import Scored, drawn_as, strata_of
from medmm.evaluation.task import Task
from medmm.metrics import Metric
from medmm.prediction import DISCLAIMER
from medmm.results import PREVALENCE_ARM, Arm, Comparison, FailedSample, Intervals, Recalibration, Results, Value
from medmm.store import FULL_ARM

OnPhase = Callable[[str], None]
"""Called with the name of each phase as it begins."""

_RECALIBRATED = ("log_loss", "brier", "cal_slope", "cal_intercept", "ece", "ece_macro")
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "statsmodels")


def score(predictions: Predictions, task: Task, fitted: Fitted | None = None, *, on_phase: OnPhase = lambda _: None) -> Results:
    """Measure predictions.

    The scored split is the task's where the rows name splits, else everything. Failed rows count as
    failed, unlabelled ones as unlabelled; neither enters a metric. Intervals resample patients, with
    the same draws for every arm.

    Args:
        predictions: What to score.
        task: How.
        fitted: Thresholds and recalibration fitted earlier; what is missing of it is fitted now, as the task says.
        on_phase: Told what is being done.

    Raises:
        TaskError: If thresholds would be chosen on the scored split, or on one that is not there.
        LeakageError: If sides of the split share patients or images.
        PredictionsError: If there is nothing to score.
    """
    on_phase("partition")
    partition = prove_partition([*members_of(predictions.records, task.split), *predictions.members])
    scored = Scored.of(predictions, task, fitted)
    units, full = scored.units, scored.sides[0]
    metrics = metrics_of(full.scores, task.metrics)
    main = compared(metrics, task.comparison)
    with threadpool_limits(limits=1, user_api="blas"):  # sums split over threads would differ in their last digits
        everybody = [r for side in scored.sides for r in side.rows]
        resampling = Resampling.of(len(scored.patients), task.intervals, strata_of(everybody, scored.patients, task))
        arms = _arms(scored, metrics, resampling, task, on_phase)
        on_phase("comparisons")
        comparisons = _comparisons(scored, main, resampling, task)
        recalibration = _recalibration(scored, metrics, resampling, task)
        on_phase("subgroups")
        grouped = headline(metrics, task.subgroups.metrics)
        measured = measure_groups(full, grouped, resampling, task)
        on_phase("robustness")
        robustness = robustness_curves(full, scored.worse, metrics, resampling)
        on_phase("further tasks")
        further = measure_further(predictions.tasks or task.tasks, scored.stated, task)
        on_phase("failures")
        wrong = _failures(scored, metrics, task)
    rows = [r for r in scored.rows if r.arm == FULL_ARM]
    return Results(
        medmm=medmm.__version__,
        disclaimer=DISCLAIMER,
        task=task.name,
        task_version=task.version,
        task_sha256=task.digest,
        question=task.question,
        intended_use=task.intended_use,
        kind=units.kind,
        labels=units.labels,
        split=scored.split,
        source=units.source,
        model=units.model,
        counts=count(rows, scored.stated, units.labels),
        intervals=intervals_of(task),
        arms=arms,
        comparisons=comparisons,
        failures_as_wrong=wrong,
        groups=tuple(m.group for m in measured),
        gaps=gaps(measured, grouped, resampling),
        heterogeneity=heterogeneity(measured, grouped, task.unit.site, task.intervals.level),
        recalibration=recalibration,
        robustness=robustness,
        tasks=further,
        partition=partition,
        characteristics=characteristics(units.records, task, task.split),
        worst=worst_cases(full),
        environment=versions(_LIBRARIES),
        statements=task.statements,
        failed=tuple(FailedSample(sample_id=r.sample_id, code=r.code) for r in rows if r.failed),
        notes=notes_on(arms, full, units, task),
    )


def intervals_of(task: Task) -> Intervals:
    """How intervals are made, for the record."""
    policy = task.intervals
    return Intervals(
        method=f"{policy.cluster} bootstrap, {policy.method}",
        replicates=policy.replicates,
        dear_replicates=min(policy.dear_replicates, policy.replicates),
        strata=policy.strata,
        seed=policy.seed,
        level=policy.level,
    )


def _arms(scored: Scored, metrics: Sequence[Metric], resampling: Resampling, task: Task, on_phase: OnPhase) -> tuple[Arm, ...]:
    arms = []
    for side in scored.sides:
        on_phase(f"arm {side.name}")
        telling = [m for m in metrics if not m.dear] if side.name == PREVALENCE_ARM else metrics
        arms.append(measure_arm(side, telling, resampling, thorough=side.name == FULL_ARM))
    on_phase("prediction sets")
    sets = measure_sets(scored.sides[0], scored.fitted.conformal, resampling, task)
    return (arms[0].model_copy(update={"conformal": sets}), *arms[1:])


def _comparisons(scored: Scored, metrics: Sequence[Metric], resampling: Resampling, task: Task) -> tuple[Comparison, ...]:
    """The first arm against each other one; the class frequencies are a floor, not a hypothesis, and enter no correction."""
    full, *others, trivial = scored.sides
    policy, level = task.comparison, task.intervals.level
    table = [c for other in others for c in compare(Pair.of(full, other), metrics, resampling, policy)]
    floor = policy.model_copy(update={"tests": ("bootstrap",), "multiplicity": "none", "margin": 0.0})
    against_floor = compare(Pair.of(full, trivial), metrics, resampling, floor)
    return (*conclude(table, metrics, policy, level), *conclude(against_floor, metrics, floor, level))


def _recalibration(scored: Scored, metrics: Sequence[Metric], resampling: Resampling, task: Task) -> tuple[Recalibration, ...]:
    """The full arm before and after."""
    full, fitted = scored.sides[0], scored.fitted.recalibration
    if full.before is None or fitted is None:
        return ()
    of = [m for m in metrics if m.name.partition("[")[0] in _RECALIBRATED]
    before = replace(full, name="before", scores=full.before, before=None)
    after = replace(full, name="after", before=None)
    policy = task.comparison.model_copy(update={"tests": ("bootstrap",), "multiplicity": "none", "margin": 0.0})
    table = conclude(compare(Pair.of(after, before), of, resampling, policy), of, policy, task.intervals.level)
    loss = next((c for c in table if c.metric == "log_loss" and c.excludes_zero), None)
    return (
        Recalibration(
            method=fitted.method,
            split=fitted.source.split,
            n=fitted.source.n,
            sha256=fitted.source.sha256,
            applied=True,
            before=resampling.values(before.scores, of),
            after=resampling.values(after.scores, of),
            differences=table,
            helped=None if loss is None or loss.difference is None else loss.difference < 0,
        ),
    )


def _failures(scored: Scored, metrics: Sequence[Metric], task: Task) -> dict[str, Value]:
    """Decisions of the full arm with every failed sample of a known label as a wrong answer."""
    full = scored.sides[0]
    failed = [r for r in scored.rows if r.arm == FULL_ARM and r.failed and any(t is not None for t in r.target)]
    if not failed:
        return {}
    place = {name: i for i, name in enumerate(sorted({drawn_as(r, task) for r in (*full.rows, *failed)}))}
    everybody = Resampling.of(len(place), task.intervals, strata_of((*full.rows, *failed), place, task))
    clusters = np.array([place[drawn_as(r, task)] for r in (*full.rows, *failed)])
    return failures_as_wrong(full.scores, target_array(failed), clusters, metrics, everybody)
