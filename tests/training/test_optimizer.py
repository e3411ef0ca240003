"""The learning rate from the first step to the last."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from medmm.fusion import FUSIONS
from medmm.training import TrainConfig
from medmm.training.optimizer import learning_rate_at, make_optimizer

CONFIG = TrainConfig(learning_rate=1.0)


@pytest.mark.parametrize(
    ("schedule", "half_way_down", "end"), [("cosine", 0.5005, 0.001), ("linear", 0.5005, 0.001), ("constant", 1.0, 1.0)]
)
def test_a_schedule_rises_then_does_what_its_name_says(schedule: str, half_way_down: float, end: float) -> None:
    config = replace(CONFIG, schedule=schedule)
    rates = [learning_rate_at(done, config) for done in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([0.05, 0.525, 1.0, half_way_down, end])


def test_cosine_and_linear_differ_on_the_way() -> None:
    cosine, linear = (learning_rate_at(0.4, replace(CONFIG, schedule=name, warmup=0.0)) for name in ("cosine", "linear"))
    assert (cosine, linear) == pytest.approx((0.001 + 0.999 * 0.654508, 0.001 + 0.999 * 0.6), abs=1e-6)


def test_without_warming_up_the_first_step_is_the_largest() -> None:
    assert learning_rate_at(0.0, replace(CONFIG, warmup=0.0)) == 1.0


@pytest.mark.parametrize("fusion", ["weighted", "weighted_per_class"])
def test_what_weighs_modalities_does_not_decay_whatever_its_shape(fusion: str) -> None:
    layer = FUSIONS.get(fusion)(3, ("image", "text", "audio"))
    model = nn.ModuleDict({"fusion": layer, "head": nn.Linear(3, 2, bias=False)})
    groups = make_optimizer(model, replace(CONFIG, weight_decay=0.3), {}).param_groups
    assert {g["weight_decay"]: [p.shape for p in g["params"]] for g in groups} == {0.0: [layer.alpha.shape], 0.3: [(2, 3)]}


def test_matrices_decay_and_biases_do_not() -> None:
    model = nn.Linear(3, 2)
    groups = make_optimizer(model, replace(CONFIG, weight_decay=0.3), {}).param_groups
    assert {g["weight_decay"]: [p.ndim for p in g["params"]] for g in groups} == {0.3: [2], 0.0: [1]}
