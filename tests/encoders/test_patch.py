"""The encoder for processors."""

from __future__ import annotations

import pytest
import torch

from medmm.encoders.patch import PatchConv
from medmm.transforms.volume import VolumeRecipe


@pytest.mark.parametrize("patch", [4, 8])
def test_patches_are_cut_where_a_strided_convolution_cuts_them(patch: int) -> None:
    torch.manual_seed(0)
    encoder = PatchConv(VolumeRecipe((32, 32, 32), (1.0, 1.0, 1.0)), patch=patch, widths=(8, 16))
    stem, image = encoder.layers[0], torch.randn(2, 2, 32, 32, 32)
    kernel = stem.project.weight.view(-1, patch, patch, patch, 2).permute(0, 4, 1, 2, 3)
    expected = torch.nn.functional.conv3d(image, kernel, stem.project.bias, stride=patch).permute(0, 2, 3, 4, 1)
    assert torch.allclose(stem(image.permute(0, 2, 3, 4, 1)), stem.norm(expected), atol=1e-4)


def test_half_precision_says_nearly_what_single_precision_says() -> None:
    torch.manual_seed(0)
    encoder = PatchConv(VolumeRecipe((32, 32, 32), (1.0, 1.0, 1.0)), widths=(16, 32)).eval()
    image = torch.randn(2, 2, 32, 32, 32)
    with torch.no_grad():
        full = encoder(image).pooled
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(image).pooled
    assert torch.allclose(full, half.float(), atol=0.1 * float(full.abs().max()))
