"""The network: any subset of modalities, alone or in company, always the same answer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch

from medmm.encoders import ENCODERS
from medmm.errors import ModelError
from medmm.fusion import FUSIONS
from medmm.model import ModelConfig, MultimodalClassifier, Side
from medmm.transforms.batch import Batch
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe
from medmm.types import Modality

RECIPE = VolumeRecipe((32, 32, 32), (2.0, 2.0, 2.0))
IMAGE = Side(RECIPE, "resnet", {"widths": [4, 4, 8, 8]})
TEXT = Side(TextRecipe(40), "transformer", {"width": 16})


def config(fusion: str = "concat", kind: str = "binary", classes: int = 2, **sides: Any) -> ModelConfig:
    labels = tuple(f"c{i}" for i in range(classes))
    return ModelConfig(kind, labels, **{"image": IMAGE, "text": TEXT, **sides}, fusion=fusion, width=16)  # type: ignore[arg-type]


def build(*arguments: Any, **sides: Any) -> MultimodalClassifier:
    torch.manual_seed(0)
    model = MultimodalClassifier(config(*arguments, **sides))
    for name, parameter in model.named_parameters():
        if "absent" in name or "alpha" in name:
            torch.nn.init.normal_(parameter)
    return model.eval()


def batch(rows: list[tuple[bool, bool]], lengths: list[int] | None = None) -> Batch:
    """Samples with or without image and text; sample i is the same in every batch it is in."""
    lengths = lengths or [3 + 2 * (i % 4) for i in range(len(rows))]
    made = torch.Generator().manual_seed(3)
    image = torch.rand(8, 2, *RECIPE.shape, generator=made)[: len(rows)] * 2 - 1
    ids = torch.randint(5, 40, (8, 12), generator=made)[: len(rows), : max(lengths)]
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    is_number = (ids == 5) & mask
    present = {"image": torch.tensor([r[0] for r in rows]), "text": torch.tensor([r[1] for r in rows])}
    notes = (ids * mask, ids.float() * is_number, is_number, mask & present["text"][:, None])
    return Batch({"image": (image,), "text": notes}, present)  # type: ignore[arg-type]


def one(whole: Batch, i: int) -> Batch:
    """Sample i as it would come alone: without padding, and None where it has nothing."""
    image, text = bool(whole.present["image"][i]), bool(whole.present["text"][i])
    length = int(whole.inputs["text"][3][i].sum())
    inputs: dict[Any, Any] = {"image": tuple(t[i : i + 1] for t in whole.inputs["image"])} if image else {}
    inputs |= {"text": tuple(t[i : i + 1, :length] for t in whole.inputs["text"])} if text else {}
    return Batch(inputs, {name: mask[i : i + 1] for name, mask in whole.present.items()})


def answers_of(model: MultimodalClassifier, given: Batch) -> dict[frozenset[Modality], tuple[torch.Tensor, torch.Tensor]]:
    """From every subset of modalities."""
    return model.answer_patterns(model.encode(given), given.present)


MIXED = [(True, True), (True, False), (False, True), (True, True), (False, True), (True, False)]


@pytest.mark.parametrize("fusion", list(FUSIONS))
@torch.no_grad()
def test_a_batch_of_mixed_patterns_answers_as_each_sample_alone(fusion: str) -> None:
    model, whole = build(fusion), batch(MIXED)
    together = answers_of(model, whole)
    for i in range(len(MIXED)):
        alone = answers_of(model, one(whole, i))
        for pattern, (logits, complete) in together.items():
            assert bool(complete[i]) == bool(alone[pattern][1][0]) == all(whole.present[name][i] for name in pattern)
            if complete[i]:
                assert torch.allclose(logits[i], alone[pattern][0][0], atol=2e-5)


@torch.no_grad()
def test_a_note_that_is_hardly_trusted_hardly_counts_at_a_gate() -> None:
    model, whole = build("gated"), batch([(True, True)] * 3)
    model.config = replace(model.config, vote=0.0)
    both, alone = frozenset({"image", "text"}), {"text": torch.tensor([False] * 3), "image": torch.tensor([True] * 3)}
    without = model.fuse(model.encode(whole), alone)
    for trust in (1.0, 0.3, 1e-9):
        heard = replace(whole, trust={"text": torch.full((3,), trust)})
        logits, complete = answers_of(model, heard)[both]
        assert complete.all()
        assert torch.equal(logits, answers_of(model, whole)[both][0]) == (trust == 1.0)
        assert torch.allclose(logits, without, atol=1e-5) == (trust == 1e-9)


@pytest.mark.parametrize("fusion", list(FUSIONS))
@torch.no_grad()
def test_asking_for_one_modality_is_like_having_only_that(fusion: str) -> None:
    model = build(fusion)
    for pattern in itertools.chain(model.patterns):
        given = batch([(True, True)] * 3)
        only = batch([("image" in pattern, "text" in pattern)] * 3)
        assert torch.allclose(answers_of(model, given)[pattern][0], model.answer(model.encode(only), only.present), atol=2e-5)


@torch.no_grad()
def test_a_lone_modality_is_answered_by_its_own_head_and_several_by_the_fused_one_with_their_votes() -> None:
    model, given = build(), batch(MIXED)
    features = model.encode(given)
    logits, fused, answer = model(given), model.fuse(features, given.present), model.answer(features, given.present)
    for i, (image, text) in enumerate(MIXED):
        own_image, own_text = logits.single["image"][i], logits.single["text"][i]
        joint = fused[i] + 0.5 * own_image + 0.5 * own_text
        assert torch.allclose(answer[i], joint if image and text else own_image if image else own_text, atol=1e-6)


@pytest.mark.parametrize("fusion", list(FUSIONS))
def test_what_training_judges_is_what_is_answered_and_no_vote_learns_from_it(fusion: str) -> None:
    model, given = build(fusion), batch([(True, True)] * 3)
    judged = model(given).fused
    assert torch.allclose(judged, model.answer(model.encode(given), given.present), atol=1e-6)
    judged.square().sum().backward()
    learned = any(p.grad is not None for p in model.single_heads.parameters())
    assert learned == (model.fusion.joins == "logits")  # there each modality's own logits are what is fused
    assert all(any(p.grad is not None for p in model.encoders[name].parameters()) for name in model.encoders)


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_mode_is_not() -> None:
    model, given = build(), batch(MIXED)
    assert torch.equal(model(given).fused, model(given).fused)
    model.train()
    assert not torch.equal(model(given).fused, model(given).fused)


@pytest.mark.parametrize("side", ["image", "text"])
def test_a_modality_absent_from_the_whole_batch_gets_no_gradient(side: str) -> None:
    model = build().train()
    logits = model(batch([(side == "image", side == "text")] * 4))
    (logits.fused.sum() + logits.single[side].sum()).backward()  # type: ignore[index]
    other = "text" if side == "image" else "image"
    assert any(p.grad is not None and p.grad.any() for p in model.encoders[side].parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.encoders[other].parameters())


@pytest.mark.parametrize(
    ("sides", "patterns"),
    [({}, ["image+text", "image", "text"]), ({"text": None}, ["image"]), ({"image": None}, ["text"])],
)
@torch.no_grad()
def test_a_model_knows_which_subsets_it_can_answer(sides: dict[str, None], patterns: list[str]) -> None:
    from medmm.types import pattern_name

    model = build("weighted", "multiclass", 3, **sides)
    assert [pattern_name(p) for p in model.patterns] == patterns
    answers = answers_of(model, batch([(True, True)] * 2))
    assert all(logits.shape == (2, 3) for logits, _ in answers.values())


def test_a_configuration_survives_json() -> None:
    import json

    stated = config("cross_attention", "multilabel", 4)
    assert ModelConfig.from_dict(json.loads(json.dumps(stated.to_dict()))) == stated


@pytest.mark.parametrize("where", ["", "image", "text", "image.recipe"])
def test_an_unknown_entry_of_a_configuration_is_refused_by_its_place(where: str) -> None:
    content = config().to_dict()
    inner = content
    for part in filter(None, where.split(".")):
        inner = inner[part]
    inner["shiny"] = 1
    with pytest.raises(ModelError, match=(where + "." if where else "") + "shiny"):
        ModelConfig.from_dict(content)


def test_the_encoders_are_registered_by_name() -> None:
    assert "resnet" in ENCODERS["image"]
    assert {"transformer", "huggingface"} <= set(ENCODERS["text"])
