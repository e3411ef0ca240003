"""`medmm tune`: many trainings on one split, the next chosen by the scores of those before; resumable, for several processes."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

import medmm
from medmm.device import choose_device
from medmm.disk import replace_bytes, sole_user
from medmm.errors import CohortError, NonFiniteError, StoreError, TaskError
from medmm.optional import require
from medmm.sources.cohort import read_cohort
from medmm.table import write_csv
from medmm.training.config import TrainConfig, config_from
from medmm.training.partners import Use, refuse_idle, warn_of_idle, without_idle
from medmm.training.processes import Together
from medmm.training.search_space import Space
from medmm.training.train import train
from medmm.types import OnProgress

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState

Sampler = Literal["tpe", "random", "grid"]
Metric = Literal["f1_macro", "loss"]

_WARMUP = 0.3  # share of the epochs before which no trial is given up
_COMPARED = 4  # trials that must be done before one can be given up
_MOST_PROCESSES = 64
_SAME_PATIENTS = "trials are compared on the same patients"
_OF_ALL = {"members": "a trial is one network", "split_seed": _SAME_PATIENTS, "fractions": _SAME_PATIENTS}
"""Choices that cannot be searched, and why."""


@dataclass(frozen=True, slots=True)
class Search:
    """How to search.

    Attributes:
        space: What may be chosen, but `members`, as a trial is one network, and who is in val.
        config: Everything else; `members` is passed on to `best.yaml`.
        trials: Trainings of all processes and starts together.
        sampler: `tpe` (Bayesian: tree-structured Parzen estimator, Bergstra et al. 2011), `random`, or `grid`.
        metric: Of the validation cases; `loss` is the log-loss, with the weighted losses of further tasks.
        prune: Whether a trial below the median of the others at the same epoch is given up (Golovin et al. 2017).
        seed: Of the choices.
    """

    space: Space
    config: TrainConfig
    trials: int = 20
    sampler: Sampler = "tpe"
    metric: Metric = "f1_macro"
    prune: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for key, why in _OF_ALL.items():
            if key in self.space:
                msg = f"Expected a space without {key}, as {why}; got it. Set it for all: best.yaml passes it on."
                raise TaskError(msg)

    @property
    def grid(self) -> list[dict[str, Any]]:
        """Every combination, of a grid."""
        if self.sampler != "grid":
            return []
        return [dict(zip(self.space, values, strict=True)) for values in product(*(part.grid for part in self.space.values()))]

    @property
    def configs(self) -> list[TrainConfig]:
        """Everything else with one value at a time of what may be chosen, so that each value stands in one of them."""
        single = [f"{key}={text}" for key, part in self.space.items() for text in part.ends]
        return [config_from(self.config.to_dict(), [setting]) for setting in single]

    def trial_config(self, settings: list[str]) -> TrainConfig:
        """Choices of a trial, one network, by what was drawn as `key=value` texts."""
        return replace(config_from(self.config.to_dict(), settings), members=1)

    @property
    def wanted(self) -> int:
        """How many trainings there will be; a grid may end before."""
        return min(self.trials, len(self.grid) or self.trials)


@dataclass(frozen=True, slots=True)
class Tried:
    """One training of a search.

    Attributes:
        number: In order of beginning.
        state: `complete`, `pruned`, `failed` or `running`.
        score: Validation metric of its kept weights; of a pruned one None.
        epochs: How many were run.
        chosen: Values of the searched keys, as JSON text.
        reason: Code of the error of a failed one.
    """

    number: int
    state: str
    score: float | None
    epochs: int
    chosen: dict[str, str]
    reason: str = ""


def search(
    cohort: str | Path,
    out: str | Path,
    plan: Search,
    *,
    labels: tuple[str, ...] | None = None,
    device: str = "auto",
    on_progress: OnProgress = lambda *_: None,
) -> list[Tried]:
    """Search; leaves `trials.csv` and, once a trial is complete, `best.yaml`, a configuration to train with.

    Trials fit on `train` and are compared on `val`; `test` is never opened. Start the same command again to go on, or at
    the same time from several processes: they share one study, and a trial whose process died is taken over where it was.

    Args:
        cohort: Cohort table.
        out: Folder of the study.
        plan: How to search.
        labels: Class names in order.
        device: `auto`, `cpu`, `cuda` or `mps`.
        on_progress: Told how far a trial is, and how many are done.

    Returns:
        All trials, in order of beginning.

    Raises:
        StoreError: If the folder holds another study.
        TaskError, CohortError: If the space or the cohort cannot be used, or a choice has no effect in any trial.
    """
    optuna = require("optuna", "Searching for a configuration", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    refuse_idle(plan.configs)
    out, together = Path(out), Together(choose_device(device))
    if together.index:
        _train_along(together, plan, cohort, labels, device)
        return together.from_first(list)
    table = read_cohort(cohort, labels=labels)
    warn_of_idle(plan.configs, Use(table.cases), plan.config, plan.space)
    study = _open(out, plan, table.digest)
    with ExitStack() as stack:
        cache = _free_cache(out, stack)
        while (begun := _begin(study, out, plan)) is not None:
            trial, claim = begun
            with claim:
                _Attempt(study, trial, out, plan, together).run(cohort, labels, device, cache, on_progress)
            on_progress("trials", sum(t.state.is_finished() for t in _counted(study)), plan.wanted)
            _write(study, out, plan)
    together.from_first(lambda: None)  # there is no further trial
    return together.from_first(lambda: _write(study, out, plan))


def _train_along(together: Together, plan: Search, cohort: str | Path, labels: tuple[str, ...] | None, device: str) -> None:
    """Be one of several processes in every trial of the first, until it has enough."""
    from optuna import TrialPruned

    def on_epoch(epoch: int, values: dict[str, float]) -> None:
        if together.from_first(bool):
            raise TrialPruned

    while (settings := together.from_first(list[str])) is not None:
        with suppress(TrialPruned, NonFiniteError, TaskError):
            config = plan.trial_config(settings)
            train(cohort, "run", config, labels=labels, device=device, alone=False, on_epoch=on_epoch, on_scan=lambda _: None)


def _open(out: Path, plan: Search, cohort: str) -> Study:
    """The study of this folder, new or going on."""
    from optuna import create_study
    from optuna.pruners import MedianPruner, NopPruner
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    identity = {"medmm": medmm.__version__, "cohort": cohort, "sampler": plan.sampler, "metric": plan.metric, "seed": plan.seed,
                "space": repr(plan.space), "config": json.dumps(plan.config.to_dict())}  # fmt: skip
    pruner = MedianPruner(_COMPARED, math.ceil(_WARMUP * plan.config.epochs)) if plan.prune else NopPruner()
    with sole_user(out, wait=True):
        study = create_study(
            storage=JournalStorage(JournalFileBackend(str(out / "study.log"))), study_name="medmm", load_if_exists=True,
            direction="maximize" if plan.metric == "f1_macro" else "minimize", pruner=pruner,
        )  # fmt: skip
        found = study.user_attrs.get("identity", identity)
        different = [key for key in identity if found.get(key) != identity[key]]
        if different:
            msg = f"Expected a new or the same search; the folder holds one with another {different[0]}. Give another --out."
            raise StoreError(msg)
        if not study.user_attrs:
            study.set_user_attr("identity", identity)
    return study


def _free_cache(out: Path, stack: ExitStack) -> Path:
    """The first folder of prepared images that no other process uses; a later start finds it again."""
    for number in range(_MOST_PROCESSES):
        with suppress(StoreError):
            stack.enter_context(sole_user(out / "cache" / str(number)))
            return out / "cache" / str(number)
    msg = f"Expected at most {_MOST_PROCESSES} processes on one study; there are more. Wait for one of them."
    raise StoreError(msg)


def _counted(study: Study) -> list[FrozenTrial]:
    """Trials, of one that was taken over only the last."""
    trials = study.get_trials(deepcopy=False)
    return list({trial.user_attrs.get("folder", str(trial.number)): trial for trial in trials}.values())


def _begin(study: Study, out: Path, plan: Search) -> tuple[Trial, ExitStack] | None:
    """Draw the next trial and claim its folder; None when there are enough."""
    from optuna.trial import TrialState

    with sole_user(out, wait=True):
        _take_over_dead(study, out)
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        study.sampler = _sampler(plan, len(study.get_trials(deepcopy=False)))
        if not waiting and len(_counted(study)) >= plan.wanted:
            return None
        if plan.grid and not waiting:
            study.enqueue_trial(plan.grid[len(_counted(study))])
        trial = study.ask()
        chosen = {key: part.suggest(trial, key) for key, part in plan.space.items()}
        trial.set_user_attr("chosen", chosen)
        trial.set_user_attr("folder", trial.user_attrs.get("folder", str(trial.number)))
        claim = ExitStack()
        claim.enter_context(sole_user(_folder(out, trial)))
        return trial, claim


def _sampler(plan: Search, drawn: int) -> Any:
    """Seeded by how many were drawn before, so that processes and later starts draw what one alone would."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = plan.seed * 100_003 + drawn
    return TPESampler(seed=seed) if plan.sampler == "tpe" else RandomSampler(seed=seed)


def _take_over_dead(study: Study, out: Path) -> None:
    """Put trials back whose process died; a claim ends with its process, however that ends."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        try:
            with sole_user(_folder(out, trial)):
                pass
        except StoreError:
            continue  # it is alive
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, {"folder": trial.user_attrs.get("folder", str(trial.number))})


def _folder(out: Path, trial: Trial | FrozenTrial) -> Path:
    return out / "trials" / str(trial.user_attrs.get("folder", trial.number))


class _Attempt:
    """One trial: its training, and what its epochs were worth."""

    def __init__(self, study: Study, trial: Trial, out: Path, plan: Search, together: Together) -> None:
        self.study, self.trial, self.plan, self.config, self.together = study, trial, plan, plan.config, together
        self.folder = _folder(out, trial)
        self.file = self.folder / "scores.json"
        self.scores: dict[str, dict[str, float]] = json.loads(self.file.read_bytes()) if self.file.exists() else {}

    def run(self, cohort: str | Path, labels: tuple[str, ...] | None, device: str, cache: Path, on_progress: OnProgress) -> None:
        """Train and tell the study how it went; what stops every training alike is raised."""
        from optuna import TrialPruned
        from optuna.trial import TrialState

        for epoch, row in self.scores.items():
            self.trial.report(row[self.plan.metric], int(epoch))  # by the process that died
        settings = self.together.from_first(lambda: [f"{k}={text}" for k, text in self.trial.user_attrs["chosen"].items()])
        try:
            self.config = self.plan.trial_config(settings)
            train(cohort, self.folder / "run", self.config, labels=labels, device=device, cache=cache, alone=False,
                  on_epoch=self._on_epoch, on_scan=lambda _: None, on_progress=on_progress)  # fmt: skip
        except TrialPruned:
            self._tell(None, TrialState.PRUNED)
        except (NonFiniteError, TaskError) as error:  # of this choice alone
            self.trial.set_user_attr("reason", error.code)
            self._tell(None, TrialState.FAIL)
        else:
            self._tell(self._kept()[self.plan.metric], TrialState.COMPLETE)

    def _tell(self, score: float | None, state: TrialState) -> None:
        self.trial.set_user_attr("epochs", len(self.scores))
        self.study.tell(self.trial, score, state)

    def _kept(self) -> dict[str, float]:
        """Of the epoch whose weights training keeps, as `judge` says: best macro-F1, the lower loss deciding between equals."""
        by_loss = self.config.judge == "loss"
        return max(self.scores.values(), key=lambda row: (0.0 if by_loss else round(row["f1_macro"], 9), -row["loss"]))

    def _on_epoch(self, epoch: int, values: dict[str, float]) -> None:
        from optuna import TrialPruned

        if self.together.from_first(lambda: self._gives_up(epoch, values)):
            raise TrialPruned

    def _gives_up(self, epoch: int, values: dict[str, float]) -> bool:
        """Whether the trial is, by the numbers of its last epoch, which are told to the study."""
        if "val/f1_macro" not in values:
            msg = "Expected validation cases to compare trials on; there are none. Put patients into val, or raise its fraction."
            raise CohortError(msg)
        again = str(epoch) in self.scores  # it died between the epoch's numbers and its checkpoint
        self.scores[str(epoch)] = {name: values[f"val/{name}"] for name in ("f1_macro", "loss")}
        replace_bytes(self.file, json.dumps(self.scores).encode())
        if again:
            return False
        self.trial.report(self.scores[str(epoch)][self.plan.metric], epoch)
        return epoch + 1 < self.config.epochs and self.trial.should_prune()


def _write(study: Study, out: Path, plan: Search) -> list[Tried]:
    """The table of all trials, and the best configuration, in a form `medmm train --config` takes."""
    begun = [_tried(trial) for trial in _counted(study) if trial.state.name != "WAITING"]
    tried = sorted(begun, key=lambda t: t.number)
    complete = [t for t in tried if t.score is not None]
    rows = [{"number": t.number, "state": t.state, plan.metric: t.score, "epochs": t.epochs, "reason": t.reason, **t.chosen}
            for t in tried]  # fmt: skip
    with sole_user(out, wait=True):
        write_csv(out / "trials.csv", ["number", "state", plan.metric, "epochs", "reason", *plan.space], rows)
        if complete:
            best = best_of(complete, plan.metric)
            config = without_idle(config_from(plan.config.to_dict(), [f"{key}={text}" for key, text in best.chosen.items()]))
            plain = json.loads(json.dumps(config.to_dict()))
            replace_bytes(out / "best.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode())
    return tried


def best_of(tried: list[Tried], metric: Metric) -> Tried:
    """The complete trial with the best score, the first of equals."""
    sign = 1 if metric == "f1_macro" else -1
    return max((t for t in tried if t.score is not None), key=lambda t: (sign * (t.score or 0.0), -t.number))


def _tried(trial: FrozenTrial) -> Tried:
    attributes, state = trial.user_attrs, {"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())
    number = int(attributes.get("folder", trial.number))
    epochs = int(attributes.get("epochs", 0))
    score = trial.value if state == "complete" else None
    return Tried(number, state, score, epochs, dict(attributes.get("chosen", {})), str(attributes.get("reason", "")))
