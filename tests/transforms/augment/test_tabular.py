"""Tabular values: noise in standard deviations, and as many missing as asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medmm.transforms.augment.choice import TabularChanges
from medmm.transforms.augment.tabular import change_values


def changed(changes: TabularChanges) -> tuple[torch.Tensor, torch.Tensor]:
    return change_values(torch.zeros(4000), torch.full((4000,), 2), changes, np.random.default_rng(0))


def test_noise_has_its_size_and_leaves_categories_alone() -> None:
    numbers, places = changed(TabularChanges(noise=0.3))
    assert float(numbers.std()) == pytest.approx(0.3, rel=0.05)
    assert (places == 2).all()


def test_as_many_values_are_missing_as_was_asked() -> None:
    numbers, places = changed(TabularChanges(missing=0.2))
    assert float(numbers.isnan().float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float((places == 0).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert set(places.tolist()) == {0, 2}


def test_what_is_missing_stays_missing() -> None:
    numbers, places = change_values(torch.tensor([torch.nan]), torch.tensor([0]), TabularChanges(noise=1), np.random.default_rng(0))
    assert numbers.isnan().all()
    assert places.tolist() == [0]
