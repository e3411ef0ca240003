"""medmm: a patient's imaging study and note in, one calibrated probability out, with proof of how good it is.

    import medmm

    study = medmm.open_study("scan.zip", note="61-year-old, cough for 3 weeks.")
    model = medmm.load_model("sts51")
    print(model.predict(study).answer.probabilities)

Importing this package loads nothing heavy; each name below is imported when first used. Research
use only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Cohort": "medmm.sources.cohort",
    "Note": "medmm.study",
    "Prediction": "medmm.prediction",
    "Predictor": "medmm.inference",
    "Results": "medmm.results",
    "Study": "medmm.study",
    "Task": "medmm.evaluation.task",
    "TrainConfig": "medmm.training",
    "Volume": "medmm.study",
    "load_model": "medmm.inference",
    "make_phantom": "medmm.sources.phantom",
    "open_study": "medmm.sources.opener",
    "read_cohort": "medmm.sources.cohort",
    "run_evaluation": "medmm.evaluation.run",
    "score": "medmm.evaluation.score",
    "train": "medmm.training",
}

__all__ = ["__version__", "errors", *sorted(_HOMES)]

if TYPE_CHECKING:
    from medmm import errors
    from medmm.evaluation.run import run_evaluation
    from medmm.evaluation.score import score
    from medmm.evaluation.task import Task
    from medmm.inference import Predictor, load_model
    from medmm.prediction import Prediction
    from medmm.results import Results
    from medmm.sources.cohort import Cohort, read_cohort
    from medmm.sources.opener import open_study
    from medmm.sources.phantom import make_phantom
    from medmm.study import Note, Study, Volume
    from medmm.training.config import TrainConfig
    from medmm.training.train import train


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("medmm.errors")
    if name not in _HOMES:
        msg = f"module 'medmm' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
