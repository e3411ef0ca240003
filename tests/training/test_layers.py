"""Encoders as layers: cut where people would cut them, opened from the output, slowed towards the input."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch import nn

from medmm.encoders.image import ResNet, ViT
from medmm.encoders.text import HuggingFace, NumberTransformer, read_pretrained
from medmm.encoders.volumes import OverVolumes
from medmm.training import TrainConfig
from medmm.training.layers import LoneCaseWarning, choose_learning, layers_of, paces_of, warn_of_lone_cases
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe

IMAGES = VolumeRecipe((16, 16, 16), (1.0, 1.0, 1.0), ((-1000.0, 400.0),))


@pytest.fixture(scope="module")
def bert(build_bert: Any, tmp_path_factory: pytest.TempPathFactory) -> HuggingFace:
    folder = build_bert(tmp_path_factory.mktemp("bert"))
    return HuggingFace(TextRecipe(250), config=read_pretrained(str(folder))[1])


def names_of(encoder: nn.Module) -> list[set[str]]:
    """Names in each layer, without their last part."""
    known = {id(p): name for name, p in encoder.named_parameters()}
    return [{known[id(p)].rpartition(".")[0] for p in layer} for layer in layers_of(encoder)]


def test_every_parameter_is_in_one_layer(bert: HuggingFace) -> None:
    for encoder in (bert, ResNet(IMAGES), NumberTransformer(TextRecipe(50), depth=2)):
        found = [id(p) for layer in layers_of(encoder) for p in layer]
        assert sorted(found) == sorted(id(p) for p in encoder.parameters())


def test_a_bert_is_its_embeddings_its_layers_and_what_follows(bert: HuggingFace) -> None:
    embeddings, first, second, last = names_of(bert)
    assert all(name.startswith("net.embeddings.") for name in embeddings)
    assert all(name.startswith("net.encoder.layer.0.") for name in first)
    assert all(name.startswith("net.encoder.layer.1.") for name in second)
    assert last == {"net.pooler.dense", "numbers.project"}


def test_a_residual_network_is_its_stem_its_stages_and_its_pooling() -> None:
    stem, *stages, pooling = names_of(ResNet(IMAGES))
    assert stem == {"net.conv1", "net.bn1"}
    assert [min(name[:10] for name in stage) for stage in stages] == [f"net.layer{i}" for i in range(1, 5)]
    assert pooling == {"pool"}


def learning(encoder: nn.Module) -> list[bool]:
    """Of each layer, whether it learns."""
    return [all(p.requires_grad for p in layer) for layer in layers_of(encoder)]


def test_an_encoder_is_opened_from_its_output() -> None:
    encoder = NumberTransformer(TextRecipe(50), depth=2)
    encoders = nn.ModuleDict({"text": encoder})
    config = TrainConfig(unfreeze={"text": 2})
    opened = []
    for epoch in range(9):
        encoders.train()
        choose_learning(encoders, config, epoch)
        opened.append(sum(learning(encoder)))
        assert learning(encoder) == sorted(learning(encoder))  # none before one that is closed
    assert opened == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert encoder.training


def test_a_closed_encoder_keeps_the_averages_of_its_norms_until_all_of_it_learns() -> None:
    encoder = OverVolumes(ResNet(IMAGES))
    encoders = nn.ModuleDict({"image": encoder})
    for epoch, training in ((0, False), (5, False), (6, True)):
        encoders.train()
        choose_learning(encoders, TrainConfig(unfreeze={"image": 1}), epoch)
        assert encoder.encoder.training == training
        assert all(p.requires_grad for p in encoder.score.parameters())  # which has no weights to keep


def test_layers_slow_down_towards_the_input_and_more_in_an_encoder_that_came_with_weights(bert: HuggingFace) -> None:
    config = TrainConfig(learning_rate=1e-2, pretrained_rate=1e-4, layer_decay={"text": 0.5})
    paces = paces_of(nn.ModuleDict({"text": bert}), config)
    assert paces[bert.net.embeddings.word_embeddings.weight] == pytest.approx(0.01 * 0.5**3)
    assert paces[bert.net.encoder.layer[1].output.dense.weight] == pytest.approx(0.01 * 0.5)
    assert paces[bert.numbers.project.weight] == 1.0  # nobody trained it before


def test_without_a_decay_layers_of_a_new_encoder_move_alike() -> None:
    encoder = ResNet(IMAGES)
    assert set(paces_of(nn.ModuleDict({"image": encoder}), TrainConfig()).values()) == {1.0}


def test_a_frozen_encoder_is_in_use_and_does_not_learn() -> None:
    encoders = nn.ModuleDict({"image": ResNet(IMAGES)}).train()
    choose_learning(encoders, TrainConfig(frozen=("image",)), 3)
    assert not encoders["image"].training
    assert not any(p.requires_grad for p in encoders.parameters())


def test_norms_that_would_see_single_cases_are_warned_of() -> None:
    resnet, vit = nn.ModuleDict({"image": ResNet(IMAGES)}), nn.ModuleDict({"image": ViT(IMAGES)})
    with pytest.warns(LoneCaseWarning, match="batch_size of 10 or more, two cases for each process; got 8"):
        warn_of_lone_cases(resnet, TrainConfig(batch_size=8), 5)
    with pytest.warns(LoneCaseWarning):
        warn_of_lone_cases(resnet, TrainConfig(batch_size=1), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_lone_cases(resnet, TrainConfig(batch_size=8), 4)
        warn_of_lone_cases(resnet, TrainConfig(batch_size=8, frozen=("image",)), 5)
        warn_of_lone_cases(vit, TrainConfig(batch_size=8), 5)
        warn_of_lone_cases(nn.ModuleDict(), TrainConfig(batch_size=8), 5)
