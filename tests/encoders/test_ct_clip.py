"""CT-CLIP's image encoder: published names and shapes, and what they compute, operation by operation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from medmm.encoders.ct_clip import CtClip
from medmm.encoders.opened import CONTRACTS
from medmm.errors import TaskError
from medmm.transforms.volume import VolumeRecipe

RECIPE = CONTRACTS["ct_clip"].recipe
SMALL = {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "codes": 40}
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def published(width: int, depth: int, heads: int, head_width: int, codes: int) -> Shapes:
    """Names and shapes of the image side of `CT-CLIP_v2.pt`, as the public code of its authors makes them."""
    v, inner, feed = "visual_transformer.", heads * head_width, int(width * 8 / 3)
    for layer, entering, leaving in (("0.0", 2, width), ("1.0", width, width), ("2", width, heads)):
        yield f"{v}spatial_rel_pos_bias.net.{layer}.weight", (leaving, entering)
        yield f"{v}spatial_rel_pos_bias.net.{layer}.bias", (leaving,)
    for name, values in (("to_patch_emb_first_frame", 400), ("to_patch_emb", 4000)):
        yield f"{v}{name}.2.weight", (width, values)
        for layer, size in ((1, values), (3, width)):
            yield from ((f"{v}{name}.{layer}.{part}", (size,)) for part in ("weight", "bias"))
        yield f"{v}{name}.2.bias", (width,)
    for name in ("spatial", "temporal"):
        yield from ((f"{v}enc_{name}_transformer.norm_out.{part}", (width,)) for part in ("gamma", "beta"))
        for layer in range(depth):
            at = f"{v}enc_{name}_transformer.layers.{layer}"
            yield f"{at}.0.dsconv.weight", (width, 1, 3, 3, 3)
            yield f"{at}.0.dsconv.bias", (width,)
            yield from ((f"{at}.1.{n}.{part}", (width,)) for n in ("norm", "context_norm") for part in ("gamma", "beta"))
            yield f"{at}.1.null_kv", (heads, 0, head_width)
            yield from ((f"{at}.1.{n}_scale", (head_width,)) for n in "qk")
            yield f"{at}.1.to_q.weight", (inner, width)
            yield f"{at}.1.to_kv.weight", (2 * inner, width)
            yield f"{at}.1.to_out.weight", (width, inner)
            yield from ((f"{at}.3.0.{part}", (width,)) for part in ("weight", "bias"))
            yield f"{at}.3.1.weight", (2 * feed, width)
            yield f"{at}.3.4.weight", (width, feed)
    yield f"{v}vq._codebook.initted", (1,)
    yield f"{v}vq._codebook.cluster_size", (1, codes)
    yield f"{v}vq._codebook.embed", (1, codes, width)
    for name, values in (("to_pixels_first_frame", 400), ("to_pixels", 4000)):
        yield f"{v}{name}.0.weight", (values, width)
        yield f"{v}{name}.0.bias", (values,)
    yield "to_visual_latent.weight", (width, 24 * 24 * width)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Random ones of a small CT-CLIP, with some of its other parts."""
    torch.manual_seed(3)
    made = {name: torch.randn(shape) * (0.4 if len(shape) > 1 else 1.0) for name, shape in published(**SMALL)}
    return made | {"temperature": torch.tensor(1.0), "text_transformer.embeddings.position_ids": torch.arange(4)[None]}


def by_hand(state: dict[str, torch.Tensor], volume: torch.Tensor, depth: int, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (H, W, D) and embedding of (S, L, P) values of -1 to 1, one operation after the other."""

    def get(name: str) -> torch.Tensor:
        return state["visual_transformer." + name]

    def norm(x: torch.Tensor, name: str, parts: tuple[str, str] = ("weight", "bias")) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], *(get(f"{name}.{part}") for part in parts))

    def attend(x: torch.Tensor, at: str, bias: torch.Tensor | float) -> torch.Tensor:
        out = []
        q = norm(x, f"{at}.norm", ("gamma", "beta")) @ get(f"{at}.to_q.weight").T
        k, v = (x @ get(f"{at}.to_kv.weight").T).chunk(2, -1)  # of what was not normalised
        for head, (qh, kh, vh) in enumerate(zip(*(part.chunk(heads, -1) for part in (q, k, v)), strict=True)):
            unit = [part / part.norm(dim=-1, keepdim=True) * get(f"{at}.{n}_scale") for part, n in ((qh, "q"), (kh, "k"))]
            scores = 8 * unit[0] @ unit[1].transpose(-1, -2) + (bias if isinstance(bias, float) else bias[:, :, head])
            out.append(scores.softmax(-1) @ vh)
        return torch.cat(out, -1) @ get(f"{at}.to_out.weight").T

    def transform(x: torch.Tensor, name: str, shape: tuple[int, ...], bias: torch.Tensor | float) -> torch.Tensor:
        for layer in range(depth):
            at = f"{name}.layers.{layer}"
            cube = functional.pad(x.reshape(shape).movedim(-1, 0), (1, 1, 1, 1, 2, 0))
            conv = functional.conv3d(cube, get(f"{at}.0.dsconv.weight"), get(f"{at}.0.dsconv.bias"), groups=shape[-1])
            x = x + conv.movedim(0, -1).reshape(x.shape)
            x = x + attend(x, f"{at}.1", bias)
            value, gate = (norm(x, f"{at}.3.0") @ get(f"{at}.3.1.weight").T).chunk(2, -1)
            x = x + (functional.gelu(gate) * value) @ get(f"{at}.3.4.weight").T
        return norm(x, f"{name}.norm_out", ("gamma", "beta"))

    t, h, w = (n // p for n, p in zip(volume.shape, (10, 20, 20), strict=True))
    cubes = volume.unfold(0, 10, 10).unfold(1, 20, 20).unfold(2, 20, 20).flatten(3)
    x = norm(cubes, "to_patch_emb.1") @ get("to_patch_emb.2.weight").T + get("to_patch_emb.2.bias")
    x = norm(x, "to_patch_emb.3")
    row, column = torch.arange(h).repeat_interleave(w), torch.arange(w).repeat(h)
    away = torch.stack([row[:, None] - row, column[:, None] - column], -1).float()
    bias = away.sign() * (away.abs() + 1).log()
    for layer in ("0.0", "1.0", "2"):
        bias = bias @ get(f"spatial_rel_pos_bias.net.{layer}.weight").T + get(f"spatial_rel_pos_bias.net.{layer}.bias")
        bias = bias if layer == "2" else torch.where(bias > 0, bias, 0.1 * bias)
    shape = tuple(x.shape)
    x = transform(x.flatten(1, 2), "enc_spatial_transformer", shape, bias).view(shape)
    x = transform(x.permute(1, 2, 0, 3).flatten(0, 1), "enc_temporal_transformer", shape, 0.0).view(h, w, t, -1)
    codes = get("vq._codebook.embed")[0]
    nearest = (x[..., None, :] * codes / codes.norm(dim=-1, keepdim=True)).sum(-1).argmax(-1)
    tokens = codes[nearest].mean(2)
    return tokens, state["to_visual_latent.weight"] @ tokens.flatten()


def test_its_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = CtClip(RECIPE)
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == dict(published(512, 4, 8, 32, 8192))
    assert network.out_features == 512


def test_it_computes_what_the_published_weights_mean(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "CT-CLIP_v2.pt")
    encoder = CtClip(RECIPE, **SMALL).eval()
    encoder.load_pretrained(str(tmp_path / "CT-CLIP_v2.pt"))
    image = torch.rand(1, 1, 480, 480, 30, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        found = encoder(image)
        volume = image[0, 0].permute(2, 0, 1).flip(1, 2)  # slices from the feet, towards the patient's left and back
        tokens, pooled = by_hand(weights, volume, SMALL["depth"], SMALL["heads"])
    torch.testing.assert_close(found.tokens[0], tokens.flatten(0, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.pooled[0], pooled, rtol=1e-3, atol=1e-3)
    assert len(tokens.flatten(0, 1).unique(dim=0)) > 10  # the codebook is used


def test_a_gradient_passes_the_codebook() -> None:
    encoder = CtClip(RECIPE, **SMALL)
    image = torch.rand(1, 1, 480, 480, 10)
    encoder(image).pooled.sum().backward()
    assert float(encoder.visual_transformer.to_patch_emb[2].weight.grad.abs().sum()) > 0


def test_other_weights_and_inputs_are_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    encoder = CtClip(RECIPE, **SMALL)
    for change, reason in (
        ({"visual_transformer.to_pixels.0.bias": None}, "1 are missing"),
        ({"to_visual_latent.weight": torch.zeros(2, 2)}, "e.g. to_visual_latent.weight"),
        ({"visual_transformer.another": torch.zeros(1)}, "1 of no known part"),
    ):
        torch.save({name: t for name, t in (weights | change).items() if t is not None}, tmp_path / "w.pt")
        with pytest.raises(TaskError, match=reason):
            encoder.load_pretrained(str(tmp_path / "w.pt"))
    with pytest.raises(TaskError, match="recipe that ct_clip was trained on"):
        CtClip(VolumeRecipe((48, 48, 24), (0.75, 0.75, 1.5)))
