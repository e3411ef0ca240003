"""Image encoders on top of MONAI."""

from __future__ import annotations

import pytest
import torch

from medmm.encoders import ENCODERS
from medmm.encoders.image import ResNet
from medmm.transforms.volume import VolumeRecipe


@pytest.fixture(scope="module")
def net() -> ResNet:
    torch.manual_seed(0)
    return ResNet(VolumeRecipe((64, 64, 64), (1.0, 1.0, 1.0)), widths=(4, 4, 8, 8))


def test_tokens_are_the_last_map_and_the_registry_knows_the_encoder(net: ResNet) -> None:
    assert ENCODERS["image"].get("resnet") is ResNet
    encoded = net.eval()(torch.randn(2, 2, 64, 32, 32))
    assert encoded.tokens.shape == (2, 2 * 1 * 1, 8)
    assert encoded.mask.all()
    assert encoded.pooled.shape == (2, net.out_features)


def test_flat_pictures_are_read_too(net: ResNet) -> None:
    assert net.eval()(torch.randn(2, 2, 64, 64, 1)).pooled.shape == (2, 8)


def test_one_corner_of_the_image_changes_the_summary(net: ResNet) -> None:
    image = torch.zeros(1, 2, 64, 64, 64)
    other = image.clone()
    other[..., :8, :8, :8] = 1.0
    assert not torch.allclose(net.eval()(image).pooled, net(other).pooled, atol=1e-4)


def test_a_lone_sample_trains_without_touching_the_batch_statistics(net: ResNet) -> None:
    before = net.net.bn1.running_mean.clone()
    net.train()(torch.randn(1, 2, 16, 16, 16)).pooled.sum().backward()
    assert torch.equal(net.net.bn1.running_mean, before)
    assert net.net.conv1.weight.grad.abs().sum() > 0
    net(torch.randn(2, 2, 16, 16, 16))
    assert not torch.equal(net.net.bn1.running_mean, before)
