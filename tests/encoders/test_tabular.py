"""The encoder of tabular values: straight lines at first, anything after training."""

from __future__ import annotations

import pytest
import torch

from medmm.encoders.tabular import ColumnTokens, LinearColumns
from medmm.model import build_projection
from medmm.transforms.columns import plan_table

RECIPE = plan_table({"age": ["40", "60", "80"], "egfr": ["30", "60", ">=90"], "sex": ["f", "m", "f"]}, {})


@pytest.fixture
def encoder() -> ColumnTokens:
    torch.manual_seed(0)
    return ColumnTokens(RECIPE, width=8, dropout=0).eval()


def encoded(encoder: ColumnTokens, ages: list[float], place: int = 2) -> torch.Tensor:
    numbers = torch.tensor([[age, 0.5] for age in ages])
    pooled: torch.Tensor = encoder(numbers, torch.full((len(ages), 1), place)).pooled
    return pooled


def test_before_training_the_answer_is_a_straight_line_in_every_quantity(encoder: ColumnTokens) -> None:
    low, middle, high = encoded(encoder, [-1.3, 0.1, 1.5])
    torch.testing.assert_close(high - middle, middle - low)
    assert (high - low).abs().max() > 0.01


def test_before_training_a_missing_value_and_a_word_say_nothing(encoder: ColumnTokens) -> None:
    missing, mean = encoded(encoder, [torch.nan, 0.0])
    torch.testing.assert_close(missing, mean)
    torch.testing.assert_close(encoded(encoder, [1.0], place=2), encoded(encoder, [1.0], place=3))


@pytest.mark.parametrize("depth", [0, 1])
def test_thresholds_words_and_missing_values_are_learned(depth: int) -> None:
    torch.manual_seed(0)
    encoder = ColumnTokens(RECIPE, width=16, depth=depth, dropout=0)
    numbers, places = torch.randn(256, 2), torch.randint(2, 4, (256, 1))
    numbers[::5, 1] = torch.nan
    target = ((numbers[:, 0].abs() < 0.7) ^ (places[:, 0] == 2) ^ numbers[:, 1].isnan()).float()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.01)
    for _ in range(150):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(encoder(numbers, places).pooled[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = ((encoder(numbers, places).pooled[:, 0] > 0) == target.bool()).float().mean()
    assert right > 0.95


def test_the_linear_encoder_answers_in_straight_lines_also_after_the_models_projection() -> None:
    torch.manual_seed(0)
    encoder = LinearColumns(RECIPE, width=8)
    project = build_projection(encoder, 4)

    def answer(*rows: tuple[float, float, int]) -> torch.Tensor:
        numbers, places = torch.tensor([row[:2] for row in rows]), torch.tensor([[int(row[2])] for row in rows])
        encoded = encoder(numbers, places)
        torch.testing.assert_close(encoded.tokens[:, 0], encoded.pooled)
        projected: torch.Tensor = project(encoded.pooled)
        return projected

    low, middle, high = answer((-1.0, 0.0, 2), (0.5, 0.0, 2), (2.0, 0.0, 2))
    torch.testing.assert_close(high - middle, middle - low)
    both, first, second, neither = answer((0.0, torch.nan, 3), (0.0, torch.nan, 2), (0.0, 0.0, 3), (0.0, 0.0, 2))
    torch.testing.assert_close(both - neither, (first - neither) + (second - neither))
    assert (first - neither).abs().max() > 0.01
    assert (second - neither).abs().max() > 0.01
