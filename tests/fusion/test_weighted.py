from __future__ import annotations

from typing import Any

import pytest
import torch

from medmm.fusion import FUSIONS


@pytest.mark.parametrize("alpha", [1.0, 0.3, -2.0])
def test_the_weighted_sum_is_text_plus_alpha_image(build: Any, features: Any, mixed: Any, alpha: float) -> None:
    fusion, given, present = build("weighted"), features(3), mixed(3)
    fusion.alpha.data.fill_(alpha)
    text, image = given["text"].pooled, given["image"].pooled
    expected = torch.stack([text[0] + alpha * image[0], alpha * image[1], text[2]])
    assert torch.allclose(fusion(given, present), expected, atol=1e-6)


def test_alpha_is_learned_and_reported(build: Any, features: Any, mixed: Any) -> None:
    fusion, given = build("weighted"), features(3)
    fusion(given, mixed(3)).sum().backward()
    image_rows = given["image"].pooled[:2].sum()  # image is present in the first two
    assert float(fusion.alpha.grad) == pytest.approx(float(image_rows), rel=1e-4)
    assert fusion.numbers() == {"alpha/image": pytest.approx(float(fusion.alpha.detach()))}


def test_every_further_modality_has_its_own_alpha() -> None:
    fusion = FUSIONS.get("weighted")(4, ("image", "text", "audio"))
    assert list(fusion.numbers()) == ["alpha/image", "alpha/audio"]
    assert list(FUSIONS.get("weighted")(4, ("image", "audio")).numbers()) == ["alpha/audio"]  # the first counts as it is
    assert FUSIONS.get("weighted")(4, ("text",)).numbers() == {}


def test_per_class_every_class_has_its_own_alpha(features: Any) -> None:
    fusion, given = FUSIONS.get("weighted_per_class")(3, ("image", "text")), features(2, channels=3)
    fusion.alpha.data = torch.tensor([[1.0, 0.5, -2.0]])
    both = {n: torch.ones(2, dtype=torch.bool) for n in given}
    expected = given["text"].pooled + torch.tensor([1.0, 0.5, -2.0]) * given["image"].pooled
    assert torch.allclose(fusion(given, both), expected)
    assert fusion.numbers() == {"alpha/image/0": 1.0, "alpha/image/1": 0.5, "alpha/image/2": -2.0}
