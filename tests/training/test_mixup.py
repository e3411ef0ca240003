"""Mixing: partners have the same modalities, features are averaged, and the loss is that of the soft label."""

from __future__ import annotations

import torch
from torch.nn import functional

from medmm.encoders import Encoded
from medmm.fusion import Present
from medmm.training.mixup import draw_share, mixed, partners


def test_partners_are_others_with_the_same_modalities() -> None:
    torch.manual_seed(0)
    present: Present = {"image": torch.tensor([1, 1, 1, 0, 0, 1]) > 0, "text": torch.tensor([1, 1, 1, 1, 1, 0]) > 0}
    for _ in range(20):
        partner = partners(present)
        assert all(torch.equal(mask, mask[partner]) for mask in present.values())
        assert sorted(partner.tolist()) == list(range(6))
        assert [i for i, p in enumerate(partner.tolist()) if i == p] == [5]  # it alone has its modalities


def test_features_are_averaged_and_tokens_real_in_either_count() -> None:
    tokens = torch.tensor([[[1.0], [2.0]], [[3.0], [99.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    encoded = Encoded(tokens, mask, torch.tensor([[10.0], [20.0]]))
    found = mixed({"text": encoded}, torch.tensor([1, 0]), 0.75)["text"]
    assert found.pooled.tolist() == [[12.5], [17.5]]
    assert found.tokens[..., 0].tolist() == [[1.5, 1.5], [2.5, 0.5]]  # the padding of 99 counts as nothing
    assert found.mask.all()


def test_shares_are_of_the_first_and_repeat_with_the_seed() -> None:
    torch.manual_seed(1)
    drawn = [draw_share(0.4) for _ in range(200)]
    torch.manual_seed(1)
    assert drawn == [draw_share(0.4) for _ in range(200)]
    assert all(0.5 <= share <= 1 for share in drawn)
    assert max(drawn) - min(drawn) > 0.4


def test_mixing_losses_is_the_loss_of_the_mixed_label() -> None:
    logits, share = torch.randn(5, 3), 0.7
    one, other = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])], torch.eye(3)[torch.tensor([2, 2, 0, 1, 1])]
    losses = [functional.cross_entropy(logits, target.argmax(1)) for target in (one, other)]
    parts = share * losses[0] + (1 - share) * losses[1]
    assert torch.isclose(parts, functional.cross_entropy(logits, share * one + (1 - share) * other))
