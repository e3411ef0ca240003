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


SMALL = {
    "resnet": {"widths": (4, 4, 8, 8)},
    "densenet": {"features": 4, "growth": 2, "blocks": (2, 2, 2, 2)},
    "vit": {"patch": 8, "width": 16, "depth": 1, "heads": 2},
    "swin": {"width": 4, "heads": (1, 1, 2, 2)},
    "slices": {"widths": (4, 4, 8, 8)},
    "patch": {"widths": (8, 16)},
}


@pytest.mark.parametrize("shape", [(32, 40, 24), (20, 17, 9), (48, 30, 1)])
@pytest.mark.parametrize("name", SMALL)
def test_every_encoder_reads_any_shape_of_its_recipe_and_every_weight_learns(name: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    recipe = VolumeRecipe(shape, (1.0, 1.0, 1.0))
    encoder = ENCODERS["image"].get(name)(recipe, **SMALL[name]).train()
    encoded = encoder(torch.randn(2, 2, *shape))
    assert encoded.tokens.shape == (*encoded.mask.shape, encoder.out_features)
    assert encoded.pooled.shape == (2, encoder.out_features)
    (encoded.pooled.square().sum() + encoded.tokens.square().sum()).backward()
    idle = [n for n, p in encoder.named_parameters() if p.grad is None and "cross_attn" not in n]  # MONAI's ViT carries it unused
    assert not idle, idle


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_is_encoded_alike_alone_and_beside_others(name: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS["image"].get(name)(VolumeRecipe((32, 32, 16), (1.0, 1.0, 1.0)), **SMALL[name]).eval()
    images = torch.randn(3, 2, 32, 32, 16)
    with torch.no_grad():
        together, alone = encoder(images), encoder(images[1:2])
    assert torch.allclose(together.pooled[1:2], alone.pooled, atol=1e-5)
    assert torch.allclose(together.tokens[1:2], alone.tokens, atol=1e-5)


def test_a_transformer_refuses_an_image_of_another_grid() -> None:
    encoder = ENCODERS["image"].get("vit")(VolumeRecipe((32, 32, 16), (1.0, 1.0, 1.0)), **SMALL["vit"])
    with pytest.raises(ValueError, match="32 patches"):
        encoder(torch.zeros(1, 2, 32, 32, 32))


def test_a_slice_sees_its_neighbours_and_no_other() -> None:
    torch.manual_seed(0)
    encoder = ENCODERS["image"].get("slices")(VolumeRecipe((16, 16, 8), (1.0, 1.0, 1.0)), neighbours=1, **SMALL["slices"]).eval()
    image = torch.randn(1, 2, 16, 16, 8)
    other = image.clone()
    other[..., 5] += 1
    with torch.no_grad():
        changed = (encoder(image).tokens - encoder(other).tokens).abs().amax(2)[0] > 1e-6
    assert changed.tolist() == [False] * 4 + [True] * 3 + [False]
