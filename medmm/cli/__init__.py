"""The `medmm` command. Names, `--json` and exit codes are a contract: scripts call them.

Exit codes: 0 done; 1 a check failed or something unexpected happened; 2 unusable input or
arguments; 3 finished, but some samples failed, each with its reason; 130 and 143 stopped by Ctrl-C
or SIGTERM, and the same command goes on from there.
"""

from __future__ import annotations

# each adds its commands
from medmm.cli import (
    ablate,
    cohort,
    compress,
    dictation,
    distill,
    eval_report,
    eval_run,
    eval_score,
    eval_store,
    measure,
    models,
    pacs,
    pretrain,
    privacy,
    space,
    study,
    transfer,
    tune,
)
from medmm.cli.apps import app
from medmm.cli.console import INTERNAL, fail, unexpected
from medmm.errors import MedmmError
from medmm.optional import own_process

__all__ = [
    "ablate", "app", "cohort", "compress", "dictation", "distill", "eval_report", "eval_run", "eval_score", "eval_store",
    "main", "measure", "models", "pacs", "pretrain", "privacy", "space", "study", "transfer", "tune",
]  # fmt: skip


def main() -> None:
    """Run the command line; turns every error into one line and an exit code."""
    own_process()
    try:
        app(standalone_mode=True)
    except MedmmError as error:
        fail(error.code, error.message)
    except Exception as error:
        fail(INTERNAL, unexpected(error), status=1)
