"""What single fusions promise beyond the contract, each against its formula written out in numpy or by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from medmm.encoders import Encoded
from medmm.fusion import FUSIONS

BOTH = {n: torch.ones(2, dtype=torch.bool) for n in ("image", "text")}


def plain(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def test_cross_attention_sees_the_tokens_of_the_other_modality_and_not_its_padding(build: Any, features: Any) -> None:
    for name in ("cross_attention", "transformer"):
        fusion, given = build(name), features(2)
        given["text"] = given["text"]._replace(mask=torch.tensor([[True, True, False, False, False]] * 2))
        before = fusion(given, BOTH)
        padding = given["text"].tokens.clone()
        padding[:, 3] = 99
        assert torch.allclose(fusion({**given, "text": given["text"]._replace(tokens=padding)}, BOTH), before, atol=1e-6)
        real = given["text"].tokens.clone()
        real[:, 1] = -real[:, 1]
        assert (fusion({**given, "text": given["text"]._replace(tokens=real)}, BOTH) - before).abs().max() > 1e-4


def test_the_gates_of_two_modalities_are_z_and_one_minus_z(build: Any, features: Any) -> None:
    fusion, given = build("gated"), features(2)
    image, text = plain(given["image"].pooled), plain(given["text"].pooled)
    asked = np.concatenate([image, text], 1) @ plain(fusion.gate.weight).T + plain(fusion.gate.bias)
    z = expit(asked[:, :16] - asked[:, 16:])
    h = [np.tanh(x @ plain(fusion.value[n].weight).T + plain(fusion.value[n].bias)) for n, x in (("image", image), ("text", text))]
    np.testing.assert_allclose(plain(fusion(given, BOTH)), z * h[0] + (1 - z) * h[1], atol=1e-5)


def test_a_gate_shrinks_with_the_trust_in_what_it_lets_through(build: Any, features: Any) -> None:
    fusion, given = build("gated"), features(2)
    image, text = plain(given["image"].pooled), plain(given["text"].pooled)
    asked = np.concatenate([image, text], 1) @ plain(fusion.gate.weight).T + plain(fusion.gate.bias)
    trust = np.array([[1.0], [0.25]])
    z = np.exp(asked[:, :16]) / (np.exp(asked[:, :16]) + trust * np.exp(asked[:, 16:]))
    h = [np.tanh(x @ plain(fusion.value[n].weight).T + plain(fusion.value[n].bias)) for n, x in (("image", image), ("text", text))]
    heard = {**given, "text": given["text"]._replace(trust=torch.tensor([1.0, 0.25]))}
    np.testing.assert_allclose(plain(fusion(heard, BOTH)), z * h[0] + (1 - z) * h[1], atol=1e-5)


def test_the_low_rank_product_is_the_contraction_of_a_full_tensor(build: Any, features: Any) -> None:
    fusion, given = build("lowrank"), features(2)
    rank, one = len(fusion.ranks), np.ones((2, 1))
    sides, factors = {}, {}
    for name in ("image", "text"):
        sides[name] = np.concatenate([plain(given[name].pooled), one], 1)
        layer = fusion.factors[name]
        factors[name] = np.concatenate([plain(layer.weight), plain(layer.bias)[:, None]], 1).reshape(rank, 16, -1)
    tensor = np.einsum("r,rka,rkb->kab", plain(fusion.ranks)[:, 0], factors["image"], factors["text"])
    outer = np.einsum("ba,bc->bac", sides["image"], sides["text"])
    expected = np.einsum("kac,bac->bk", tensor, outer) + plain(fusion.bias)
    np.testing.assert_allclose(plain(fusion(given, BOTH)), expected, rtol=1e-4, atol=1e-4)


def test_projections_are_averaged_over_what_is_present(build: Any, features: Any) -> None:
    fusion, given = build("projection"), features(2)
    same = {**given, "text": given["image"]}
    fusion.project["text"] = fusion.project["image"]
    image_only = {"image": BOTH["image"], "text": ~BOTH["text"]}
    assert torch.allclose(fusion(same, BOTH), fusion(same, image_only), atol=1e-5)


def test_experts_of_independent_findings_multiply_to_the_true_posterior() -> None:
    """p(y | a, b) by Bayes' rule for two findings that are independent given the class."""
    prior, a, b = np.array([0.7, 0.3]), np.array([0.2, 0.9]), np.array([0.5, 0.1])  # p(y), p(a | y), p(b | y)
    fusion = FUSIONS.get("product_of_experts")(2, ("image", "text"))
    fusion.prior.data = torch.tensor(np.log(prior), dtype=torch.float32)
    experts = {"image": np.log(prior * a) + 5.0, "text": np.log(prior * b) - 3.0}  # any constant
    one = torch.ones(1, dtype=torch.bool)
    pooled = {n: torch.tensor(v[None], dtype=torch.float32) for n, v in experts.items()}
    given: Any = {n: Encoded(x[:, None], one[:, None], x) for n, x in pooled.items()}
    found = plain(fusion(given, {"image": one, "text": one}))
    np.testing.assert_allclose(softmax(found), softmax(np.log(prior * a * b))[None], atol=1e-6)
    alone = plain(fusion(given, {"image": one, "text": ~one}))
    np.testing.assert_allclose(log_softmax(alone), log_softmax(experts["image"])[None], atol=1e-6)


def test_late_fusion_is_the_mean_of_calibrated_logits_over_what_is_present(build: Any, features: Any, mixed: Any) -> None:
    fusion, given = build("late", channels=3), features(3, channels=3)
    calibrated = {
        n: plain(given[n].pooled) / np.exp(plain(fusion.log_temperature[n])) + plain(fusion.bias[n]) for n in ("image", "text")
    }
    expected = np.stack([(calibrated["image"][0] + calibrated["text"][0]) / 2, calibrated["image"][1], calibrated["text"][2]])
    np.testing.assert_allclose(plain(fusion(given, mixed(3))), expected, atol=1e-5)
    assert fusion.numbers() == {
        f"temperature/{n}": pytest.approx(float(fusion.log_temperature[n].detach().exp())) for n in ("image", "text")
    }


@pytest.mark.parametrize(
    ("wrong", "near"), [("wieghted", "weighted"), ("cross-attention", "cross_attention"), ("concatenate", "concat")]
)
def test_a_misspelt_fusion_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(KeyError, match=f"Did you mean '{near}'"):
        FUSIONS.get(wrong)
