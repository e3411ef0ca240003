"""The contract of every registered fusion, and what each promises beyond it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.fusion import FUSIONS, Features, Present

WIDTH = 16
NAMES = ("image", "text")
PATTERNS = [dict(zip(NAMES, p, strict=True)) for p in itertools.product([True, False], repeat=2) if any(p)]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    fusion = FUSIONS.get(name)(WIDTH, NAMES)
    for parameter in fusion.parameters():  # as after training: nothing is zero
        nn.init.normal_(parameter, std=0.5)
    return fusion.eval()


def features(count: int, seed: int = 1) -> Features:
    made = torch.Generator().manual_seed(seed)
    lengths = {"image": 8, "text": 5}
    return {
        name: Encoded(
            torch.randn(count, length, WIDTH, generator=made),
            torch.arange(length)[None] < torch.randint(1, length + 1, (count, 1), generator=made),
            torch.randn(count, WIDTH, generator=made),
        )
        for name, length in lengths.items()
    }  # type: ignore[return-value]


def mixed(count: int) -> Present:
    """All three patterns in one batch."""
    rows = [PATTERNS[i % 3] for i in range(count)]
    return {name: torch.tensor([row[name] for row in rows]) for name in NAMES}  # type: ignore[misc]


def rows(given: Features, index: torch.Tensor) -> Features:
    return {name: Encoded(*(t[index] for t in encoded)) for name, encoded in given.items()}


def spoiled(given: Features, present: Present, value: float) -> Features:
    """Garbage wherever a modality is absent."""
    return {
        name: Encoded(
            torch.where(present[name][:, None, None], e.tokens, value),
            torch.where(present[name][:, None], e.mask, torch.ones_like(e.mask)),
            torch.where(present[name][:, None], e.pooled, value),
        )
        for name, e in given.items()
    }


def test_the_three_fusions_are_registered() -> None:
    assert {"weighted", "concat", "cross_attention"} <= set(FUSIONS)


@pytest.mark.parametrize("value", [0.0, -7.0, 1e6])
@pytest.mark.parametrize("name", list(FUSIONS))
def test_what_stands_in_for_an_absent_modality_does_not_matter(name: str, value: float) -> None:
    fusion, given, present = build(name), features(6), mixed(6)
    assert torch.allclose(fusion(given, present), fusion(spoiled(given, present, value), present), atol=1e-6)


@pytest.mark.parametrize("name", list(FUSIONS))
def test_every_sample_is_fused_on_its_own(name: str) -> None:
    fusion, given, present = build(name), features(6), mixed(6)
    whole = fusion(given, present)
    assert whole.shape == (6, WIDTH)
    assert torch.isfinite(whole).all()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert torch.allclose(fusion(rows(given, order), {n: m[order] for n, m in present.items()}), whole[order], atol=1e-5)
    for i in range(6):
        alone = fusion(rows(given, torch.tensor([i])), {n: m[i : i + 1] for n, m in present.items()})
        assert torch.allclose(alone[0], whole[i], atol=1e-5)


@pytest.mark.parametrize("name", list(FUSIONS))
def test_each_modality_matters_when_it_is_there(name: str) -> None:
    fusion, given = build(name), features(1)
    outputs = [fusion(given, {n: torch.tensor([p[n]]) for n in NAMES}) for p in PATTERNS]  # type: ignore[misc]
    for one, other in itertools.combinations(outputs, 2):
        assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("pattern", PATTERNS, ids=["both", "image", "text"])
@pytest.mark.parametrize("name", list(FUSIONS))
def test_gradient_reaches_what_is_present_and_only_that(name: str, pattern: dict[str, bool]) -> None:
    fusion, given = build(name), features(2)
    for encoded in given.values():
        encoded.pooled.requires_grad_()
    present = {n: torch.tensor([pattern[n]] * 2) for n in NAMES}
    fusion(given, present).square().sum().backward()  # type: ignore[arg-type]
    for modality, encoded in given.items():
        gradient = 0.0 if encoded.pooled.grad is None else float(encoded.pooled.grad.abs().sum())
        assert (gradient > 0) == pattern[modality]
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", list(FUSIONS))
def test_every_fusion_serves_a_model_of_one_modality(name: str) -> None:
    fusion = FUSIONS.get(name)(WIDTH, ("text",)).eval()
    given = {"text": features(3)["text"]}
    out = fusion(given, {"text": torch.ones(3, dtype=torch.bool), "image": torch.zeros(3, dtype=torch.bool)})
    assert out.shape == (3, WIDTH)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("alpha", [1.0, 0.3, -2.0])
def test_the_weighted_sum_is_text_plus_alpha_image(alpha: float) -> None:
    fusion, given, present = build("weighted"), features(3), mixed(3)
    fusion.alpha.data.fill_(alpha)
    text, image = given["text"].pooled, given["image"].pooled
    expected = torch.stack([text[0] + alpha * image[0], alpha * image[1], text[2]])
    assert torch.allclose(fusion(given, present), expected, atol=1e-6)


def test_alpha_is_learned() -> None:
    fusion, given = build("weighted"), features(3)
    fusion(given, mixed(3)).sum().backward()
    image_rows = given["image"].pooled[:2].sum()  # image is present in the first two
    assert float(fusion.alpha.grad) == pytest.approx(float(image_rows), rel=1e-4)


def test_attention_sees_the_tokens_of_the_other_modality_and_not_its_padding() -> None:
    fusion, given = build("cross_attention"), features(2)
    given["text"] = given["text"]._replace(mask=torch.tensor([[True, True, False, False, False]] * 2))
    present = {n: torch.ones(2, dtype=torch.bool) for n in NAMES}
    before = fusion(given, present)
    padding = given["text"].tokens.clone()
    padding[:, 3] = 99
    assert torch.allclose(fusion({**given, "text": given["text"]._replace(tokens=padding)}, present), before, atol=1e-6)
    real = given["text"].tokens.clone()
    real[:, 1] = -real[:, 1]
    assert (fusion({**given, "text": given["text"]._replace(tokens=real)}, present) - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("wrong", "near"), [("wieghted", "weighted"), ("cross-attention", "cross_attention"), ("concatenate", "concat")]
)
def test_a_misspelt_fusion_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(KeyError, match=f"Did you mean '{near}'"):
        FUSIONS.get(wrong)
