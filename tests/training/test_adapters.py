"""Adapters learn in place of the encoder they stand in, and in the end it is an encoder like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from medmm.encoders.audio import MelDilated
from medmm.encoders.image import DenseNet, ResNet, SliceAttention, Swin
from medmm.encoders.recurrent import NumberRecurrent
from medmm.encoders.speech import HuggingFaceMel
from medmm.encoders.tabular import ColumnTokens
from medmm.encoders.text import HuggingFace, NumberTransformer, read_pretrained
from medmm.errors import TaskError
from medmm.training import TrainConfig, train
from medmm.training.adapters import Adapters, Kind, Peft
from medmm.training.layers import paces_of
from medmm.training.partners import IdleWarning
from medmm.training.trainer import Trainer
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.columns import NumberColumn, TableRecipe
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe

pytest.importorskip("peft")

REAL = torch.ones(4, 6, dtype=torch.bool)
NOTES = (torch.arange(24).view(4, 6) % 20, torch.ones(4, 6), ~REAL, REAL)


class Answer:
    """A model of one encoder and one head, to be fitted to random numbers."""

    def __init__(self, encoder: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.inputs = inputs
        self.model = nn.Module()
        self.model.encoders = nn.ModuleDict({encoder.modality: encoder})
        self.model.head = nn.Linear(encoder.out_features, 1)
        self.target = torch.randn(len(inputs[0]), 1, generator=torch.Generator().manual_seed(2))

    def __len__(self) -> int:
        return len(self.target)

    def begin_epoch(self, seed: int) -> None:
        pass

    def answer(self) -> torch.Tensor:
        (encoder,) = self.model.encoders.values()  # type: ignore[union-attr, operator]
        out: torch.Tensor = self.model.head(encoder(*self.inputs).pooled)  # type: ignore[operator]
        return out

    def loss(self, chosen: list[int]) -> torch.Tensor:
        return (self.answer() - self.target).square().mean()


def make(name: str, build_bert: Any, tmp_path: Path) -> Answer:
    torch.manual_seed(0)
    if name == "bert":
        return Answer(HuggingFace(TextRecipe(250), config=read_pretrained(str(build_bert(tmp_path / "bert")))[1]), NOTES)
    if name == "resnet":
        recipe = VolumeRecipe((16, 16, 16), (1.0, 1.0, 1.0), ((-1000.0, 400.0),))
        return Answer(ResNet(recipe, widths=(4, 8, 8, 8)), (torch.randn(4, 1, 16, 16, 16),))
    if name == "columns":
        table = TableRecipe((NumberColumn("age", "", 0.0, 1.0, 0.0, 1.0),), ())
        return Answer(ColumnTokens(table, depth=1, dropout=0.0), (torch.randn(4, 1), torch.zeros(4, 0, dtype=torch.long)))
    return Answer(NumberTransformer(TextRecipe(20), width=16, dropout=0.0, token_dropout=0.0), NOTES)


@pytest.mark.parametrize(
    ("encoder", "kind"),
    [("transformer", "lora"), ("transformer", "dora"), ("transformer", "loha"), ("transformer", "lokr"), ("transformer", "ia3"),
     ("resnet", "lora"), ("resnet", "ia3"), ("columns", "lora"), ("bert", "lora")],
)  # fmt: skip
def test_only_adapters_and_heads_learn_and_the_merged_encoder_answers_as_the_adapted(
    encoder: str, kind: Kind, build_bert: Any, tmp_path: Path
) -> None:
    objective = make(encoder, build_bert, tmp_path)
    (modality,) = objective.model.encoders  # type: ignore[misc, union-attr]
    before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    config = TrainConfig(epochs=10, batch_size=4, peft={modality: Peft(kind, rank=2)}, learning_rate=0.01)
    trainer = Trainer(objective.model, objective, config, objective.model.encoders)  # type: ignore[arg-type]
    losses = [trainer.run_epoch(epoch) for epoch in range(10)]
    assert losses[-1] < losses[0]
    adapted = {name.replace("base_layer.", ""): tensor for name, tensor in objective.model.state_dict().items()}
    changed = {name for name, tensor in before.items() if not torch.equal(adapted[name], tensor)}
    assert changed == {"head.weight", "head.bias"}

    objective.model.eval()
    with torch.no_grad(), trainer.adapters.heard():
        said = objective.answer()
    trainer.adapters.merge()
    with torch.no_grad():
        assert torch.allclose(objective.answer(), said, atol=1e-5)
    merged = objective.model.state_dict()
    assert set(merged) == set(before)
    assert any(not torch.equal(merged[name], before[name]) for name in before if not name.startswith("head."))


FLAT, DEEP = (
    VolumeRecipe((32, 32, 1), (1.0, 1.0, 1.0), ((-1000.0, 400.0),)),
    VolumeRecipe((16,) * 3, (1.0,) * 3, ((-1000.0, 400.0),)),
)
DENSE = {"features": 8, "growth": 4, "blocks": (1, 1, 1, 1)}


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr", "ia3"])
@pytest.mark.parametrize(
    "build",
    [lambda: DenseNet(FLAT, **DENSE), lambda: DenseNet(DEEP, **DENSE), lambda: Swin(DEEP), lambda: SliceAttention(DEEP),
     lambda: MelDilated(AudioRecipe())],
    ids=["densenet_2d", "densenet_3d", "swin", "slices", "dilated"],
)  # fmt: skip
def test_adapters_fit_every_kind_of_layer_that_encoders_have(build: Any, kind: Kind) -> None:
    torch.manual_seed(0)
    encoder: Any = build().eval()
    recipe = FLAT if getattr(encoder, "dims", 3) == 2 else DEEP
    heard = torch.randn(2, 64, 80), torch.ones(2, 64, dtype=torch.bool)
    inputs = heard if encoder.modality == "audio" else (torch.randn(2, 1, *recipe.shape),)
    encoders = nn.ModuleDict({encoder.modality: encoder})
    with torch.no_grad():
        before = encoder(*inputs).pooled
        adapters = Adapters(encoders, {encoder.modality: Peft(kind)})
        assert torch.allclose(encoders[encoder.modality](*inputs).pooled, before, atol=1e-4)  # they begin with nothing to say
        for parameter in (p for p in encoders.parameters() if p.requires_grad):
            parameter += 0.1 * torch.randn_like(parameter)
        encoders.eval()
        with adapters.heard():
            adapted = encoders[encoder.modality](*inputs).pooled
        adapters.merge()
        merged = encoders[encoder.modality](*inputs).pooled
    assert not torch.allclose(adapted, before, atol=1e-3)
    assert torch.allclose(merged, adapted, atol=1e-3 * float(adapted.abs().max()))


def test_dora_leaves_layers_of_zeros_to_learn_as_they_are(build_bert: Any, tmp_path: Path) -> None:
    objective = make("bert", build_bert, tmp_path)
    objective.inputs = (*NOTES[:2], REAL, REAL)  # all tokens are numbers, whose values say nothing in the beginning
    before = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    config = TrainConfig(epochs=3, batch_size=4, peft={"text": Peft("dora", rank=2)}, learning_rate=0.01)
    trainer = Trainer(objective.model, objective, config, objective.model.encoders)  # type: ignore[arg-type]
    for epoch in range(3):
        trainer.run_epoch(epoch)  # a loss that is no number would be refused
    objective.model.eval()
    with torch.no_grad(), trainer.adapters.heard():
        said = objective.answer()
    trainer.adapters.merge()
    merged = objective.model.state_dict()
    with torch.no_grad():
        assert torch.allclose(objective.answer(), said, atol=1e-5)
    assert set(merged) == set(before)
    assert merged["encoders.text.numbers.project.weight"].any()


def test_adapters_leave_whispers_convolutions_alone_which_it_asks_for_their_stride() -> None:
    about = {"model_type": "whisper", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_mel_bins": 80,
             "max_source_positions": 100, "vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
             "decoder_start_token_id": 1}  # fmt: skip
    torch.manual_seed(0)
    encoder = HuggingFaceMel(AudioRecipe(seconds=1.0), about).eval()
    frames, mask = torch.randn(2, 80, 80), torch.ones(2, 80, dtype=torch.bool)
    with torch.no_grad():
        plain = encoder(frames, mask).pooled
    encoders = nn.ModuleDict({"audio": encoder})
    Adapters(encoders, {"audio": Peft()})
    learning = [name for name, p in encoders.named_parameters() if p.requires_grad]
    assert any("q_proj" in name for name in learning)
    assert not any("conv" in name for name in learning)
    with torch.no_grad():
        assert torch.allclose(encoders["audio"](frames, mask).pooled, plain, atol=1e-6)  # an adapter begins with nothing to say


def test_a_run_ends_with_a_merged_encoder_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, batch_size=4, peft={"text": Peft()}, learning_rate=0.01)

    def run(file: str, stop_after: int = 9) -> dict[str, torch.Tensor]:
        objective = make("transformer", None, tmp_path)

        def on_progress(done: int) -> None:
            if done == stop_after:
                raise KeyboardInterrupt

        trainer = Trainer(objective.model, objective, config, objective.model.encoders)  # type: ignore[arg-type]
        trainer.run(tmp_path / file, None, dict, log=lambda *_: None, on_progress=on_progress)
        return objective.model.state_dict()

    straight = run("a")
    with pytest.raises(KeyboardInterrupt):
        run("b", 1)
    resumed = run("b")
    assert not any("lora" in name for name in resumed)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_card_says_which_encoder_learned_through_adapters(note_cohort: Path, text_only: TrainConfig, tmp_path: Path) -> None:
    adapters = {"text": Peft(rank=2), "image": Peft()}  # nobody in the cohort has an image
    with pytest.warns(IdleWarning, match=r"peft\.image\.kind without image to read"):
        train(note_cohort, tmp_path / "run", replace(text_only, epochs=1, peft=adapters))
    card = (tmp_path / "run" / "card.md").read_text(encoding="utf-8")
    assert "The text encoder learned through adapters (lora), now merged into it." in card
    assert "image encoder learned" not in card


def test_adapters_of_an_encoder_that_came_with_weights_learn_at_full_rate(build_bert: Any, tmp_path: Path) -> None:
    encoders = nn.ModuleDict({"text": make("bert", build_bert, tmp_path).model.encoders["text"]})  # type: ignore[index, union-attr]
    config = TrainConfig(peft={"text": Peft(targets=("query", "value"))})
    Adapters(encoders, config.peft)
    learning = {name: p for name, p in encoders.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * 2 * 2  # A and B, of query and value, in two layers
    assert {paces_of(encoders, config)[p] for p in learning.values()} == {1.0}
    assert min(paces_of(encoders, replace(config, peft={})).values()) == pytest.approx(5e-5 / 2e-3)


def test_targets_that_are_not_there_are_refused_with_those_that_are() -> None:
    encoders = nn.ModuleDict({"text": NumberRecurrent(TextRecipe(20))})
    with pytest.raises(TaskError, match="those ending in pool, project; got other targets"):
        Adapters(encoders, {"text": Peft(targets=("quary",))})
