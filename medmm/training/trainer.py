"""The engine of training and pretraining: seeded by epoch, checkpointed after each, stopped early on held-out data.

Every random choice of an epoch follows from (seed, epoch), so a run that was killed and resumed
ends with the same weights as one that was left alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medmm.device import choose_dtype
from medmm.disk import replace_bytes
from medmm.errors import DeviceError, NonFiniteError
from medmm.training.adapters import Adapters
from medmm.training.compute import compiled, recomputed, thin_in_float32
from medmm.training.config import TrainConfig
from medmm.training.layers import choose_learning, paces_of, warn_of_lone_cases
from medmm.training.optimizer import learning_rate_at, make_optimizer
from medmm.training.processes import Together

M = TypeVar("M", bound=nn.Module)

_FIRST_SCALE = 2.0**8  # of a loss in fp16; with torch's 2^16 the first steps of a short run would be left out


class Log(Protocol):
    """Takes one row of numbers an epoch; see `medmm.training.trackers`."""

    def __call__(self, epoch: int, values: dict[str, float]) -> None:
        """Record."""
        ...


class Objective(Protocol):
    """What a run minimises over its n training cases."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def begin_epoch(self, seed: int) -> None:
        """Draw what varies from epoch to epoch from this seed; the model is in training mode already."""
        ...

    def loss(self, chosen: list[int]) -> torch.Tensor:
        """Scalar loss of a batch of cases, with its graph."""
        ...


class Standing(NamedTuple):
    """How good weights are on held-out data.

    Attributes:
        score: To be raised.
        loss: To be lowered; decides between equal scores.
        row: What to log of it.
    """

    score: float
    loss: float
    row: dict[str, float]


@dataclass(slots=True)
class Progress:
    """Where a run stands; saved with the weights after every epoch."""

    epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def improves(self, score: float, loss: float) -> bool:
        """Whether this result on held-out data beats the best; equal scores are decided by the loss."""
        return score > self.best_score + 1e-9 or (score > self.best_score - 1e-9 and loss < self.best_loss)


class Trainer(Generic[M]):
    """Optimiser, averaged weights and the best so far, as one thing that can be saved.

    Args:
        model: On its device.
        objective: What is minimised.
        config: Choices.
        encoders: Those of the model, which a configuration may freeze, open and slow.

    Raises:
        DeviceError: If the device cannot compute in the precision that is asked for.
        TaskError: If an adapter fits no layer of its encoder.
    """

    def __init__(self, model: M, objective: Objective, config: TrainConfig, encoders: nn.ModuleDict | None = None) -> None:
        self.model, self.objective, self.config = model, objective, config
        self.device = next(model.parameters()).device
        self.encoders = nn.ModuleDict() if encoders is None else encoders
        self.adapters = Adapters(self.encoders, config.peft)
        self.optimizer = make_optimizer(model, config, paces_of(self.encoders, config))
        self.steps = max(1, round(len(objective) / (config.batch_size * config.accumulate)))
        decay = 1 - 1 / (config.ema * self.steps + 1)
        moving_average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(model, multi_avg_fn=moving_average, use_buffers=True)
        self.best = _copy(self.averaged)
        self.dtype = choose_dtype(config.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, _FIRST_SCALE, enabled=self.dtype == torch.float16)
        _refuse_half_lstm(model, self.dtype, self.device)
        self.together = Together(self.device)

    def run(
        self, checkpoint: Path, judge: Callable[[M], Standing] | None, numbers: Callable[[], dict[str, float]],
        *, log: Log, on_progress: Callable[[int], None],
    ) -> Progress:  # fmt: skip
        """Train until the epochs are over or the judge's score stops rising; leaves the best weights in the model.

        Args:
            checkpoint: File written after every epoch and picked up when it exists.
            judge: Tells how good averaged weights are; without it all epochs are run and the last are kept.
            numbers: What the model tells of itself, logged every epoch.
            log: Receives one row of numbers an epoch.
            on_progress: Told how many epochs are done.

        Raises:
            NonFiniteError: If the loss stops being a number.
        """
        warn_of_lone_cases(self.encoders, self.config, self.together.count)
        self.together.same_file(checkpoint)
        progress = self.resume(checkpoint)
        names, wanted = self.config.gradient_checkpointing, self.config.compile
        with (
            self.adapters.heard(), thin_in_float32(self.model, self.device, self.dtype), recomputed(self.encoders, names),
            compiled(self.encoders, self.device, wanted),
        ):  # fmt: skip
            self._run_epochs(progress, checkpoint, judge, numbers, log, on_progress)
        self.model.load_state_dict(self.best)
        self.adapters.merge()
        return progress

    def _run_epochs(
        self, progress: Progress, checkpoint: Path, judge: Callable[[M], Standing] | None, numbers: Callable[[], dict[str, float]],
        log: Log, on_progress: Callable[[int], None],
    ) -> None:  # fmt: skip
        while progress.epoch < self.config.epochs and not (judge and _exhausted(progress, self.config)):
            row = {"loss/train": self.run_epoch(progress.epoch), "learning_rate": self.learning_rate}
            standing = self.together.from_first(lambda: judge(self.averaged)) if judge else None
            if standing is None or progress.improves(standing.score, standing.loss):
                progress.best_epoch, self.best = progress.epoch, _copy(self.averaged)
                if standing is not None:
                    progress.best_score, progress.best_loss = standing.score, standing.loss
            row |= (standing.row if standing else {}) | numbers()
            log(progress.epoch, row)
            progress.history.append(row)
            progress.epoch += 1
            self.save(checkpoint, progress)
            on_progress(progress.epoch)

    @property
    def averaged(self) -> M:
        """The exponential moving average of the weights."""
        module: Any = self._average.module
        return module  # type: ignore[no-any-return]

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def run_epoch(self, epoch: int) -> float:
        """One pass in random order; returns the mean loss."""
        seed = int(np.random.SeedSequence([self.config.seed, epoch]).generate_state(1)[0])
        torch.manual_seed(seed)
        batches = torch.randperm(len(self.objective)).tensor_split(self.steps)
        if self.together.index:
            torch.manual_seed(seed + self.together.index)  # dropout of its own
        self.model.train()
        choose_learning(self.encoders, self.config, epoch)
        self.objective.begin_epoch(seed + self.together.index)
        total = 0.0
        for step, chosen in enumerate(batches):
            self._set_learning_rate(epoch * self.steps + step)
            total += self._step(chosen.tolist())
        return total / self.steps

    def _step(self, chosen: list[int]) -> float:
        self.optimizer.zero_grad()
        mine = self.together.share(chosen)
        self.scaler.scale(torch.zeros((), device=self.device))  # it begins without a share too
        size = -(-len(mine) // self.config.accumulate) or 1
        parts = [mine[start : start + size] for start in range(0, len(mine), size)]
        value = sum(self._backward(part, len(part) / len(mine)) for part in parts)
        value = self.together.combine(self.model.parameters(), value, len(mine) / len(chosen))
        if not math.isfinite(value):
            msg = "Expected a finite training loss; it became NaN or infinite. Lower the learning rate or use fp32."
            raise NonFiniteError(msg)
        self.scaler.unscale_(self.optimizer)
        if self.config.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)  # leaves a step out whose gradients fp16 cannot hold
        self.scaler.update()
        self._average.update_parameters(self.model)
        return value

    def _backward(self, chosen: list[int], share: float) -> float:
        """Add the gradients of a part of a step; returns its share of the loss."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss = share * self.objective.loss(chosen)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _set_learning_rate(self, step: int) -> None:
        rate = learning_rate_at(step / (self.config.epochs * self.steps), self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]

    def save(self, file: Path, progress: Progress) -> None:
        """Write everything needed to go on, in one step."""
        from safetensors.torch import save

        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items() if v is not None}
        content = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        told = {"progress": json.dumps(asdict(progress)), "scaler": json.dumps(self.scaler.state_dict())}
        replace_bytes(file, save(content, metadata=told))

    def resume(self, file: Path) -> Progress:
        """Pick up where `save` left off; a fresh start when there is no file."""
        if not file.exists():
            return Progress()
        from safetensors import safe_open

        with safe_open(file, framework="pt", device=str(self.device)) as saved:
            tensors = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118 - not a mapping
            progress = Progress(**json.loads(saved.metadata()["progress"]))
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(json.loads(saved.metadata()["scaler"]))
        self.model.load_state_dict(_under("model.", tensors))
        self._average.load_state_dict(_under("average.", tensors))
        self.best = _under("best.", tensors)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in _under("optimizer.", tensors).items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        return progress


def _exhausted(progress: Progress, config: TrainConfig) -> bool:
    if not progress.history:
        return False
    counted_from = max(progress.best_epoch, int(config.warmup * config.epochs))
    return progress.epoch - 1 - counted_from >= config.patience


def _refuse_half_lstm(model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    if dtype == torch.float16 and device.type == "cpu" and any(isinstance(m, nn.LSTM) for m in model.modules()):
        msg = "Expected precision fp32 or bf16 with an LSTM on a CPU, which cannot compute it in fp16; got fp16."
        raise DeviceError(msg)


def _copy(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
