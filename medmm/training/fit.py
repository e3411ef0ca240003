"""Supervised training: what the engine minimises and how validation judges it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from medmm.fusion import Present
from medmm.heads import Logits
from medmm.losses import Criterion, class_weights, distillation_loss, log_prior, over_parts, total_loss
from medmm.metrics import Scores, decide, point
from medmm.metrics.thresholds import best_thresholds
from medmm.model import MultimodalClassifier
from medmm.tasks import joint_loss, task_loss
from medmm.training.adversarial import attacked, words_moved_by
from medmm.training.config import TrainConfig
from medmm.training.examples import Examples, Varied, heldout_logits
from medmm.training.mixup import draw_share, mixed, partners
from medmm.training.trainer import Log, Progress, Standing, Trainer
from medmm.transforms.batch import Batch, Preprocessor, Sample
from medmm.types import FloatArray, Kind, OnProgress


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
    """Train until the epochs are over or validation gets no better; leaves the best weights in the model.

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

    def judge(averaged: MultimodalClassifier) -> Standing:
        assert val is not None
        f1, loss = evaluate(averaged, preprocessor, val, config)
        return Standing(-loss if config.judge == "loss" else f1, loss, {"val/f1_macro": f1, "val/loss": loss})

    supervised = _Supervised(model, preprocessor, train, config)
    trainer = Trainer(model, supervised, config, model.encoders)
    return trainer.run(
        checkpoint, judge if val is not None else None, model.learned,
        log=log, on_progress=lambda done: on_progress("training", done, config.epochs),
    )  # fmt: skip


def evaluate(
    model: MultimodalClassifier, preprocessor: Preprocessor, examples: Examples, config: TrainConfig
) -> tuple[float, float]:
    """Validation macro-F1 (at its own best threshold, which the final calibration sets anew) and loss.

    Both are of answers from all that cases have, or means over the subsets of modalities in which every class is found. The
    loss is the log-loss of the main task plus that of the further ones, each with its weight.
    """
    heldout = heldout_logits(model, preprocessor, examples, config.batch_size, config.judge_on)
    answered = [(heldout.target[rows], heldout.logits[name][rows]) for name, rows in heldout.complete.items() if rows.any()]
    judged = [part for part in answered if (np.nansum(part[0], axis=0) > 0).all()] or answered
    f1, loss = np.mean([_standing(model.config.kind, model.config.labels, *part) for part in judged], axis=0)
    losses = [
        task.weight * float(task_loss(task, torch.from_numpy(output), torch.from_numpy(target)))
        for task, (target, output) in zip(model.config.tasks, heldout.further, strict=True)
    ]
    return float(f1), float(loss) + sum(losses)


def _standing(kind: Kind, labels: tuple[str, ...], target: FloatArray, logits: FloatArray) -> tuple[float, float]:
    """Macro-F1 and log-loss."""
    outputs = torch.from_numpy(logits)
    p = (outputs.sigmoid() if kind == "multilabel" else outputs.softmax(1)).numpy()
    called = decide(kind, p, best_thresholds(kind, target, p))
    scores = Scores(kind, labels, target, p, called, np.arange(len(p)))
    return point("f1_macro", scores), point("log_loss", scores)


def criterion_of(kind: Kind, target: torch.Tensor, config: TrainConfig) -> Criterion:
    """The loss that a configuration names, with class frequencies of the training targets (n, K)."""
    beta = {"balanced": 1.0, "effective": config.effective_beta}.get(config.class_weights)
    return Criterion(
        kind,
        torch.ones_like(target[0]) if beta is None else class_weights(kind, target, beta),
        config.smoothing,
        config.focal_gamma if config.loss == "focal" else 0.0,
        config.adjustment * log_prior(kind, target) if config.loss == "logit_adjusted" else None,
    )


class _Supervised(Varied):
    """The loss of labelled cases."""

    def __init__(self, model: MultimodalClassifier, preprocessor: Preprocessor, train: Examples, config: TrainConfig) -> None:
        super().__init__(train.samples, preprocessor, config)
        self.model = model
        self.target = torch.from_numpy(train.target).float().to(model.device)
        self.further = [torch.from_numpy(target).float().to(model.device) for target in train.further]
        self.criterion = criterion_of(model.config.kind, self.target, config)
        self.taught = None if train.taught is None else torch.from_numpy(train.taught).float().to(model.device)

    def loss(self, chosen: list[int]) -> torch.Tensor:
        """Of these cases."""
        samples = self.take(chosen)
        loss = self._mixed_loss(self._batch(samples), chosen)
        attack = self.config.adversarial
        if attack.method is None:
            return loss
        worse, shift = attacked(self.model, samples, lambda moved: self._plain_loss(moved, chosen), attack)
        with words_moved_by(self.model, shift):
            harmed = self._plain_loss(worse, chosen)
        return (1 - attack.weight) * loss + attack.weight * harmed

    def _plain_loss(self, samples: Sequence[Sample], chosen: list[int]) -> torch.Tensor:
        batch = self._batch(samples)
        return self._loss(self.model(batch), chosen, batch.present)

    def _mixed_loss(self, batch: Batch, chosen: list[int]) -> torch.Tensor:
        """Of a batch, each study mixed with another where the configuration says so."""
        features, shown = self.model.encode(batch), _some_hidden(batch.present, self.config.modality_dropout)
        if not self.config.mixup:
            return self._loss(self.model.judge(features, shown), chosen, batch.present)
        partner, share = partners(batch.present), draw_share(self.config.mixup)
        logits = self.model.judge(mixed(features, partner, share), shown)
        others = [chosen[i] for i in partner.tolist()]
        return share * self._loss(logits, chosen, batch.present) + (1 - share) * self._loss(logits, others, batch.present)

    def _loss(self, logits: Logits, chosen: list[int], present: Present) -> torch.Tensor:
        """Of the main task and the further ones."""
        tasks = self.model.config.tasks
        further = [task_loss(t, o, target[chosen]) for t, o, target in zip(tasks, logits.further, self.further, strict=True)]
        return joint_loss([self._main_loss(logits, chosen, present), *further], tasks, self.model.log_variance)

    def _main_loss(self, logits: Logits, chosen: list[int], present: Present) -> torch.Tensor:
        """Of labels, and of the teacher's word where there is one."""
        kind, parts = self.model.config.kind, self.config.loss_parts
        loss = total_loss(self.criterion, logits, self.target[chosen], present, parts)
        if self.taught is None:
            return loss
        taught, temperature = self.taught[chosen], self.config.distill_temperature
        word = over_parts(
            logits, present, parts, lambda predicted, rows: distillation_loss(kind, predicted, taught[rows], temperature)
        )
        return (1 - self.config.distill_weight) * loss + self.config.distill_weight * word

    def _batch(self, samples: Sequence[Sample]) -> Batch:
        return self.preprocessor.collate(samples).to(self.model.device)


def _some_hidden(present: Present, chance: float) -> Present:
    """What is left when each modality of each case is hidden with a chance; a case that would lose all keeps all."""
    if not chance:
        return present
    kept = {name: mask & (torch.rand(len(mask), device=mask.device) >= chance) for name, mask in present.items()}
    emptied = ~torch.stack(list(kept.values())).any(0)
    return {name: mask | (emptied & present[name]) for name, mask in kept.items()}
