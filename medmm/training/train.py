"""`medmm train`: from a cohort table to a model folder, resumable after a kill at any moment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import medmm
from medmm.card import OWN_LICENCE, licence_of, render_card
from medmm.device import choose_device
from medmm.disk import replace_bytes
from medmm.encoders.opened import CONTRACTS
from medmm.ensemble import Ensemble
from medmm.errors import CohortError, LeakageError, TaskError
from medmm.leakage import Scan, scan_cases, warn_of_leakage
from medmm.model import Classifier, ModelConfig, MultimodalClassifier
from medmm.model_folder import save_model_folder
from medmm.pretrained.folder import Pretrained, load_pretrained
from medmm.sources.cohort import Case, Cohort, read_cohort
from medmm.study import Category, Quantity
from medmm.table import write_csv
from medmm.tasks import FurtherTask, plan_tasks
from medmm.training.calibrate import apart, fit_decisions, fit_tasks, write_predictions
from medmm.training.config import TrainConfig, checked
from medmm.training.data import CachedSamples, Failure, cache_samples, plan_preprocessing, refuse_unbelievable
from medmm.training.examples import Examples, Heldout, heldout_logits
from medmm.training.fit import fit
from medmm.training.partners import Taught, Use, refuse_idle, warn_of_idle
from medmm.training.processes import Together
from medmm.training.run import MIN_TRAIN, RunResult, built, claim_run, read_failures, require_chosen, side_of, write_failures
from medmm.training.split import folds_of, split_cases
from medmm.training.teacher import Teacher
from medmm.training.trackers import tracked
from medmm.training.trainer import Log
from medmm.transforms.batch import Preprocessor
from medmm.types import FloatArray, Kind, OnProgress
from medmm.weights import MANIFEST


def train(
    cohort: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    folds: str | int | None = None,
    device: str = "auto",
    labels: tuple[str, ...] | None = None,
    teacher: Teacher | None = None,
    cache: Path | None = None,
    alone: bool = True,
    on_progress: OnProgress = lambda *_: None,
    on_scan: Callable[[Scan], None] = warn_of_leakage,
    on_epoch: Log = lambda *_: None,
) -> RunResult:
    """Train a classifier on a cohort.

    Weights are fitted on `train`; stopping, calibration and thresholds use `val`; `test` is never
    opened. With `folds` every other case is predicted once by weights that did not see it (written to
    `predictions.csv`), calibration and thresholds come from those predictions, and the final
    weights are fitted on all of these for the same number of epochs: the honest way for small cohorts.

    Run the same command again after an interruption: it goes on where it was and ends with the
    same model.

    Args:
        cohort: Cohort table.
        out: Run folder; becomes a model folder.
        config: Choices.
        folds: Number of patient-wise folds, or the column that names them.
        device: `auto`, `cpu`, `cuda` or `mps`.
        labels: Class names in order, the positive class of a binary task second; else as found.
        teacher: Model whose calibrated answers for the training cases are learned beside the labels; by split only.
        cache: Folder for prepared images that several runs share and nobody removes; else one within the run, while it lasts.
        alone: Whether choices without effect are refused or warned of; who trains several for a comparison sees to it for all.
        on_progress: Told how far each step is.
        on_epoch: Told the numbers of each epoch.
        on_scan: Told before the fit what gives the answer away; what it is told is in `scan.json` and on the card too.

    Raises:
        CohortError, LeakageError: If the table cannot be trained on.
        TaskError: If the teacher answers another question, or a choice has no effect beside the others.
        StoreError: If `out` belongs to another run.
    """
    out, config = Path(out), checked((config or TrainConfig()).to_dict())
    if alone:
        refuse_idle([config])
    if teacher is not None and folds is not None:
        msg = "Expected a teacher or folds, not both: the teacher has seen the labels of every fold. Leave --folds out."
        raise TaskError(msg)
    require_chosen(config)
    table = _read_table(cohort, config, labels, teacher)
    computing_on = choose_device(device)
    together = Together(computing_on)
    if alone and together.index == 0:
        taught: Taught = "labels" if teacher is None else "teacher"
        warn_of_idle([config], Use(table.cases, taught, folds=folds is not None))
    out, config, cache = together.folder(out), together.quiet(config), cache if together.index == 0 else None
    pretrained = load_pretrained(config.init, computing_on) if config.init is not None else None
    claim_run(out, "train.json", {"medmm": medmm.__version__, "cohort": table.digest, "folds": folds, "labels": list(table.labels),
                                  "teacher": teacher.folder.digest if teacher else None,
                                  "init": pretrained.digest if pretrained else None, "config": config.to_dict()})  # fmt: skip
    if not together.from_first((out / MANIFEST).exists):
        run = _Run(out, config, table, computing_on, cache or out / "cache", on_progress, on_scan, on_epoch, teacher, pretrained)
        cases = tuple(c for c in table.cases if c.target is not None)
        result = run.by_split(cases) if folds is None else run.by_folds(cases, folds)
    else:
        result = RunResult(out, 0, 0, together.from_first(lambda: read_failures(out)), ())
    shutil.rmtree(out / "cache", ignore_errors=True)
    for checkpoint in out.glob("checkpoint*.safetensors*"):
        checkpoint.unlink()
    return result


@dataclass(eq=False, slots=True)
class _Run:
    """One training run: its folder, its choices and the device it computes on."""

    out: Path
    config: TrainConfig
    table: Cohort
    device: torch.device
    cache: Path
    on_progress: OnProgress
    on_scan: Callable[[Scan], None]
    on_epoch: Log
    teacher: Teacher | None
    pretrained: Pretrained | None
    tasks: tuple[FurtherTask, ...] = ()

    @property
    def kind(self) -> Kind:
        """Of the task."""
        assert self.table.kind is not None  # without labels nothing is begun
        return self.table.kind

    def by_split(self, labelled: Sequence[Case]) -> RunResult:
        """Train, stop and calibrate on the sides of one split."""
        cases = split_cases(labelled, self.config.fractions, self.config.division_seed)
        if self.teacher is not None:
            self.teacher.refuse_seen(cases)
        self._refuse_seen([c for c in cases if c.split == "test"])
        seen = [c for c in cases if c.split in ("train", "val")]
        preprocessor, kept, samples, failures = self._read([c for c in seen if c.split == "train"], seen)
        scan = self._record_sides(cases, [str(c.split) for c in cases], kept, samples)
        sides = np.array([kept_case.split for kept_case in kept])
        train_rows, val_rows = np.flatnonzero(sides == "train"), np.flatnonzero(sides == "val")
        self._refuse_too_few(train_rows, kept)
        train_set, val_set = _examples(samples, kept, train_rows, self.tasks), _examples(samples, kept, val_rows, self.tasks)
        train_set, lesson = self._taught(train_set, [kept[i] for i in train_rows])
        model, best_epochs = self._fit("", preprocessor, train_set, val_set if len(val_rows) else None)
        heldout = heldout_logits(model, preprocessor, val_set, self.config.batch_size)
        calibration = f"{len(val_rows)} for stopping, calibration and thresholds"
        fitted_on = [*_fitted_on(kept, len(train_rows), calibration, failures), *lesson, scan.summary]
        self._save(model, preprocessor, heldout, train_set, split="val", fitted_on=fitted_on)
        return RunResult(self.out, len(train_rows), len(val_rows), tuple(failures), best_epochs)

    def by_folds(self, labelled: Sequence[Case], folds: str | int) -> RunResult:
        """Predict every case outside `test` from weights that did not see it, then fit the final weights on all of them."""
        labelled = [c for c in labelled if c.split != "test"]
        fold = folds_of(labelled, folds, self.config.division_seed)
        preprocessor, kept, samples, failures = self._read(labelled, labelled)
        scan = self._record_sides(labelled, [f"fold {f}" for f in fold], kept, samples)
        fold_of_study = {c.study_id: int(f) for c, f in zip(labelled, fold, strict=True)}
        fold = np.array([fold_of_study[c.study_id] for c in kept])
        rows = np.arange(len(kept))
        self._refuse_too_few(rows, kept)

        def unseen(*folds: int) -> list[Heldout]:
            """Of each of these folds, by weights that saw none of them."""
            outside = _examples(samples, kept, rows[~np.isin(fold, folds)], self.tasks)
            model, _ = self._fit(f"-fold{'-'.join(map(str, folds))}", preprocessor, outside, None)
            inside = [_examples(samples, kept, rows[fold == f], self.tasks) for f in folds]
            return [heldout_logits(model, preprocessor, examples, self.config.batch_size) for examples in inside]

        numbers = [int(f) for f in np.unique(fold)]
        heldout = Heldout.joined({f: unseen(f)[0] for f in numbers}, fold)
        nested = self.config.nested and len(numbers) > 2
        beside = apart(fold, unseen) if nested else {f: heldout.take(fold != f) for f in numbers}
        write_predictions(self.out / "predictions.csv", self.kind, self.table.labels, kept, heldout, beside, fold, self.tasks)
        everything = _examples(samples, kept, rows, self.tasks)
        model, best_epochs = self._fit("", preprocessor, everything, None)
        calibration = f"calibration and thresholds from {len(numbers)}-fold predictions by weights that had not seen the case"
        fitted_on = [*_fitted_on(kept, len(rows), calibration, failures), scan.summary]
        self._save(model, preprocessor, heldout, everything, split="out-of-fold", fitted_on=fitted_on)
        return RunResult(self.out, len(rows), 0, tuple(failures), best_epochs)

    def _read(
        self, plan_from: Sequence[Case], cases: Sequence[Case]
    ) -> tuple[Preprocessor, list[Case], CachedSamples, list[Failure]]:
        plan_from, (cases, refused) = refuse_unbelievable(plan_from)[0], refuse_unbelievable(cases)
        preprocessor = plan_preprocessing(plan_from, self.config, self.on_progress)
        self.tasks = plan_tasks(self.config.tasks, [c.columns for c in plan_from])
        if self.pretrained is not None:
            preprocessor = self.pretrained.reading(preprocessor)
        self._begun(preprocessor, self.config.seed)  # what fits no network is told before all studies are read
        index, samples, unread = cache_samples(cases, preprocessor, self.cache, self.on_progress)
        failures = [*refused, *unread]
        write_failures(self.out, failures)
        return preprocessor, [cases[i] for i in index], samples, failures

    def _taught(self, examples: Examples, cases: Sequence[Case]) -> tuple[Examples, list[str]]:
        """With what the teacher says of each case, and a sentence about it for the card."""
        if self.teacher is None:
            return examples, []
        folder, config = self.teacher.folder, self.config
        taught = self.teacher.answer(cases, self.cache, lambda _, done, n: self.on_progress("asking the teacher", done, n))
        answered = int((~np.isnan(taught).any(1)).sum())
        sentence = (
            f"Distilled from `{folder.name}` (SHA-256 `{folder.digest}`) at temperature {config.distill_temperature:g}, weight "
            f"{config.distill_weight:g}, on its calibrated answers for {answered} of {len(cases)} training studies."
        )
        return replace(examples, taught=taught), [sentence]

    def _refuse_seen(self, measured: Sequence[Case]) -> None:
        seen = self.pretrained.patients if self.pretrained is not None else frozenset()
        if count := len({c.patient_id for c in measured} & seen):
            msg = f"Expected test patients that pretraining did not see; it saw {count}. Give both the same split column."
            raise LeakageError(msg)

    def _refuse_too_few(self, rows: Any, kept: Sequence[Case]) -> None:
        targets = np.stack([kept[i].target for i in rows]) if len(rows) else np.zeros((0, len(self.table.labels)))
        absent = [name for name, count in zip(self.table.labels, np.nansum(targets, axis=0), strict=True) if count == 0]
        if len(rows) < MIN_TRAIN or (absent and self.kind != "multilabel"):
            msg = (
                f"Expected at least {MIN_TRAIN} readable training studies with every class among them; got {len(rows)}"
                f"{' without ' + ', '.join(absent) if absent else ''}. Add cases."
            )
            raise CohortError(msg)

    def _fit(
        self, suffix: str, preprocessor: Preprocessor, train_set: Examples, val_set: Examples | None
    ) -> tuple[Classifier, tuple[int, ...]]:
        """Trained members as one classifier, and the epoch whose weights each keeps."""
        seeds = self.config.member_seeds
        suffixes = [suffix, *(f"{suffix}-member{m}" for m in range(1, len(seeds)))]
        fitted = [self._fit_member(s, preprocessor, train_set, val_set, seed) for s, seed in zip(suffixes, seeds, strict=True)]
        networks, best_epochs = zip(*fitted, strict=True)
        return Ensemble(networks) if networks[1:] else networks[0], best_epochs

    def _fit_member(
        self, suffix: str, preprocessor: Preprocessor, train_set: Examples, val_set: Examples | None, seed: int
    ) -> tuple[MultimodalClassifier, int]:
        model, config = self._begun(preprocessor, seed).to(self.device), replace(self.config, seed=seed)
        with tracked(self.config.tracker, self.out, suffix) as tracker:

            def log(epoch: int, values: dict[str, float]) -> None:
                tracker(epoch, values)
                self.on_epoch(epoch, values)

            progress = fit(
                model, preprocessor, train_set, val_set, config, self.out / f"checkpoint{suffix}.safetensors",
                log=log, on_progress=lambda what, done, n: self.on_progress(what + suffix.replace("-", " "), done, n),
            )  # fmt: skip
        return model.eval(), progress.best_epoch

    def _begun(self, preprocessor: Preprocessor, seed: int) -> MultimodalClassifier:
        """A network with the weights that training begins with."""
        torch.manual_seed(seed)
        model = built(MultimodalClassifier, self._model_config(preprocessor))
        for name in model.config.modalities:
            if (source := self.config.source(name)) is not None:
                model.own_encoder(name).load_pretrained(source)
        if self.pretrained is not None:
            self.pretrained.start(model)
        return model

    def _model_config(self, preprocessor: Preprocessor) -> ModelConfig:
        c = self.config
        known: dict[Any, Any] = self.pretrained.network.config.sides if self.pretrained is not None else {}
        sides: dict[Any, Any] = {n: side_of(n, reader, c, known.get(n)) for n, reader in preprocessor.readers.items()}
        return ModelConfig(
            self.kind, self.table.labels, fusion=c.fusion, fusion_options=c.fusion_options.get(c.fusion, {}), width=c.width,
            vote=c.vote, tasks=self.tasks, task_weights=c.task_weights, members=c.members, **sides,
        )  # fmt: skip

    def _save(
        self, model: Classifier, preprocessor: Preprocessor, heldout: Heldout, examples: Examples,
        *, split: str, fitted_on: list[str],
    ) -> None:  # fmt: skip
        calibrators, thresholds = fit_decisions(self.kind, heldout, split)
        model.config = replace(model.config, tasks=fit_tasks(self.tasks, heldout))
        if self.pretrained is not None:
            fitted_on = [*fitted_on, self.pretrained.told(model.config.modalities)]
        prevalence = tuple(float(v) for v in np.nanmean(examples.target, axis=0))
        frequencies = ", ".join(f"{name} {share:.3g}" for name, share in zip(self.table.labels, prevalence, strict=True))
        loss = f"Loss {self.config.loss}, class weights {self.config.class_weights}, frequencies here: {frequencies}."
        peft = {name: choice.kind for name, choice in self.config.peft.items() if name in model.config.modalities}
        adapted = [f"The {name} encoder learned through adapters ({kind}), now merged into it." for name, kind in peft.items()]
        told, learned = [*fitted_on, *adapted, loss], model.learned()
        card = render_card(
            self.out.resolve().name, model.config, told, sorted(calibrators), learned, licence=self._licence(model.config)
        )
        save_model_folder(self.out, model, preprocessor, calibrators, thresholds, card=card, prevalence=prevalence)

    def _licence(self, config: ModelConfig) -> str:
        """Of the card's header: that of the published weights it started from, or of its teacher, where these bind it."""
        opened = self.pretrained.about.get("opened") if self.pretrained is not None else None
        names = {opened["name"]} if opened else set()
        if self.config.image_source is not None and config.image is not None:
            names.add(config.image.encoder)
        found = {CONTRACTS[name].passed_on for name in names if name in CONTRACTS}
        found |= {licence_of(self.teacher.folder.card)} if self.teacher is not None else set()
        binding = found - {OWN_LICENCE}
        return "other" if len(binding) > 1 else next(iter(binding), OWN_LICENCE)

    def _record_sides(self, cases: Sequence[Case], sides: Sequence[str], kept: Sequence[Case], samples: CachedSamples) -> Scan:
        """Who and which image stood on which side, so that an evaluation can prove that it measures on others, and what leaks."""
        digests = {case.study_id: samples.image_sha256(index) for index, case in enumerate(kept)}
        rows = [
            {"study_id": c.study_id, "patient_id": c.patient_id, "split": s, "image_sha256": digests.get(c.study_id, "")}
            for c, s in zip(cases, sides, strict=True)
        ]
        write_csv(self.out / "split.csv", list(rows[0]), rows)
        scan = scan_cases(cases, sides, self.kind, self.table.labels, self.config.tabular, digests)
        replace_bytes(self.out / "scan.json", (json.dumps(scan.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())
        self.on_scan(scan)
        return scan


def _read_table(cohort: str | Path, config: TrainConfig, labels: tuple[str, ...] | None, teacher: Teacher | None) -> Cohort:
    """The cohort, refused where nothing can be learned from it, nothing honestly, or not from this teacher."""
    stated = labels or (teacher.labels if teacher else None)
    table = read_cohort(cohort, labels=stated, fields=_columns(config, teacher), sections=config.read_sections)
    if config.labels_from == "reports" and "audio" in config.modalities and any(case.audio for case in table.cases):
        msg = (
            "Expected no recordings with labels from reports, as they cannot be divided at headings; leave audio out of modalities."
        )
        raise LeakageError(msg)
    if table.kind is None:
        msg = "Expected a label column, or label__<name> columns; the cohort has none. Nothing can be learned."
        raise CohortError(msg)
    if teacher is not None:
        teacher.refuse_other_task(table.kind, table.labels)
    return table


def _columns(config: TrainConfig, teacher: Teacher | None) -> tuple[Quantity | Category, ...]:
    """Tabular columns that have bounds, or that the model or its teacher reads."""
    own = tuple(Category(name, ()) for name in config.tabular if name not in config.believable)
    return (*config.quantities, *own, *(c for c in (teacher.columns if teacher else ()) if c.name not in config.tabular))


def _examples(samples: CachedSamples, cases: Sequence[Case], rows: Any, tasks: Sequence[FurtherTask]) -> Examples:
    chosen = samples.take([int(i) for i in rows])
    targets: list[FloatArray] = [t for i in rows if (t := cases[i].target) is not None]
    further = tuple(np.stack([task.target(cases[i].columns) for i in rows]) for task in tasks) if targets else ()
    return Examples(chosen, np.stack(targets) if targets else np.zeros((0, 0)), further=further)


def _fitted_on(cases: Sequence[Case], n_train: int, calibration: str, failures: Sequence[Failure]) -> list[str]:
    """Sentences for the card."""
    patients = len({c.patient_id for c in cases})
    return [
        f"{n_train} studies for the weights, {calibration}; {patients} patients in all.",
        f"{len(failures)} studies could not be read. Every choice is in `train.json` of the run.",
    ]
