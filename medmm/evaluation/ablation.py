"""`medmm ablate`: fusions x subsets of modalities x seeds on one split, trained, answered and compared by one command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

import medmm
from medmm.device import choose_device
from medmm.disk import replace_bytes, sole_user
from medmm.errors import TaskError
from medmm.evaluation.baselines import Answers, Fit, baselines
from medmm.evaluation.cases import refuse_reserved
from medmm.evaluation.headline import metrics_of
from medmm.evaluation.predictions import Predictions, from_file, from_store
from medmm.evaluation.resample import Estimates, Resampling
from medmm.evaluation.run import resolve, run_evaluation
from medmm.evaluation.score import intervals_of
from medmm.evaluation.scored import Scored, drawn_as, strata_of
from medmm.evaluation.sides import Side
from medmm.evaluation.standing import Standing, answered_by, as_in, endpoint_of, mean, on_common_samples
from medmm.evaluation.task import Task
from medmm.inference import Predictor
from medmm.prediction import DISCLAIMER
from medmm.report.ablation import Ablation, AblationRow, draw_ablation, render_ablation
from medmm.results import PREVALENCE_ARM
from medmm.sources.cohort import Case, Cohort, read_cohort
from medmm.sources.jail import read_ahead
from medmm.study import Study
from medmm.table import write_csv
from medmm.training.config import TrainConfig, checked
from medmm.training.data import refuse_unbelievable
from medmm.training.partners import Use, present_in, refuse_idle, warn_of_idle
from medmm.training.processes import Together
from medmm.training.split import folds_of, split_cases
from medmm.training.train import train
from medmm.types import MODALITIES, Modality, OnProgress, pattern_name

_METRICS = ("f1_macro", "auroc", "auroc_macro", "brier", "ece[equal_mass,10]", "ece_macro[equal_mass,10]")  # those that apply
_TIMED = 5  # studies whose network time is measured


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained.

    Attributes:
        fusions: Names of layers; a lone modality needs none.
        subsets: Of modalities.
        seeds: Of each training; the split of the patients is the same for all.
        config: Everything else.
        folds: Number of patient-wise folds, or the column that names them; None for the split of the cohort.
    """

    fusions: tuple[str, ...]
    subsets: tuple[frozenset[Modality], ...]
    seeds: tuple[int, ...]
    config: TrainConfig
    folds: str | int | None = None

    def __post_init__(self) -> None:
        for name in self.fusions:
            checked({"fusion": name})
        if not self.subsets or not self.seeds or (not self.fusions and any(len(s) > 1 for s in self.subsets)):
            msg = "Expected at least one subset of modalities, one seed, and a fusion for subsets of several; name them."
            raise TaskError(msg)

    @property
    def rows(self) -> tuple[_Row, ...]:
        """One a lone modality, one a fusion for each larger subset."""
        found = [_Row(s, "") for s in self.subsets if len(s) == 1]
        return (*found, *(_Row(s, f) for s in self.subsets if len(s) > 1 for f in self.fusions))

    def config_of(self, row: _Row, seed: int) -> TrainConfig:
        """Choices of one training."""
        return replace(self.config, modalities=tuple(sorted(row.modalities)), seed=seed, split_seed=self.config.division_seed,
                       fusion=row.fusion or self.config.fusion)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    modalities: frozenset[Modality]
    fusion: str

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (pattern_name(self.modalities), self.fusion)))


def ablate(
    target: str | Path, out: str | Path, plan: Plan, *, device: str = "auto", on_progress: OnProgress = lambda *_: None
) -> Ablation:
    """Train every row of the plan, answer for the same samples, and compare.

    Run the same command again after an interruption: what is finished is not done again.

    Args:
        target: Cohort table or task file.
        out: Folder for the models and their runs (`cells/`) and for `ablation.json`, `.csv`, `.md` and `.svg`.
        plan: What to train.
        device: `auto`, `cpu`, `cuda` or `mps`.
        on_progress: Told after each training.

    Returns:
        The content of `ablation.json`.

    Raises:
        TaskError, CohortError, LeakageError: If something handed in cannot be used, or a choice has no effect in any row.
        StoreError: If `out` belongs to other choices.
    """
    out = Path(out)
    task, cohort_path = resolve(Path(target))
    if plan.folds is not None:
        task = task.model_copy(update={"split": "test"})
    config = plan.config
    plan = replace(
        plan, config=checked(config.to_dict() | {k: v for k, v in task.training_choices.items() if not getattr(config, k)})
    )
    configs = [plan.config_of(row, seed) for row in plan.rows for seed in plan.seeds]
    refuse_idle(configs)
    sections = plan.config.read_sections
    cohort = read_cohort(cohort_path, labels=task.labels or None, fields=task.values, sections=sections)
    if plan.folds is None:
        refuse_reserved(cohort)
    _refuse_absent(plan, cohort)
    bench = _Bench(Path(target), cohort_path, cohort, task, out, plan, device)
    together = Together(choose_device(device))
    if together.index == 0:
        warn_of_idle(configs, Use(cohort.cases, folds=plan.folds is not None), plan.config)
    with sole_user(out) if together.index == 0 else nullcontext():
        cells = [(row, seed) for row in plan.rows for seed in plan.seeds]
        answered: dict[_Row, list[Predictions]] = {row: [] for row in plan.rows}
        for done, (row, seed) in enumerate(cells):
            bench.train(row, seed)
            if together.index == 0:
                answered[row].append(bench.answer(row, seed))
            on_progress("training", done + 1, len(cells))
        return together.from_first(lambda: _written(bench.measure(answered), out))


def _refuse_absent(plan: Plan, cohort: Cohort) -> None:
    """Refuse to begin with subsets of modalities that no case has."""
    there = present_in(cohort.cases, plan.config)
    absent = [name for name in MODALITIES if name not in there and any(name in subset for subset in plan.subsets)]
    if absent:
        columns = " State the tabular columns." if "tabular" in absent else ""
        msg = f"Expected cases with every modality of the subsets; the cohort has none with {' or '.join(absent)}.{columns}"
        raise TaskError(msg)


@dataclass(frozen=True, slots=True)
class _Bench:
    """One cohort on which everything is trained and measured alike."""

    target: Path
    cohort_path: Path
    cohort: Cohort
    task: Task
    out: Path
    plan: Plan
    device: str

    def train(self, row: _Row, seed: int) -> None:
        """Train one cell; at once when that was done before."""
        train(
            self.cohort_path,
            self.cell(row, seed),
            self.plan.config_of(row, seed),
            folds=self.plan.folds,
            device=self.device,
            labels=self.cohort.labels,
            cache=self.out / "cache",
            alone=False,
        )

    def answer(self, row: _Row, seed: int) -> Predictions:
        """What a trained cell predicts of what is scored; at once when that was done before."""
        model = self.cell(row, seed)
        if self.plan.folds is not None:
            return from_file(model / "predictions.csv", self.cohort.labels, self.cohort.kind)
        run = model.with_name(f"{model.name}-run")
        run_evaluation(self.target, model, run, device=self.device, cache=self.out / "cache")
        return from_store(run)

    def cell(self, row: _Row, seed: int) -> Path:
        """Folder of a cell's model."""
        return self.out / "cells" / f"{row.name.replace(', ', '-')}-{seed}"

    def measure(self, answered: Mapping[_Row, Sequence[Predictions]]) -> Ablation:
        """Everything on the samples that every row answered."""
        scored = {row: [Scored.of(p, self.task) for p in runs] for row, runs in answered.items()}
        sides = on_common_samples({row: [s.sides[0] for s in runs] for row, runs in scored.items()}, self.task)
        any_scored, first = next(iter(scored.values()))[0], next(iter(sides.values()))[0]
        wanted = self.task.metrics
        metrics = metrics_of(first.scores, wanted) if wanted else [m for m in metrics_of(first.scores) if m.name in _METRICS]
        beside = self._baseline_sides(first, any_scored)
        lacking = {row: _given_less(runs, first) for row, runs in scored.items()}
        resampling = self._resampling(first)

        def estimate(side: Side) -> Estimates:
            return resampling.estimate(side.scores, metrics)

        with threadpool_limits(limits=1, user_api="blas"):
            runs = {row: [estimate(side) for side in of_seeds] for row, of_seeds in sides.items()}
            given = {
                row: {name: mean([estimate(side) for side in of_seeds]) for name, of_seeds in arms.items()}
                for row, arms in lacking.items()
            }
            estimates = {row.name: mean(found) for row, found in runs.items()}
            estimates |= {name: estimate(side) for name, side in beside.items()}
        standing = Standing(resampling, metrics, endpoint_of(metrics))
        candidates = [row.name for row in runs if not row.fusion] or [row.name for row in runs]
        reference = standing.best({name: estimates[name] for name in candidates})
        timed = self._timed()
        rows = [self._model_row(row, found, given[row], standing, timed) for row, found in runs.items()]
        rows += [AblationRow(name=name, what="baseline", metrics=standing.values(estimates[name])) for name in beside]
        baseline = standing.best({name: estimates[name] for name in beside})
        differences = standing.against(reference, [row.name for row in rows], estimates)
        beyond = standing.against(baseline, [row.name for row in runs], estimates)
        return Ablation(
            medmm=medmm.__version__,
            disclaimer=DISCLAIMER,
            task=self.task.name,
            cohort_sha256=self.cohort.digest,
            split="out-of-fold" if self.plan.folds is not None else any_scored.split,
            n=len(first.rows),
            patients=len(resampling.counts),
            intervals=intervals_of(self.task),
            reference=reference,
            baseline=baseline,
            endpoint=standing.endpoint.name,
            rows=tuple(
                row.model_copy(update={"differences": differences[row.name], "beyond": beyond.get(row.name, {})}) for row in rows
            ),
            notes=(*_notes(len(first.rows), self.plan), *_fewer(lacking, len(first.rows))),
        )

    def _resampling(self, first: Side) -> Resampling:
        """Draws of whoever is drawn together, the same for every row."""
        place = {name: i for i, name in enumerate(sorted({drawn_as(r, self.task) for r in first.rows}))}
        return Resampling.of(len(place), self.task.intervals, strata_of(first.rows, place, self.task))

    def _model_row(
        self, row: _Row, runs: Sequence[Estimates], given: Mapping[str, Estimates], standing: Standing, timed: Sequence[Study]
    ) -> AblationRow:
        predictor = Predictor.load(self.cell(row, self.plan.seeds[0]), self.device)
        spread = {m.name: float(np.std([e.points[m.name] for e in runs], ddof=1)) for m in standing.metrics} if runs[1:] else {}
        return AblationRow(
            name=row.name,
            what="model",
            modalities=tuple(sorted(row.modalities)),
            fusion=row.fusion,
            seeds=self.plan.seeds,
            metrics=standing.values(mean(runs)),
            spread=spread,
            given={name: standing.values(found) for name, found in given.items()},
            parameters=sum(p.numel() for p in predictor.folder.model.parameters()),
            milliseconds=self._milliseconds(predictor, timed),
        )

    def _timed(self) -> list[Study]:
        """Studies on which every network is timed."""
        complete = [c for c in self.cohort.cases if c.images and c.note] or list(self.cohort.cases)
        with closing(read_ahead(complete[:_TIMED])) as opened:
            return [study for _, study in opened if isinstance(study, Study)]

    @staticmethod
    def _milliseconds(predictor: Predictor, studies: Sequence[Study]) -> float | None:
        """Median time of the network for one study."""
        readable = [s for s in studies if s.modalities & predictor.folder.preprocessor.modalities]
        times = [predictor.predict(study).seconds["network"] for study in readable]
        return 1000 * median(times) if times else None

    def _baseline_sides(self, first: Side, scored: Scored) -> dict[str, Side]:
        assert self.cohort.kind is not None  # it was trained on
        frequencies = next(s for s in scored.sides if s.name == PREVALENCE_ARM).scores.probability[:1]
        found = {PREVALENCE_ARM: answered_by(PREVALENCE_ARM, first, frequencies)}
        cases = {c.study_id: c for c in self.cohort.cases if c.target is not None}
        asked = [cases[r.sample_id] for r in first.rows]
        columns = list(dict.fromkeys([*self.plan.config.tabular, *(q.name for q in self.task.values)]))
        for name, fit in baselines(self.cohort.kind, columns, notes=any(c.note for c in cases.values())).items():
            answers = self._answers(fit, list(cases.values()), asked)
            found[name] = answered_by(name, first, answers.probability, answers.called)
        return found

    def _answers(self, fit: Fit, cases: Sequence[Case], asked: Sequence[Case]) -> Answers:
        """Fitted on train and val, or on the other folds; on cases whose values are believable, as models are."""
        plan = self.plan
        if plan.folds is None:
            sides = split_cases(cases, plan.config.fractions, plan.config.division_seed)
            return fit(refuse_unbelievable([c for c in sides if c.split in ("train", "val")])[0], asked)
        kept = [c for c in cases if c.split != "test"]
        numbers = folds_of(kept, plan.folds, plan.config.division_seed)
        fold = {c.study_id: int(f) for c, f in zip(kept, numbers, strict=True)}
        where = np.array([fold[c.study_id] for c in asked])
        shape = (len(asked), len(self.cohort.labels))
        found = Answers(np.zeros(shape), np.zeros(shape, dtype=bool))
        for f in np.unique(where):
            others = refuse_unbelievable([c for c in kept if fold[c.study_id] != f])[0]
            part = fit(others, [c for c, g in zip(asked, where, strict=True) if g == f])
            found.probability[where == f], found.called[where == f] = part.probability, part.called
        return found


def _given_less(runs: Sequence[Scored], first: Side) -> dict[str, list[Side]]:
    """By arm that lacks modalities: the answers of each seed, for the samples of `first` that hold what is left."""
    arms = [{side.name: as_in(first, side) for side in scored.sides[1:] if side.name != PREVALENCE_ARM} for scored in runs]
    return {name: [of_seed[name] for of_seed in arms] for name in arms[0] if arms[0][name].rows}


def _fewer(lacking: Mapping[_Row, Mapping[str, Sequence[Side]]], samples: int) -> list[str]:
    """What to know of arms in which not every sample could be answered."""
    counts = {name: len(runs[0].rows) for arms in lacking.values() for name, runs in arms.items()}
    return [f"Given {name} alone, {n} of the {samples} samples could be answered." for name, n in counts.items() if n < samples]


def _notes(samples: int, plan: Plan) -> tuple[str, ...]:
    found = [
        "The reference and the best baseline were chosen on these very samples, which flatters them: differences are cautious."
    ]
    if samples < 100:
        found.append(f"Only {samples} samples: a difference would have to be large to show.")
    if plan.config.members > 1:
        found.append(f"Every network is the mean of {plan.config.members} members that differ in their random start.")
    if len(plan.seeds) == 1:
        found.append("One seed a row: how much another start would change is not measured.")
    return tuple(found)


def _written(found: Ablation, out: Path) -> Ablation:
    """The result, once its four forms are there."""
    replace_bytes(out / "ablation.json", (found.model_dump_json(indent=1) + "\n").encode())
    replace_bytes(out / "ablation.md", render_ablation(found).encode())
    replace_bytes(out / "ablation.svg", draw_ablation(found).encode())
    names = list(found.rows[0].metrics)
    measured = [f"{name} {part}" for name in names for part in ("value", "low", "high")]
    columns = ["row", "what", "fusion", *measured, "parameters", "milliseconds"]
    write_csv(out / "ablation.csv", columns, [_flat(row) for row in found.rows])
    return found


def _flat(row: AblationRow) -> dict[str, object]:
    cells: dict[str, object] = {"row": row.name, "what": row.what, "fusion": row.fusion, "parameters": row.parameters,
                                "milliseconds": row.milliseconds}  # fmt: skip
    for name, v in row.metrics.items():
        cells |= {f"{name} value": v.value, f"{name} low": v.low, f"{name} high": v.high}
    return cells
