"""Several processes that train one model together, as `torchrun` and `accelerate launch` start them.

Each holds the whole model and learns from its share of every batch; gradients are summed over all, so the batch and the steps
are those of one process. Only the first keeps what it writes: the others work in a folder that goes with them, or, where they
were killed, when others start.
"""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from medmm.disk import replace_bytes
from medmm.optional import require
from medmm.scratch import private_folder
from medmm.training.config import TrainConfig

T = TypeVar("T")

PREFIX = "medmm-together-"
_PATIENCE = timedelta(days=1)
"""How long processes wait for each other. The first evaluates alone, longer than the 10 or 30 minutes after which torch gives
up; of one that died they need not learn by waiting, as whoever started them ends them all."""


class Together:
    """The processes of a run, seen from one of them.

    Args:
        device: What this process computes on; with several GPUs each takes its own.
    """

    def __init__(self, device: torch.device) -> None:
        self.count, self.index = 1, 0
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            accelerate = require("accelerate", "Training in several processes", "model")
            state = accelerate.PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
            self.count, self.index = state.num_processes, state.process_index

    def folder(self, out: Path) -> Path:
        """Where this process writes: the run folder of the first, elsewhere a folder that goes with the process."""
        if self.index == 0:
            return out
        private = private_folder(PREFIX)
        atexit.register(shutil.rmtree, private, ignore_errors=True)
        return private / out.resolve().name

    def quiet(self, config: TrainConfig) -> TrainConfig:
        """The choices of this process: the first tells the tracker for all."""
        return config if self.index == 0 else replace(config, tracker="none")

    def from_first(self, find: Callable[[], T]) -> T:
        """What the first process finds, told to all."""
        if self.count == 1:
            return find()
        from accelerate.utils import broadcast_object_list

        told: list[Any] = [find() if self.index == 0 else None]
        broadcast_object_list(told)
        found: T = told[0]
        return found

    def same_file(self, file: Path) -> None:
        """Give every process the file of the first, where it has one."""
        content = self.from_first(lambda: file.read_bytes() if file.exists() else None)
        if self.index and content is not None:
            replace_bytes(file, content)

    def share(self, chosen: list[int]) -> list[int]:
        """The cases of a batch that are this process's to learn from."""
        return chosen[self.index :: self.count]

    def combine(self, parameters: Iterable[nn.Parameter], loss: float, weight: float) -> float:
        """Sum gradients and loss over all processes, each by its share of the batch; one that no process has stays None.

        Args:
            parameters: Of the model.
            loss: Mean over this process's share.
            weight: Its share.

        Returns:
            The mean loss over the batch.
        """
        if self.count == 1:
            return loss
        from accelerate.utils import reduce

        trained = [p for p in parameters if p.requires_grad]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        known = torch.tensor([loss, *(float(p.grad is not None) for p in trained)], device=own[0].device)
        known[0] *= weight
        gradients, known = reduce([torch.cat([g.flatten().float() * weight for g in own]), known], reduction="sum")
        parts = gradients.split([p.numel() for p in trained])
        for parameter, part, has in zip(trained, parts, known[1:].tolist(), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype) if has else None
        return float(known[0])
