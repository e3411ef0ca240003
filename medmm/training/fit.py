"""The training loop: seeded by epoch, checkpointed after each, stopped early on validation macro-F1.

Every random choice of an epoch follows from (seed, epoch), so a run that was killed and resumed
ends with the same weights as one that was left alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medmm.device import use_bf16
from medmm.disk import replace_bytes
from medmm.errors import NonFiniteError
from medmm.losses import class_weights, total_loss
from medmm.metrics import Scores, decide, point
from medmm.metrics.thresholds import best_thresholds
from medmm.model import MultimodalClassifier
from medmm.training.config import TrainConfig
from medmm.transforms.augment import ImageAugmentation
from medmm.transforms.batch import Preprocessor, Sample
from medmm.types import FloatArray, OnProgress

_WARMUP = 0.2  # share of the steps in which the learning rate rises
_CLIP = 1.0
_EMA_EPOCHS = 1.5  # the averaged weights remember about this many epochs


class Log(Protocol):
    """Takes one row of numbers an epoch; TensorBoard's writer behind a plain function."""

    def __call__(self, epoch: int, values: dict[str, float]) -> None:
        """Record."""
        ...


@dataclass(frozen=True, slots=True)
class Examples:
    """Samples with their targets.

    Attributes:
        samples: Network-ready studies.
        target: (n, K), NaN where unknown.
    """

    samples: Sequence[Sample]
    target: FloatArray

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(slots=True)
class Progress:
    """Where a run stands; saved with the weights after every epoch."""

    epoch: int = 0
    best_f1: float = -1.0
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def improves(self, f1: float, loss: float) -> bool:
        """Whether this validation result beats the best; equal F1 is decided by log-loss."""
        return f1 > self.best_f1 + 1e-9 or (f1 > self.best_f1 - 1e-9 and loss < self.best_loss)


def fit(
    model: MultimodalClassifier,
    preprocessor: Preprocessor,
    train: Examples,
    val: Examples | None,
    config: TrainConfig,
    checkpoint: Path,
    *,
    log: Log,
    on_progress: OnProgress,
) -> Progress:
    """Train until the epochs are over or validation macro-F1 stops rising; leaves the best weights in the model.

    Args:
        model: On its device, freshly initialised.
        preprocessor: Collates samples.
        train: What weights are fitted on.
        val: What decides when to stop; without it all epochs are run and the last averaged weights are kept.
        config: Choices.
        checkpoint: File written after every epoch and picked up when it exists.
        log: Receives one row of numbers an epoch.
        on_progress: Told after every epoch.

    Raises:
        NonFiniteError: If the loss stops being a number.
    """
    trainer = _Trainer(model, preprocessor, train, config)
    progress = trainer.resume(checkpoint)
    while progress.epoch < config.epochs and not _exhausted(progress, config, val):
        loss = trainer.run_epoch(progress.epoch)
        row = {"loss/train": loss, "learning_rate": trainer.learning_rate}
        if val is None:
            progress.best_epoch = progress.epoch
            trainer.keep_best()
        else:
            f1, val_loss = evaluate(trainer.averaged, preprocessor, val, config)
            row |= {"val/f1_macro": f1, "val/log_loss": val_loss}
            if progress.improves(f1, val_loss):
                progress.best_f1, progress.best_loss, progress.best_epoch = f1, val_loss, progress.epoch
                trainer.keep_best()
        row |= model.fusion.numbers()
        log(progress.epoch, row)
        progress.history.append(row)
        progress.epoch += 1
        trainer.save(checkpoint, progress)
        on_progress("training", progress.epoch, config.epochs)
    model.load_state_dict(trainer.best)
    return progress


def evaluate(
    model: MultimodalClassifier, preprocessor: Preprocessor, examples: Examples, config: TrainConfig
) -> tuple[float, float]:
    """Validation macro-F1 (at its own best threshold, which the final calibration sets anew) and log-loss."""
    logits = predict_logits(model, preprocessor, examples.samples, config)
    kind, labels = model.config.kind, model.config.labels
    probability = torch.from_numpy(logits).double()
    p = (probability.sigmoid() if kind == "multilabel" else probability.softmax(1)).numpy()
    called = decide(kind, p, best_thresholds(kind, examples.target, p))
    scores = Scores(kind, labels, examples.target, p, called, np.arange(len(p)))
    return point("f1_macro", scores), point("log_loss", scores)


@torch.no_grad()
def predict_logits(
    model: MultimodalClassifier, preprocessor: Preprocessor, samples: Sequence[Sample], config: TrainConfig
) -> FloatArray:
    """(n, K) float64 logits of each sample from all it has."""
    model.eval()
    rows = []
    for start in range(0, len(samples), config.batch_size):
        chunk = [samples[i] for i in range(start, min(start + config.batch_size, len(samples)))]
        batch = preprocessor.collate(chunk).to(model.device)
        rows.append(model.answer(model.encode(batch), batch.present).double().cpu())
    return torch.cat(rows).numpy()


class _Trainer:
    """Optimiser, averaged weights and the best so far, as one thing that can be saved."""

    def __init__(self, model: MultimodalClassifier, preprocessor: Preprocessor, train: Examples, config: TrainConfig) -> None:
        self.model, self.preprocessor, self.train, self.config = model, preprocessor, train, config
        self.target = torch.from_numpy(train.target).float().to(model.device)
        kind = model.config.kind
        balanced = config.class_weights == "balanced"
        self.class_weight = class_weights(kind, self.target) if balanced else torch.ones(train.target.shape[1], device=model.device)
        self.optimizer = torch.optim.AdamW(_parameter_groups(model, config), lr=config.learning_rate)
        self.steps = max(1, round(len(train) / config.batch_size))
        decay = 1 - 1 / (_EMA_EPOCHS * self.steps + 1)
        moving_average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(model, multi_avg_fn=moving_average, use_buffers=True)
        self.best = _copy(self.averaged)
        self.bf16 = use_bf16(config.precision, model.device)

    @property
    def averaged(self) -> MultimodalClassifier:
        """The exponential moving average of the weights."""
        module: Any = self._average.module
        return module  # type: ignore[no-any-return]

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def keep_best(self) -> None:
        """Remember the averaged weights as the best."""
        self.best = _copy(self.averaged)

    def run_epoch(self, epoch: int) -> float:
        """One pass in random order; returns the mean loss."""
        seed = int(np.random.SeedSequence([self.config.seed, epoch]).generate_state(1)[0])
        torch.manual_seed(seed)
        augment = self._augmentation(seed)
        self.model.train()
        total = 0.0
        for step, chosen in enumerate(torch.randperm(len(self.train)).tensor_split(self.steps)):
            self._set_learning_rate(epoch * self.steps + step)
            total += self._step(chosen.tolist(), augment)
        return total / self.steps

    def _step(self, chosen: list[int], augment: ImageAugmentation | None) -> float:
        samples = [_varied(self.train.samples[i], augment) for i in chosen]
        batch = self.preprocessor.collate(samples).to(self.model.device)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(batch)
            loss = total_loss(
                self.model.config.kind, logits, self.target[chosen], batch.present, self.class_weight,
                self.config.loss_parts, self.config.smoothing,
            )  # fmt: skip
        value = float(loss.detach())
        if not math.isfinite(value):
            msg = "Expected a finite training loss; it became NaN or infinite. Lower the learning rate or use fp32."
            raise NonFiniteError(msg)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.optimizer.step()
        self._average.update_parameters(self.model)
        return value

    def _augmentation(self, seed: int) -> ImageAugmentation | None:
        recipe = self.preprocessor.image
        return ImageAugmentation(recipe, seed % (1 << 31)) if self.config.augment and recipe is not None else None

    def _set_learning_rate(self, step: int) -> None:
        done = step / (self.config.epochs * self.steps)
        rise = min(1.0, done / _WARMUP)
        fall = max(0.0, done - _WARMUP) / (1 - _WARMUP)
        rate = self.config.learning_rate * (0.05 + 0.95 * rise) * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * fall)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]

    def save(self, file: Path, progress: Progress) -> None:
        """Write everything needed to go on, in one step."""
        from safetensors.torch import save

        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        content = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        about = {"epoch": progress.epoch, "best_f1": progress.best_f1, "best_loss": progress.best_loss,
                 "best_epoch": progress.best_epoch, "history": progress.history}  # fmt: skip
        replace_bytes(file, save(content, metadata={"progress": json.dumps(about)}))

    def resume(self, file: Path) -> Progress:
        """Pick up where `save` left off; a fresh start when there is no file."""
        if not file.exists():
            return Progress()
        from safetensors import safe_open

        with safe_open(file, framework="pt", device=str(self.model.device)) as saved:
            tensors = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118 - not a mapping
            progress = Progress(**json.loads(saved.metadata()["progress"]))
        self.model.load_state_dict(_under("model.", tensors))
        self._average.load_state_dict(_under("average.", tensors))
        self.best = _under("best.", tensors)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in _under("optimizer.", tensors).items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        return progress


def _exhausted(progress: Progress, config: TrainConfig, val: Examples | None) -> bool:
    if val is None or not progress.history:
        return False
    counted_from = max(progress.best_epoch, int(_WARMUP * config.epochs))
    return progress.epoch - 1 - counted_from >= config.patience


def _parameter_groups(model: MultimodalClassifier, config: TrainConfig) -> list[dict[str, Any]]:
    """Weight decay on matrices only, not on biases, norms or single numbers like alpha; pretrained weights move slowly.

    `pace` is a group's learning rate over the common one.
    """
    encoder: Any = model.encoders["text"] if config.text_source else None
    pretrained = {id(p) for p in encoder.net.parameters()} if encoder else set()
    groups = []
    for slow in (False, True):
        chosen = [p for p in model.parameters() if (id(p) in pretrained) == slow]
        pace = config.pretrained_rate / config.learning_rate if slow else 1.0
        groups.append({"params": [p for p in chosen if p.ndim > 1], "weight_decay": config.weight_decay, "pace": pace})
        groups.append({"params": [p for p in chosen if p.ndim <= 1], "weight_decay": 0.0, "pace": pace})
    return [group for group in groups if group["params"]]


def _varied(sample: Sample, augment: ImageAugmentation | None) -> Sample:
    if augment is None or "image" not in sample.inputs:
        return sample
    return sample.having("image", augment(sample.inputs["image"][0]))


def _copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
