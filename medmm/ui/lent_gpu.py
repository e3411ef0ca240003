"""Answers on a GPU that a ZeroGPU Space lends for each of them, in a process forked for it."""

from __future__ import annotations

import os
import sys
from typing import Any

from medmm.worker import Task, answer, result_of

_SECONDS = 30  # a shorter wish has a better place in the queue of all Spaces


def lent_gpu(task: Task) -> Task | None:
    """The task as done on a GPU lent for each call; None where no GPU is lent.

    Args:
        task: Loads what it needs by itself: this process never touches CUDA, only its forks do.
    """
    spaces: Any = sys.modules.get("spaces")  # the Space's app.py imports it before anything else
    if spaces is None or not os.environ.get("SPACES_ZERO_GPU"):
        return None

    @spaces.GPU(duration=_SECONDS)  # type: ignore[untyped-decorator]  # not installed elsewhere
    def on_gpu(arguments: dict[str, Any]) -> dict[str, Any]:
        return answer(task, arguments)  # as data, since errors of ours do not come back as themselves

    return lambda **arguments: result_of(on_gpu(arguments))
