"""Recomputed and compiled encoders learn and answer what plain ones do."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from medmm.encoders.image import ResNet, ViT
from medmm.encoders.patch import PatchConv
from medmm.encoders.tabular import ColumnTokens
from medmm.encoders.text import HuggingFace, NumberTransformer, read_pretrained
from medmm.training.compute import CompilerWarning, compiled, recomputed, thin_in_float32
from medmm.transforms.columns import NumberColumn, TableRecipe
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe

IMAGES = VolumeRecipe((16, 16, 16), (1.0, 1.0, 1.0), ((-1000.0, 400.0),))
REAL = torch.ones(3, 6, dtype=torch.bool)
NOTES = (torch.arange(18).view(3, 6), torch.ones(3, 6), ~REAL, REAL)


@pytest.fixture(params=["transformer", "bert", "vit", "patch"])
def encoder(request: pytest.FixtureRequest, build_bert: Any, tmp_path: Any) -> Any:
    torch.manual_seed(0)
    if request.param == "bert":
        return HuggingFace(TextRecipe(250), config=read_pretrained(str(build_bert(tmp_path)))[1])
    if request.param == "transformer":
        return NumberTransformer(TextRecipe(20), width=16, depth=2)
    return ViT(IMAGES, width=16, depth=2) if request.param == "vit" else PatchConv(IMAGES, widths=(4, 8))


def inputs_of(encoder: Any) -> tuple[torch.Tensor, ...]:
    return NOTES if encoder.modality == "text" else (torch.randn(3, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1)),)


def gradients_of(encoder: Any) -> tuple[list[torch.Tensor], int]:
    """After one pass, and how many bytes it kept on the way."""
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    torch.manual_seed(5)  # of dropout
    encoder.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = encoder(*inputs_of(encoder)).pooled.square().sum()
    loss.backward()
    return [p.grad.clone() for p in encoder.parameters() if p.grad is not None], kept


def test_blocks_that_are_computed_again_have_the_same_gradients_and_keep_less(encoder: Any) -> None:
    encoders = nn.ModuleDict({encoder.modality: encoder}).train()
    names = set(encoder.state_dict())
    plain, much = gradients_of(encoder)
    with recomputed(encoders, [encoder.modality]):
        again, less = gradients_of(encoder)
        assert set(encoder.state_dict()) == names
    assert less < 0.8 * much
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert gradients_of(encoder)[1] == much  # the block is over


def test_a_compiled_encoder_answers_as_before_and_is_its_own_again_in_the_end() -> None:
    table = TableRecipe((NumberColumn("age", "", 0.0, 1.0, 0.0, 1.0),), ())
    encoder, inputs = ColumnTokens(table, width=4, bins=3).eval(), (torch.randn(3, 1), torch.zeros(3, 0, dtype=torch.long))
    encoders, names = nn.ModuleDict({"tabular": encoder}), set(encoder.state_dict())
    before = encoder(*inputs).pooled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own compiler
        with compiled(encoders, torch.device("cpu"), wanted=True), torch.no_grad():
            assert torch.allclose(encoder(*inputs).pooled, before, atol=1e-5)
            assert "forward" in vars(encoder)
            assert set(encoder.state_dict()) == names
    assert "forward" not in vars(encoder)
    assert torch.equal(encoder(*inputs).pooled, before)


def test_without_a_compiler_it_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()  # it remembers what it compiled
    encoder = NumberTransformer(TextRecipe(20), width=8).eval()
    before = encoder(*NOTES).pooled
    with (
        pytest.warns(CompilerWarning, match="goes on without"),
        compiled(nn.ModuleDict({"text": encoder}), torch.device("cpu"), True),
    ):
        assert torch.equal(encoder(*NOTES).pooled, before)


@pytest.mark.parametrize("last", [1, 2, 3, 8])
def test_strided_convolutions_in_bf16_answer_as_in_float32_however_thin_the_map(last: int) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv3d(64, 128, 3, stride=2, padding=1), nn.Conv3d(128, 64, 2, stride=2, padding=1))
    x, cpu = torch.randn(16, 64, 6, 6, last), torch.device("cpu")
    plain = layers(x)
    with thin_in_float32(layers, cpu, torch.bfloat16), torch.autocast("cpu", torch.bfloat16):
        found = layers(x).float()
    assert (found - plain).abs().max() < 0.02 * plain.abs().max()
    assert torch.equal(layers(x), plain)  # its own again


def test_an_encoder_learns_in_bf16_on_a_cpu_what_it_learns_in_float32() -> None:
    torch.manual_seed(0)
    net = ResNet(VolumeRecipe((40, 40, 32), (1.0, 1.0, 1.0), ((-1000.0, 400.0),)))
    x, gradients = torch.randn(24, 1, 40, 40, 32), []
    for dtype in (torch.float32, torch.bfloat16):
        net.zero_grad()
        with thin_in_float32(net, torch.device("cpu"), dtype), torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            net(x).pooled.float().square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    assert (gradients[1] - gradients[0]).norm() < 0.25 * gradients[0].norm()  # the rounding of bf16
