"""Contrastive losses equal those of the papers, written out again in numpy; halves of a note are what they are said to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from medmm.errors import ModelError
from medmm.model import Side
from medmm.pretrained.config import PretrainedConfig
from medmm.pretrained.contrast import Halves
from medmm.pretrained.network import PretrainedNetwork
from medmm.transforms.batch import Batch
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe
from tests.learned import losses_of


def network_of(*objectives: str) -> PretrainedNetwork:
    torch.manual_seed(0)
    image = Side(VolumeRecipe((16, 16, 16), (2.0, 2.0, 2.0), ((-1000.0, 400.0),)), "patch", {"widths": [8, 16]})
    text = Side(TextRecipe(50, 16), "transformer", {"width": 16})
    return PretrainedNetwork(PretrainedConfig(image, text, objectives, width=8, hidden_id=4)).eval()


def batch_of(n: int, *, without_note: tuple[int, ...] = ()) -> Batch:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(6, 50, (n, 9), generator=generator)
    off = torch.zeros(n, 9)
    inputs: Any = {
        "image": (torch.rand(n, 1, 16, 16, 16, generator=generator),),
        "text": (ids, off, off.bool(), torch.ones(n, 9, dtype=torch.bool)),
    }
    has_note = torch.tensor([i not in without_note for i in range(n)])
    return Batch(inputs, {"image": torch.ones(n, dtype=torch.bool), "text": has_note})


def similarities(network: PretrainedNetwork, batch: Batch) -> Any:
    image, text = (
        network.alignment.embed(network.encoders, name, batch.inputs[name]).detach().double().numpy() for name in ("image", "text")
    )
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, rtol=1e-6)
    return image @ text.T


def test_infonce_is_the_mean_cross_entropy_of_both_directions() -> None:
    network, batch = network_of("infonce"), batch_of(5)
    logits = similarities(network, batch) / 0.07
    own = np.diag(logits)
    expected = 0.5 * ((logsumexp(logits, axis=1) - own).mean() + (logsumexp(logits, axis=0) - own).mean())
    assert network(batch)["infonce"].item() == pytest.approx(expected, rel=1e-5)


def test_the_sigmoid_loss_asks_every_pair() -> None:
    network, batch = network_of("sigmoid"), batch_of(5)
    z = (2 * np.eye(5) - 1) * (10 * similarities(network, batch) - 10)
    assert network(batch)["sigmoid"].item() == pytest.approx(np.log1p(np.exp(-z)).sum() / 5, rel=1e-5)


@pytest.mark.parametrize("name", ["infonce", "sigmoid"])
def test_studies_without_one_of_both_take_no_part_and_one_pair_is_none(name: str) -> None:
    network = network_of(name)
    some, all_of_them = batch_of(5, without_note=(1, 4)), batch_of(5)
    rows = torch.tensor([0, 2, 3])
    kept = Batch({k: tuple(t[rows] for t in v) for k, v in all_of_them.inputs.items()},  # type: ignore[misc]
                 {k: v[rows] for k, v in all_of_them.present.items()})  # fmt: skip
    assert network(some)[name].item() == pytest.approx(network(kept)[name].item(), rel=1e-5)
    assert network(batch_of(3, without_note=(0, 1))) == {}


def test_objectives_join_and_share_their_encoders() -> None:
    network = network_of("masked_image", "masked_language", "infonce")
    assert list(network(batch_of(4))) == ["masked_image", "masked_language", "infonce"]
    assert not any(name.startswith("objectives") and ".encoders." in name for name, _ in network.named_parameters())


def test_without_a_contrastive_objective_there_is_no_common_space() -> None:
    for name in ("masked_image", "halves"):
        with pytest.raises(ModelError, match="infonce or sigmoid"):
            _ = network_of(name).alignment


def reading(encoder: str = "transformer") -> PretrainedNetwork:
    torch.manual_seed(0)
    side = Side(TextRecipe(50, 64), encoder, {"width": 16, "dropout": 0.0})
    return PretrainedNetwork(PretrainedConfig(None, side, ("halves",), width=8, hidden_id=4))


def notes_of(n: int, shortest: int = 12) -> tuple[torch.Tensor, ...]:
    """Half of their tokens say what a note is about, the others nothing."""
    generator = torch.Generator().manual_seed(3)
    topic, other = torch.randint(6, 20, (n, 1), generator=generator), torch.randint(20, 50, (n, 40), generator=generator)
    mask = torch.arange(40) < torch.randint(shortest, 41, (n, 1), generator=generator)
    ids = torch.where(torch.rand(n, 40, generator=generator) < 0.5, topic, other) * mask
    is_number = (ids % 5 == 0) & mask
    return ids, ids * 2.0 * is_number, is_number, mask


def asking(inputs: tuple[torch.Tensor, ...]) -> Batch:
    return Batch({"text": inputs}, {"text": torch.ones(len(inputs[0]), dtype=torch.bool)})


def test_halves_are_the_two_ends_of_a_note_without_what_lies_between() -> None:
    objective: Halves = reading().objectives["halves"]  # type: ignore[assignment]
    inputs = notes_of(200)
    first, second = objective.cut(*inputs)
    for row, length in enumerate(inputs[-1].sum(1).tolist()):
        ahead, behind = int(first[-1][row].sum()), int(second[-1][row].sum())
        assert ahead + 3 + behind == length
        assert length / 3 - 3 - 1 <= ahead < 2 * length / 3 - 3
        assert first[-1][row, :ahead].all()
        assert second[-1][row, :behind].all()
        for whole, begun, ended in zip(inputs[:-1], first, second, strict=False):
            assert torch.equal(begun[row, :ahead], whole[row, :ahead])
            assert torch.equal(ended[row, :behind], whole[row, length - behind : length])


def test_halves_are_told_apart_as_pairs_are_and_short_notes_are_not_asked() -> None:
    network = reading().eval()
    objective: Halves = network.objectives["halves"]  # type: ignore[assignment]
    inputs = notes_of(8, shortest=4)
    long = inputs[-1].sum(1) >= 12
    assert 2 < int(long.sum()) < 8
    torch.manual_seed(5)
    found = network(asking(inputs))["halves"].item()
    torch.manual_seed(5)
    first, second = (
        objective.project(network.encoders["text"](*half).pooled).detach().double().numpy()
        for half in objective.cut(*(tensor[long] for tensor in inputs))
    )
    first, second = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (first, second))
    logits = first @ second.T / 0.07
    own = np.diag(logits)
    expected = 0.5 * ((logsumexp(logits, axis=1) - own).mean() + (logsumexp(logits, axis=0) - own).mean())
    assert found == pytest.approx(expected, rel=1e-4)
    assert network(asking(tuple(tensor[~long] for tensor in inputs))) == {}
    assert network(Batch({}, {"text": torch.zeros(2, dtype=torch.bool)})) == {}


@pytest.mark.parametrize("encoder", ["transformer", "recurrent"])
def test_what_a_note_is_about_is_learned_from_its_halves(encoder: str) -> None:
    network, batch = reading(encoder), asking(notes_of(64))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = losses_of(lambda: network(batch)["halves"], optimizer, 60)
    assert np.mean(losses[-5:]) < 0.6 * np.log(64)  # of guessing
