"""How weights move: the optimizer by its name, and the learning rate from the first step to the last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from medmm.fusion.contract import Fusion
from medmm.training.config import TrainConfig

_LOWEST = 0.001  # share of the learning rate that a schedule ends with
_FIRST = 0.05  # share that warming up begins with


def make_optimizer(model: nn.Module, config: TrainConfig, paces: Mapping[nn.Parameter, float]) -> torch.optim.Optimizer:
    """The optimizer that a configuration names.

    Args:
        model: What is trained.
        config: Choices.
        paces: Learning rates over the common one of parameters that have one of their own.
    """
    groups, rate = _parameter_groups(model, config, paces), config.learning_rate
    match config.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, rate, momentum=config.momentum, nesterov=config.momentum > 0)
        case "rmsprop":
            return torch.optim.RMSprop(groups, rate, momentum=config.momentum)
        case "adam":
            return torch.optim.Adam(groups, rate)
        case "radam":
            return torch.optim.RAdam(groups, rate, decoupled_weight_decay=True)
        case "adamw":
            return torch.optim.AdamW(groups, rate)


def learning_rate_at(done: float, config: TrainConfig) -> float:
    """Learning rate after a share of all steps: a straight rise during `warmup`, then what `schedule` names."""
    rise = min(1.0, done / config.warmup) if config.warmup else 1.0
    fall = max(0.0, done - config.warmup) / (1 - config.warmup)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * fall)), "linear": 1 - fall, "constant": 1.0}[config.schedule]
    return config.learning_rate * (_FIRST + (1 - _FIRST) * rise) * (_LOWEST + (1 - _LOWEST) * left)


def _parameter_groups(model: nn.Module, config: TrainConfig, paces: Mapping[nn.Parameter, float]) -> list[dict[str, Any]]:
    """Weight decay on matrices only, not on biases, norms or what weighs modalities, like alpha.

    `pace` is a group's learning rate over the common one.
    """
    weighing = {getattr(fusion, name) for fusion in model.modules() if isinstance(fusion, Fusion) for name in fusion.weighs_by}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        decay = config.weight_decay if parameter.ndim > 1 and parameter not in weighing else 0.0
        groups.setdefault((paces.get(parameter, 1.0), decay), []).append(parameter)
    return [{"params": members, "weight_decay": decay, "pace": pace} for (pace, decay), members in groups.items()]
