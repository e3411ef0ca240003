"""What is hidden is hidden, what is asked is what was there, and any encoder can be asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from medmm.encoders import ENCODERS
from medmm.encoders.opened import CONTRACTS
from medmm.model import Side
from medmm.pretrained.config import PretrainedConfig
from medmm.pretrained.masked import MaskedImage, MaskedLanguage
from medmm.pretrained.network import PretrainedNetwork
from medmm.transforms.batch import Batch
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe
from tests.learned import losses_of

SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"widths": [4, 8, 8, 16]},
    "densenet": {"features": 8, "growth": 4, "blocks": [1, 1]},
    "vit": {"width": 16, "depth": 1, "heads": 2},
    "swin": {},
    "slices": {"widths": [4, 8, 8, 16]},
    "patch": {"widths": [8, 16]},
}


def recipe(shape: tuple[int, int, int] = (20, 24, 16), volumes: int = 1) -> VolumeRecipe:
    return VolumeRecipe(shape, (2.0, 2.0, 2.0), ((-1000.0, 400.0), (-160.0, 240.0)), volumes=volumes)


def imaging(encoder: str = "patch", **changes: Any) -> PretrainedNetwork:
    torch.manual_seed(0)
    side = Side(changes.pop("recipe", recipe()), encoder, SMALL[encoder])
    return PretrainedNetwork(PretrainedConfig(side, None, ("masked_image",), **changes))


def images_of(count: int, shape: tuple[int, int, int] = (20, 24, 16)) -> Batch:
    images = torch.rand(count, 2, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch({"image": (images,)}, {"image": torch.ones(count, dtype=torch.bool)})


@pytest.mark.parametrize("encoder", sorted(SMALL))
def test_every_image_encoder_learns_by_filling_in(encoder: str) -> None:
    assert set(SMALL) == set(ENCODERS["image"]) - set(CONTRACTS)  # which come with weights and grids of their own
    network, batch = imaging(encoder), images_of(2)
    loss = network(batch)["masked_image"]
    loss.backward()
    asked = [p.grad for name, p in network.encoders.named_parameters() if ".pool." not in name]
    reached = [grad is not None and bool(grad.abs().sum() > 0) for grad in asked]
    assert sum(reached) > 0.85 * len(reached)  # what pools tokens, scores slices or attends across is not asked


def test_a_share_of_patches_is_hidden_and_the_rest_left_alone() -> None:
    objective: MaskedImage = imaging(image_masked=0.5).objectives["masked_image"]  # type: ignore[assignment]
    images = images_of(3).inputs["image"][0]
    hidden = objective.choose(3, images.device)
    assert hidden.shape == (3, 3 * 3 * 2)
    assert hidden.sum(1).tolist() == [9, 9, 9]
    shown = objective.conceal(images, hidden).detach().numpy()
    for n, i, j, k in np.ndindex(3, 3, 3, 2):
        block = np.s_[n, :, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8, 8 * k : 8 * k + 8]
        expected = 0 * images.numpy()[block] if hidden[n, np.ravel_multi_index((i, j, k), (3, 3, 2))] else images.numpy()[block]
        np.testing.assert_array_equal(shown[block], expected)


def test_patches_are_the_blocks_of_the_image() -> None:
    objective: MaskedImage = imaging().objectives["masked_image"]  # type: ignore[assignment]
    images = images_of(1).inputs["image"][0]
    patches = objective.patches_of(images)
    np.testing.assert_array_equal(patches[0, 0].view(2, 8, 8, 8), images[0, :, :8, :8, :8])
    np.testing.assert_array_equal(patches[0, 1].view(2, 8, 8, 8), images[0, :, :8, :8, 8:])
    np.testing.assert_array_equal(patches[0, 2].view(2, 8, 8, 8), images[0, :, :8, 8:16, :8])
    edge = patches[0, 2 * 6].view(2, 8, 8, 8)  # reaches 4 voxels beyond the image
    np.testing.assert_array_equal(edge[:, :4], images[0, :, 16:, :8, :8])
    assert (edge[:, 4:] == -1).all()


def test_only_hidden_patches_are_asked_for() -> None:
    network, batch = imaging(), images_of(2)
    objective: MaskedImage = network.objectives["masked_image"]  # type: ignore[assignment]
    network.eval()
    torch.manual_seed(3)
    loss = network(batch)["masked_image"].item()
    torch.manual_seed(3)
    images = batch.inputs["image"][0]
    hidden = objective.choose(2, images.device)
    said = objective.decode(network.encoders["image"](objective.conceal(images, hidden)).tokens).detach().numpy()
    true = objective.patches_of(images).numpy()
    rows = [np.abs(said[n, p] - true[n, p]).mean() for n in range(2) for p in range(18) if hidden[n, p]]
    assert loss == pytest.approx(np.mean(rows), rel=1e-5)


def test_filling_in_is_learned_where_there_is_something_to_learn() -> None:
    network, batch = imaging(), images_of(4)
    constant = Batch({"image": (torch.full_like(batch.inputs["image"][0], 0.7),)}, batch.present)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = losses_of(lambda: network(constant)["masked_image"], optimizer, 60)
    assert losses[-1] < 0.2 * losses[0]


def test_pictures_and_several_images_of_a_study_are_read() -> None:
    flat = imaging(recipe=recipe((24, 16, 1)))
    assert flat(images_of(2, (24, 16, 1)))["masked_image"].isfinite()
    several = imaging(recipe=recipe(volumes=2))
    images = images_of(4).inputs["image"][0].view(2, 2, 2, 20, 24, 16)
    mask, present = torch.tensor([[True, True], [True, False]]), torch.ones(2, dtype=torch.bool)
    assert several(Batch({"image": (images, mask)}, {"image": present}))["masked_image"].isfinite()


def test_without_images_there_is_no_loss() -> None:
    assert imaging()(Batch({}, {"image": torch.zeros(2, dtype=torch.bool)})) == {}


def reading(encoder: str = "transformer", **options: Any) -> PretrainedNetwork:
    torch.manual_seed(0)
    side = Side(TextRecipe(50, 32), encoder, options)
    return PretrainedNetwork(PretrainedConfig(None, side, ("masked_language",), text_masked=0.5, hidden_id=4))


def notes() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(6, 50, (40, 20), generator=generator)
    mask = torch.arange(20) < torch.randint(5, 21, (40, 1), generator=generator)
    is_number = (ids < 12) & mask
    return ids, torch.where(is_number, ids.float() * 3, 0.0), is_number, mask


def test_words_are_hidden_as_published_and_numbers_with_them() -> None:
    objective: MaskedLanguage = reading().objectives["masked_language"]  # type: ignore[assignment]
    ids, values, is_number, mask = (t.repeat(20, 1) for t in notes())
    hidden = objective.choose(mask)
    last = mask.sum(1) - 1
    assert not hidden[:, 0].any()
    assert not hidden[torch.arange(len(ids)), last].any()
    assert not hidden[~mask].any()
    inner = int(mask.sum()) - 2 * len(ids)
    assert int(hidden.sum()) / inner == pytest.approx(0.5, abs=0.03)
    shown, numbers, counted = objective.conceal(ids, values, is_number, hidden)
    assert torch.equal(shown[~hidden], ids[~hidden])
    covered, same = shown[hidden] == 4, shown[hidden] == ids[hidden]
    assert covered.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert same.float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert not counted[hidden][covered].any()
    assert (numbers[hidden][covered] == 0).all()
    left = counted[hidden][same] == is_number[hidden][same]
    assert left.float().mean().item() > 0.95  # another word drawn by chance may be the same


def test_the_loss_is_that_of_hidden_words_and_of_the_size_of_hidden_numbers() -> None:
    network = reading().eval()
    objective: MaskedLanguage = network.objectives["masked_language"]  # type: ignore[assignment]
    ids, values, is_number, mask = notes()
    torch.manual_seed(5)
    found = network(Batch({"text": (ids, values, is_number, mask)}, {"text": torch.ones(40, dtype=torch.bool)}))
    torch.manual_seed(5)
    hidden = objective.choose(mask)
    tokens = objective.transform(network.encoders["text"](*objective.conceal(ids, values, is_number, hidden), mask).tokens)
    log_p = functional.log_softmax(objective.words(tokens), dim=-1).gather(2, ids[..., None])[..., 0]
    said = objective.number(tokens)[..., 0][hidden & is_number]
    gap = (said - torch.log1p(values[hidden & is_number])).abs()
    size = torch.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean()
    assert found["masked_language"].item() == pytest.approx((size - log_p[hidden].mean()).item(), rel=1e-4)


def test_what_fills_in_grows_and_not_the_tokens_that_training_starts_from() -> None:
    network = reading(dropout=0.1, token_dropout=0.0)
    generator = torch.Generator().manual_seed(0)
    topic, other = torch.randint(6, 28, (40, 1), generator=generator), torch.randint(6, 50, (40, 20), generator=generator)
    ids = torch.where(torch.rand(40, 20, generator=generator) < 0.5, topic, other)
    inputs = ids, torch.zeros(40, 20), torch.zeros(40, 20, dtype=torch.bool), torch.ones(40, 20, dtype=torch.bool)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    batch = Batch({"text": inputs}, {"text": torch.ones(40, dtype=torch.bool)})
    losses = losses_of(lambda: network(batch)["masked_language"], optimizer, 80)
    assert losses[-1] < 0.65 * losses[0]
    assert network.encoders["text"].eval()(*inputs).tokens.std().item() < 1.2  # 1.6 when words are told from them directly


def test_a_hugging_face_encoder_learns_by_filling_in() -> None:
    config = {"model_type": "bert", "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 16, "max_position_embeddings": 40}  # fmt: skip
    network = reading("huggingface", config=config)
    loss = network(Batch({"text": notes()}, {"text": torch.ones(40, dtype=torch.bool)}))["masked_language"]
    loss.backward()
    embeddings: Any = network.encoders["text"]
    assert embeddings.net.get_input_embeddings().weight.grad.abs().sum() > 0
