"""Further tasks: losses and answers against formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from statsmodels.miscmodels.ordinal_model import OrderedModel

from medmm.errors import CohortError
from medmm.tasks import FurtherTask, TaskHead, joint_loss, plan_tasks, task_answer, task_loss

STAGE = FurtherTask("stage", "ordinal", ("I", "II", "III", "IV"))
AGE = FurtherTask("age", "regression", mean=60.0, sd=10.0)


def test_an_ordinal_head_finds_the_cuts_and_the_slope_of_a_proportional_odds_model() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    classes = np.digitize(1.5 * x + rng.logistic(size=2000), [-1.0, 0.5, 2.0])
    peer = OrderedModel(classes, x[:, None], distr="logit").fit(method="bfgs", disp=False)
    torch.manual_seed(0)
    head, target = TaskHead(1, STAGE, 0.0), torch.eye(4)[torch.from_numpy(classes)]
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = task_loss(STAGE, head(torch.from_numpy(x).float()[:, None]), target)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(3):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert float(closure().detach()) == pytest.approx(-peer.llf / 2000, abs=1e-4)
    expected = peer.predict(np.array([[0.7]]))[0]
    said = task_answer(STAGE, head(torch.tensor([[0.7]]))[0].detach())
    assert list(said["probabilities"].values()) == pytest.approx(list(expected), abs=2e-3)
    assert said["calibrated"] is False


def test_a_regression_answers_in_its_own_unit_and_unknown_rows_do_not_count() -> None:
    target = torch.tensor([[1.0], [math.nan], [-1.0]])
    assert float(task_loss(AGE, torch.tensor([[0.0], [50.0], [0.0]]), target)) == 1.0
    assert task_answer(AGE, torch.tensor([0.5]))["value"] == pytest.approx(65.0)
    unknown = torch.zeros(2, 1, requires_grad=True)
    assert float(task_loss(AGE, unknown, torch.full((2, 1), math.nan)).detach()) == 0.0


def test_losses_add_up_with_fixed_weights_or_with_learned_uncertainty() -> None:
    losses, tasks = [torch.tensor(v) for v in (1.0, 2.0, 4.0)], [replace(STAGE, weight=0.5), replace(AGE, weight=0.25)]
    assert float(joint_loss(losses, tasks, None)) == 1.0 + 0.5 * 2 + 0.25 * 4
    s = torch.tensor([0.0, math.log(2.0), math.log(4.0)])
    by_hand = 1.0 + (2 / 2 + math.log(2) / 2) + (0.5 * 4 / 4 + math.log(4) / 2)
    assert float(joint_loss(losses, tasks, s)) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("task", "cells", "message"),
    [
        (FurtherTask("t", "ordinal"), ["low", "mid", "high"], "in their order"),
        (FurtherTask("t", "ordinal"), ["1", "2"], "classes enough"),
        (FurtherTask("t", "binary"), ["a", "b", "c"], "classes enough"),
        (FurtherTask("t", "regression"), ["a", "1"], "numbers in the column t"),
        (FurtherTask("t", "regression"), ["", ""], "numbers in the column t"),
        (FurtherTask("t", "multilabel"), [""], "State them"),
    ],
)
def test_a_task_that_cannot_be_learned_is_refused(task: FurtherTask, cells: list[str], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        plan_tasks([task], [{"t": cell} for cell in cells])


@pytest.mark.parametrize("task", [FurtherTask("t", "binary", ("a", "b")), FurtherTask("t", "regression")])
def test_a_cell_that_is_no_answer_is_refused(task: FurtherTask) -> None:
    with pytest.raises(CohortError, match="for the task t"):
        task.target({"t": "what"})


def test_numbers_are_ordered_as_numbers_and_missing_is_unknown() -> None:
    (task,) = plan_tasks([FurtherTask("t", "ordinal")], [{"t": v} for v in ("10", "2", "", "1")])
    assert task.labels == ("1", "2", "10")
    assert task.target({"t": "2"}).tolist() == [0, 1, 0]
    assert np.isnan(task.target({"t": ""})).all()
