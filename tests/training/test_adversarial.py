"""Attacks stay within their distance and raise the loss; a model trained under them stands them better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from medmm.model import ModelConfig, MultimodalClassifier, Side
from medmm.study import Note, Study
from medmm.training.adversarial import Attack, _anywhere, attacked, words_moved_by
from medmm.training.config import TrainConfig
from medmm.training.examples import Examples, heldout_logits
from medmm.training.fit import fit
from medmm.transforms.batch import Preprocessor, Sample
from medmm.transforms.text import NoteTokenizer
from medmm.transforms.volume import VolumeRecipe
from medmm.types import FloatArray

RECIPE = VolumeRecipe((8, 8, 8), (4.0, 4.0, 4.0), ((-100.0, 100.0),))
TOKENIZER = NoteTokenizer.trained_on(["a large mass, weight loss", "a small node, no fever"] * 4, vocabulary=300, max_tokens=32)
CONFIG = TrainConfig(epochs=15, batch_size=20, learning_rate=4e-3, augment=False)
ENCODER = Side(RECIPE, "patch", {"widths": (16,)})
REACH = 8.0  # HU


def phantoms(n: int, seed: int) -> Examples:
    """A corner of 30 HU that is right in 85 of 100, and a shade of the whole of 4 HU that is always right but easily undone."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    samples = []
    for positive in truth:
        image = rng.normal(4 * (2 * positive - 1), 10, (1, 8, 8, 8)).astype(np.float32)
        image[0, :4, :4, :4] += 30 * (2 * positive - 1) * (1 if rng.random() < 0.85 else -1)
        samples.append(Sample({"image": (torch.from_numpy(image),)}))
    return Examples(samples, np.eye(2)[truth])


def trained(train: Examples, attack: Attack, folder: Path) -> MultimodalClassifier:
    torch.manual_seed(0)
    folder.mkdir()
    model = MultimodalClassifier(ModelConfig("binary", ("no", "yes"), image=ENCODER, width=16))
    config = replace(CONFIG, adversarial=attack)
    fit(model, Preprocessor(RECIPE), train, None, config, folder / "checkpoint", log=lambda *_: None, on_progress=lambda *_: None)
    return model.eval()


def accuracy(model: MultimodalClassifier, examples: Examples, attack: Attack | None) -> float:
    if attack is not None:
        harmed, _ = attacked(model, examples.samples, loss_of(model, Preprocessor(RECIPE), examples.target), attack)
        examples = replace(examples, samples=harmed)
    called = heldout_logits(model, Preprocessor(RECIPE), examples, CONFIG.batch_size).logits["image"].argmax(1)
    return float((called == examples.target.argmax(1)).mean())


def loss_of(model: MultimodalClassifier, preprocessor: Preprocessor, target: FloatArray):  # type: ignore[no-untyped-def]
    def loss(samples):  # type: ignore[no-untyped-def]
        batch = preprocessor.collate(samples)
        return functional.cross_entropy(model.answer(model.encode(batch), batch.present), torch.from_numpy(target.argmax(1)))

    return loss


def mixed_samples() -> tuple[Preprocessor, list[Sample], MultimodalClassifier]:
    """One study with an image and a note, one with a note, one with an image."""
    preprocessor = Preprocessor(RECIPE, TOKENIZER)
    image = phantoms(3, 0).samples
    words = [TOKENIZER.read(Study(note=Note(text)))[0] for text in ("a large mass", "a small node, no fever")]
    torch.manual_seed(0)
    sides = {"image": ENCODER, "text": Side(TOKENIZER.recipe, "transformer")}
    model = MultimodalClassifier(ModelConfig("binary", ("no", "yes"), **sides, width=16)).eval()
    return preprocessor, [image[0].having("text", *words[0]), Sample({"text": words[1]}), image[2]], model


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_an_attack_raises_the_loss_within_its_distance_and_leaves_the_model_alone(method) -> None:  # type: ignore[no-untyped-def]
    preprocessor, samples, model = mixed_samples()
    loss = loss_of(model, preprocessor, np.eye(2)[[0, 1, 0]])
    before = {name: t.clone() for name, t in model.state_dict().items()}
    plain = loss(samples).item()
    worse, shift = attacked(model, samples, loss, Attack(method, image=REACH, text=0.2))
    with words_moved_by(model, shift):
        assert loss(worse).item() > plain
    assert loss(samples).item() == plain  # nothing stays behind
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    for sample, other in zip(samples, worse, strict=True):
        if "image" in sample.inputs:
            away = (other.inputs["image"][0] - sample.inputs["image"][0]).abs()
            assert 0 < float(away.max()) <= REACH + 1e-3
        assert ("text" in sample.inputs) == ("text" in other.inputs)


def lengths_of_words(preprocessor: Preprocessor, samples: list[Sample], model: MultimodalClassifier) -> torch.Tensor:
    """Of the embeddings of each note's own tokens, without what it is padded with."""
    table = next(m for m in model.encoders["text"].modules() if isinstance(m, torch.nn.Embedding))
    ids, _, _, mask = (tensor[:2] for tensor in preprocessor.collate(samples).inputs["text"])
    return (table(ids) * mask[..., None]).detach().flatten(1).norm(dim=1)


def test_words_move_by_a_share_of_their_own_length() -> None:
    preprocessor, samples, model = mixed_samples()
    _, shift = attacked(model, samples, loss_of(model, preprocessor, np.eye(2)[[0, 1, 0]]), Attack("fgsm", image=0, text=0.2))
    own = lengths_of_words(preprocessor, samples, model)
    assert torch.allclose(shift[0].flatten(1).norm(dim=1), 0.2 * own, rtol=1e-4)


def test_how_far_a_note_may_be_moved_does_not_depend_on_how_far_it_is_padded() -> None:
    preprocessor, samples, model = mixed_samples()
    short, long = samples[1], samples[1].having("text", *(t.repeat(3) for t in samples[1].inputs["text"]))
    target, attack = np.eye(2)[[1, 1]], Attack("fgsm", image=0, text=0.2)
    _, alone = attacked(model, [short], loss_of(model, preprocessor, target[:1]), attack)
    _, beside = attacked(model, [short, long], loss_of(model, preprocessor, target), attack)
    tokens = len(short.inputs["text"][0])
    torch.testing.assert_close(beside[0][0, :tokens], alone[0][0], rtol=1e-3, atol=1e-5)
    assert not beside[0][0, tokens:].any()
    for seed in range(3):
        torch.manual_seed(seed)
        _, drawn = attacked(
            model, [short, long], lambda given: 0 * loss_of(model, preprocessor, target)(given), replace(attack, method="pgd")
        )
        assert not drawn[0][0, tokens:].any()


def test_what_an_encoder_embeds_beside_the_notes_is_left_alone() -> None:
    """Longformer fills notes up to whole windows with embeddings of its own."""
    preprocessor, samples, _ = mixed_samples()
    about = {"model_type": "longformer", "vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16, "attention_window": [16], "max_position_embeddings": 64}  # fmt: skip
    side = Side(TOKENIZER.recipe, "huggingface", {"config": about})
    torch.manual_seed(0)
    model = MultimodalClassifier(ModelConfig("binary", ("no", "yes"), text=side, width=16)).eval()
    notes, reader = [Sample({"text": s.inputs["text"]}) for s in samples[:2]], Preprocessor(None, preprocessor.text)
    loss = loss_of(model, reader, np.eye(2))
    _, shift = attacked(model, notes, loss, Attack("fgsm", text=0.2))
    assert shift[0].shape[:2] == reader.collate(notes).inputs["text"][0].shape
    plain = loss(notes).item()
    with words_moved_by(model, shift):
        assert loss(notes).item() > plain


def shift_of(attack: Attack, seed: int, weight: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """What is added to the words of two notes by an attack on a weighted loss, and the length of their embeddings."""
    preprocessor, samples, model = mixed_samples()
    loss = loss_of(model, preprocessor, np.eye(2)[[0, 1, 0]])
    torch.manual_seed(seed)
    _, shift = attacked(model, samples, lambda moved: weight * loss(moved), attack)
    return shift[0], lengths_of_words(preprocessor, samples, model)


def test_pgd_begins_anywhere_in_the_ball_of_the_words_and_fgsm_at_the_words_themselves() -> None:
    """Where the loss does not change, an attack stays where it begins."""
    starts = [shift_of(Attack("pgd", image=0, text=0.2), seed, weight=0.0) for seed in range(3)]
    for shift, own in starts:
        lengths = shift.flatten(1).norm(dim=1)
        assert bool((lengths <= 0.2 * own * (1 + 1e-5)).all())
        assert bool((lengths > 0.15 * own).all())  # of so many numbers nearly all of a ball lies near its border
    assert not torch.allclose(starts[0][0], starts[1][0])
    assert torch.equal(starts[0][0], shift_of(Attack("pgd", image=0, text=0.2), 0, weight=0.0)[0])
    assert not shift_of(Attack("fgsm", image=0, text=0.2), 0, weight=0.0)[0].any()
    assert torch.equal(*(shift_of(Attack("fgsm", image=0, text=0.2), seed)[0] for seed in range(2)))


def test_a_start_is_drawn_evenly_from_the_ball() -> None:
    """Of a ball in three dimensions an eighth lies within half of its radius, and its middle is nowhere else."""
    torch.manual_seed(0)
    drawn = _anywhere(torch.full((40000, 1, 3), 2.0), 0.5)[:, 0] / (0.5 * 2 * 3**0.5)
    lengths = drawn.norm(dim=1)
    assert float(lengths.max()) <= 1 + 1e-5
    assert float((lengths < 0.5).float().mean()) == pytest.approx(1 / 8, abs=0.01)
    assert drawn.mean(0).abs().max() < 0.01


def test_fgsm_moves_every_voxel_along_the_sign_of_the_gradient() -> None:
    preprocessor, samples, model = mixed_samples()
    loss = loss_of(model, preprocessor, np.eye(2)[[0]])
    image = samples[0].inputs["image"][0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss([samples[0].having("image", image)]), image)
    (worse,), _ = attacked(model, samples[:1], loss, Attack("fgsm", image=3, text=0))
    assert torch.allclose(worse.inputs["image"][0], image.detach() + 3 * gradient.sign())


def test_a_model_trained_under_attack_stands_it_better_than_one_that_was_not(tmp_path: Path) -> None:
    train, test = phantoms(160, 1), phantoms(120, 2)
    plain = trained(train, Attack(), tmp_path / "plain")
    robust = trained(train, Attack("fgsm", image=REACH, weight=0.8), tmp_path / "robust")
    hard = Attack("pgd", image=REACH, steps=5)
    found = {name: (accuracy(m, test, None), accuracy(m, test, hard)) for name, m in (("plain", plain), ("robust", robust))}
    assert found["plain"][0] > 0.9
    assert found["robust"][0] > 0.75
    assert found["robust"][1] > found["plain"][1] + 0.4
