"""COLIPRI's image encoder: published names and shapes, and what they compute, operation by operation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from medmm.encoders.colipri import Colipri
from medmm.encoders.opened import CONTRACTS
from medmm.errors import TaskError
from medmm.transforms.volume import VolumeRecipe

RECIPE = CONTRACTS["colipri"].recipe
SMALL = {"width": 36, "depth": 2, "heads": 3, "out": 12}


def published(width: int, depth: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the image side of `model.safetensors`, as the package colipri 0.1.3 makes them."""
    p, inner = "image_encoder.", width * 8 // 3

    def layer(name: str, *shape: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{p}{name}.weight", shape
        if bias:
            yield f"{p}{name}.bias", shape[:1]

    yield from layer("backbone.down_projection.proj", width, 1, 8, 8, 8)
    yield f"{p}backbone.mask_token", (1, 1, width)
    yield from layer("backbone.eva.norm", width)
    for block in range(depth):
        at = f"backbone.eva.blocks.{block}"
        yield from ((f"{p}{at}.gamma_{n}", (width,)) for n in (1, 2))
        for name in ("norm1", "norm2", "attn.norm"):
            yield from layer(f"{at}.{name}", width)
        for name in ("q_proj", "k_proj", "v_proj", "proj"):
            yield from layer(f"{at}.attn.{name}", width, width, bias=name != "k_proj")
        for name in ("fc1_g", "fc1_x"):
            yield from layer(f"{at}.mlp.{name}", inner, width)
        yield from layer(f"{at}.mlp.norm", inner)
        yield from layer(f"{at}.mlp.fc2", width, inner)
    yield from layer("projector", out, width, 1, 1, 1)
    yield f"{p}pooler.attn.in_proj_weight", (3 * out, out)
    yield f"{p}pooler.attn.in_proj_bias", (3 * out,)
    yield from layer("pooler.attn.out_proj", out, out)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Random ones of a small COLIPRI, with some of its other parts."""
    torch.manual_seed(4)
    named = published(SMALL["width"], SMALL["depth"], SMALL["out"])
    made = {name: torch.randn(shape) * (shape[-1] ** -0.5 if len(shape) > 1 else 1.0) for name, shape in named}
    return made | {"softmax_temperature": torch.tensor(0.07), "text_encoder.pooler.attn.in_proj_bias": torch.zeros(3)}


def by_hand(state: dict[str, torch.Tensor], image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (T, D) and embedding of (X, Y, Z) values of -1 to 1, one operation after the other."""

    def get(name: str) -> torch.Tensor:
        return state["image_encoder." + name]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        bias = state.get(f"image_encoder.{name}.bias", torch.zeros(1))
        return x @ get(f"{name}.weight").flatten(1).T + bias

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * get(f"{name}.weight") + get(f"{name}.bias")

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        parts = [part.chunk(SMALL["heads"], -1) for part in (q, k, v)]
        return torch.cat([(a @ b.T / a.shape[-1] ** 0.5).softmax(-1) @ c for a, b, c in zip(*parts, strict=True)], -1)

    def turn(x: torch.Tensor) -> torch.Tensor:
        """Neighbouring channels as a complex number, turned by place over wave length: a third of them for each axis."""
        heads = x.unflatten(-1, (SMALL["heads"], -1, 2))
        bands = heads.shape[2] // 3
        speed = torch.tensor([10000.0 ** (-b / bands) for b in range(bands)])
        grid = torch.stack(torch.meshgrid(*(torch.arange(n // 8) for n in image.shape), indexing="ij"), -1).reshape(-1, 3)
        angle = (grid[:, :, None] * speed).reshape(len(x), 1, -1)
        turned = torch.view_as_complex(heads.contiguous()) * torch.exp(1j * angle)
        return torch.view_as_real(turned).reshape(x.shape)

    cubes = image.unfold(0, 8, 8).unfold(1, 8, 8).unfold(2, 8, 8).reshape(-1, 512)
    x = linear(cubes, "backbone.down_projection.proj")
    for block in range(SMALL["depth"]):
        at = f"backbone.eva.blocks.{block}"
        y = norm(x, f"{at}.norm1")
        y = attend(turn(linear(y, f"{at}.attn.q_proj")), turn(linear(y, f"{at}.attn.k_proj")), linear(y, f"{at}.attn.v_proj"))
        x = x + get(f"{at}.gamma_1") * linear(norm(y, f"{at}.attn.norm"), f"{at}.attn.proj")
        y = norm(x, f"{at}.norm2")
        y = functional.silu(linear(y, f"{at}.mlp.fc1_g")) * linear(y, f"{at}.mlp.fc1_x")
        x = x + get(f"{at}.gamma_2") * linear(norm(y, f"{at}.mlp.norm"), f"{at}.mlp.fc2")
    tokens = linear(norm(x, "backbone.eva.norm"), "projector")
    into = zip(get("pooler.attn.in_proj_weight").chunk(3), get("pooler.attn.in_proj_bias").chunk(3), strict=True)
    q, k, v = (each @ w.T + b for each, (w, b) in zip((tokens.mean(0, keepdim=True), tokens, tokens), into, strict=True))
    return tokens, linear(attend(q, k, v), "pooler.attn.out_proj")[0]


def test_its_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Colipri(RECIPE)
    expected = {name.removeprefix("image_encoder."): shape for name, shape in published(864, 16, 768)}
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == expected
    assert network.out_features == 768
    assert sum(map(math.prod, expected.values())) == 147_113_088


def test_it_computes_what_the_published_weights_mean(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(weights, tmp_path / "model.safetensors")
    encoder = Colipri(RECIPE, **SMALL).eval()
    encoder.load_pretrained(str(tmp_path / "model.safetensors"))
    image = torch.rand(1, 1, 32, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        found, (tokens, pooled) = encoder(image), by_hand(weights, image[0, 0])
    torch.testing.assert_close(found.tokens[0], tokens, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.pooled[0], pooled, rtol=1e-3, atol=1e-4)


def test_other_weights_and_inputs_are_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    encoder = Colipri(RECIPE, **SMALL)
    save_file(weights | {"image_encoder.head.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(TaskError, match="1 of no known part"):
        encoder.load_pretrained(str(tmp_path / "w.safetensors"))
    with pytest.raises(TaskError, match="missing"):
        Colipri(RECIPE, **SMALL | {"depth": 3}).load_pretrained(str(tmp_path / "w.safetensors"))
    with pytest.raises(TaskError, match="recipe that colipri was trained on"):
        Colipri(VolumeRecipe((96, 96, 96), (2.0, 2.0, 2.0)))
