"""Where the numbers of each epoch are written: TensorBoard by default, or what a laboratory follows its runs with.

Nothing but these numbers and the name of the run folder is handed over. It stays on this machine unless the tracker's own
environment variables say otherwise, as `MLFLOW_TRACKING_URI`, `TRACKIO_SPACE_ID` and `WANDB_MODE` do.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from medmm.optional import require
from medmm.training.config import Tracker
from medmm.training.trainer import Log

_PROJECT = "medmm"


def require_tracker(tracker: Tracker) -> None:
    """Refuse a tracker that is not there before anything is read.

    Raises:
        DependencyError: If its package is not installed.
    """
    if tracker in ("mlflow", "trackio", "wandb"):
        _imported(tracker)


def tracked(tracker: Tracker, out: Path, suffix: str = "") -> AbstractContextManager[Log]:
    """Where to tell the numbers of each epoch; a run that goes on is the same run there.

    Args:
        tracker: Which.
        out: Run folder.
        suffix: Of one of several fits of a run.
    """
    return _TRACKERS[tracker](out, suffix)


@contextmanager
def _nowhere(_out: Path, _suffix: str) -> Iterator[Log]:
    yield lambda *_: None


@contextmanager
def _tensorboard(out: Path, suffix: str) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(out / f"tensorboard{suffix}"))

    def log(epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()  # the checkpoint says this epoch is done, so its numbers must outlive a kill

    try:
        yield log
    finally:
        writer.close()


@contextmanager
def _mlflow(out: Path, suffix: str) -> Iterator[Log]:
    """An MLflow experiment, in `mlflow.db` of the run folder unless `MLFLOW_TRACKING_URI` names a store."""
    mlflow, identity = _imported("mlflow"), _identity(out, suffix)
    client = mlflow.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(out / 'mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name(_PROJECT)
    number = experiment.experiment_id if experiment else client.create_experiment(_PROJECT)
    begun = client.search_runs([number], f"tags.identity = '{identity}'")
    run = begun[0] if begun else client.create_run(number, run_name=_name(out, suffix), tags={"identity": identity})

    def log(epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            client.log_metric(run.info.run_id, name, value, step=epoch)

    yield log
    client.set_terminated(run.info.run_id)


@contextmanager
def _trackio(out: Path, suffix: str) -> Iterator[Log]:
    """A Trackio run, where Trackio keeps its own; `trackio show --project medmm` shows it."""
    trackio = _imported("trackio")
    name = f"{_name(out, suffix)}-{_identity(out, suffix)}"
    run = trackio.init(_PROJECT, name, embed=False, resume="allow", auto_log_gpu=False, auto_log_cpu=False)
    try:
        yield lambda epoch, values: run.log(values, step=epoch)
    finally:
        run.finish()


@contextmanager
def _wandb(out: Path, suffix: str) -> Iterator[Log]:
    """A Weights & Biases run, offline in the run folder unless `WANDB_MODE` says otherwise; `wandb sync` sends it."""
    wandb = _imported("wandb")
    quiet = wandb.Settings(
        console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True,
        x_save_requirements=False,
    )  # fmt: skip
    run = wandb.init(
        project=_PROJECT, name=_name(out, suffix), id=_identity(out, suffix), dir=str(out), resume="allow",
        mode=os.environ.get("WANDB_MODE", "offline"), settings=quiet,
    )  # fmt: skip
    try:
        yield lambda epoch, values: run.log(values, step=epoch)
    finally:
        run.finish()


_TRACKERS: dict[Tracker, Callable[[Path, str], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard, "mlflow": _mlflow, "trackio": _trackio, "wandb": _wandb, "none": _nowhere,
}  # fmt: skip


def _imported(tracker: str) -> Any:
    """The package, told before it is read that it reports to nobody how it is used."""
    for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("WANDB_ERROR_REPORTING", "false")):
        os.environ.setdefault(name, value)
    return require(tracker, f"The tracker {tracker}", tracker)


def _name(out: Path, suffix: str) -> str:
    return f"{out.resolve().name}{suffix}"


def _identity(out: Path, suffix: str) -> str:
    """The same for a run that goes on, another in another folder."""
    return hashlib.sha256(f"{out.resolve()}{suffix}".encode()).hexdigest()[:12]
